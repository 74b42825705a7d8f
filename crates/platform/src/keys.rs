//! API keys: made, listed, revoked, and who a caller is.
//!
//! As soon as one key exists every protocol asks for one. A key is written `bw-ID-SECRET`; the secret is 256 random
//! bits, shown once, and stored as its SHA-256.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use registry::{ApiKey, NewKey, Scope};
use sha2::{Digest as _, Sha256};

use crate::{Error, Kind, Platform, Result};

const PREFIX: &str = "bw";

/// A key to make.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// The project it is for; absent: every project.
    pub project: Option<String>,
    /// What people call it.
    pub display_name: String,
    /// What it allows.
    pub scope: Scope,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
}

/// A key that was just made: the only time its secret is known.
#[derive(Debug, Clone)]
pub struct CreatedKey {
    /// The key as it is kept.
    pub key: ApiKey,
    /// What its holder sends.
    pub secret: String,
}

/// What a key has done since this process started.
#[derive(Debug, Clone)]
pub struct KeyUse {
    /// The key.
    pub key: ApiKey,
    /// Its requests.
    pub requests: u64,
    /// Rows answered to it.
    pub rows: u64,
}

/// A key in memory, and what it has done.
#[derive(Debug)]
struct Known {
    key: ApiKey,
    /// Of its secret; none if what is kept of it is no SHA-256.
    digest: Option<Digest>,
    done: Arc<Done>,
}

type Digest = [u8; 32];

impl Known {
    fn new(key: ApiKey, done: Arc<Done>) -> Arc<Self> {
        let mut digest = Digest::default();
        let digest = hex::decode_to_slice(&key.secret_digest, &mut digest).ok().map(|()| digest);
        Arc::new(Self { key, digest, done })
    }

    fn used(&self) -> KeyUse {
        KeyUse {
            key: self.key.clone(),
            requests: self.done.requests.load(Ordering::Relaxed),
            rows: self.done.rows.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug, Default)]
struct Done {
    requests: AtomicU64,
    rows: AtomicU64,
    /// In progress now, by [`Held`].
    held: [AtomicUsize; 2],
}

/// What of a server's places a caller holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A request in progress.
    Request,
    /// A stream, which may be idle.
    Stream,
}

/// A place that a key holds until this is dropped; without keys nobody's.
#[derive(Debug)]
pub struct Hold(Option<(Arc<Known>, Held)>);

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((holder, held)) = &self.0 {
            holder.done.held[*held as usize].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// All keys by id.
#[derive(Debug, Default)]
pub(crate) struct Keys(RwLock<HashMap<String, Arc<Known>>>);

impl Keys {
    pub(crate) fn of(keys: Vec<ApiKey>) -> Self {
        let known = |key: ApiKey| (key.id.clone(), Known::new(key, Arc::default()));
        Self(RwLock::new(keys.into_iter().map(known).collect()))
    }

    fn put(&self, key: ApiKey) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let done = keys.get(&key.id).map(|known| Arc::clone(&known.done)).unwrap_or_default();
        keys.insert(key.id.clone(), Known::new(key, done));
    }
}

/// Who is asking.
#[derive(Debug, Clone, Default)]
pub struct Caller(Option<Arc<Known>>);

impl Caller {
    /// Whether the caller may do something in a project; `None` is what belongs to no project or to all.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] saying what the key is for.
    pub fn allow(&self, project: Option<&str>, scope: Scope) -> Result<()> {
        let Some(Known { key, .. }) = self.0.as_deref() else { return Ok(()) };
        if key.scope < scope {
            let message = format!("key {} has the scope {}, and this needs {scope}", key.id, key.scope);
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        match (&key.project, project) {
            (None, _) => Ok(()),
            (Some(own), Some(asked)) if own == asked => Ok(()),
            (Some(own), _) => {
                let message = format!("key {} is for project \"{own}\" alone", key.id);
                Err(Error::new(Kind::PermissionDenied, message))
            }
        }
    }

    /// The id of its key; none where keys are not asked for.
    pub fn key_id(&self) -> Option<&str> {
        self.0.as_ref().map(|holder| holder.key.id.as_str())
    }

    /// The project its key is for; none if it is for all.
    pub fn project(&self) -> Option<&str> {
        self.0.as_ref().and_then(|holder| holder.key.project.as_deref())
    }

    /// A place for its key, if that has fewer than `most` of them.
    pub fn hold(&self, held: Held, most: usize) -> Option<Hold> {
        let Some(holder) = &self.0 else { return Some(Hold(None)) };
        let before = holder.done.held[held as usize].fetch_add(1, Ordering::Relaxed);
        // Dropped, it takes its count back.
        let hold = Hold(Some((Arc::clone(holder), held)));
        (before < most).then_some(hold)
    }

    pub(crate) fn answered(&self, rows: usize) {
        if let Some(holder) = &self.0 {
            holder.done.rows.fetch_add(rows as u64, Ordering::Relaxed);
        }
    }
}

impl Platform {
    /// Makes a key. From the first one on, every protocol asks for a key.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a project or time that cannot be.
    pub async fn create_key(&self, request: CreateKey) -> Result<CreatedKey> {
        let CreateKey { project, display_name, scope, expires_at } = request;
        let id = hex::encode(rand::random::<[u8; 6]>());
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let secret_digest = hex::encode(digest(&secret));
        let new = NewKey { id, project, display_name, scope, secret_digest, expires_at };
        let key = self.registry.create_key(new, self.now()).await?;
        self.keys.put(key.clone());
        let secret = format!("{PREFIX}-{}-{secret}", key.id);
        Ok(CreatedKey { key, secret })
    }

    /// All keys and what they have done, the oldest first.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be read.
    pub async fn list_keys(&self) -> Result<Vec<KeyUse>> {
        let keys = self.registry.list_keys().await?;
        let known = self.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        let used = |key: ApiKey| match known.get(&key.id) {
            Some(known) => KeyUse { key, ..known.used() },
            None => KeyUse { key, requests: 0, rows: 0 },
        };
        Ok(keys.into_iter().map(used).collect())
    }

    /// What the keys have done, for monitoring.
    pub fn key_counters(&self) -> Vec<KeyUse> {
        let known = self.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<KeyUse> = known.values().map(|known| known.used()).collect();
        all.sort_by(|a, b| a.key.id.cmp(&b.key.id));
        all
    }

    /// Revokes a key at once.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such key.
    pub async fn revoke_key(&self, id: &str) -> Result<ApiKey> {
        let key = self.registry.revoke_key(id, self.now()).await?;
        self.keys.put(key.clone());
        Ok(key)
    }

    /// Whether every caller has to have a key: one exists, revoked or not.
    pub fn keys_required(&self) -> bool {
        !self.keys.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Who is asking, by the key that was sent; counts the request.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] if a key is asked for and this is none that is taken.
    pub fn authenticate(&self, sent: Option<&str>) -> Result<Caller> {
        let keys = self.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() {
            return Ok(Caller::default());
        }
        let Some(sent) = sent else { return refused(NO_KEY) };
        let mut parts = sent.split('-');
        let (Some(PREFIX), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return refused(UNKNOWN_KEY);
        };
        let is_its_own = |known: &&Arc<Known>| known.digest.is_some_and(|own| same(&own, &digest(secret)));
        let Some(known) = keys.get(id).filter(is_its_own) else {
            return refused(UNKNOWN_KEY);
        };
        self.check_known(known)?;
        known.done.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Caller(Some(Arc::clone(known))))
    }

    /// Whether a caller who was let in may go on asking: its key has neither been revoked nor expired since.
    ///
    /// # Errors
    /// As [`Platform::authenticate`].
    pub fn check_caller(&self, caller: &Caller) -> Result<()> {
        let keys = self.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        match &caller.0 {
            None if keys.is_empty() => Ok(()),
            None => refused(NO_KEY),
            Some(holder) => match keys.get(&holder.key.id) {
                Some(known) => self.check_known(known),
                None => refused(UNKNOWN_KEY),
            },
        }
    }

    fn check_known(&self, known: &Known) -> Result<()> {
        if known.key.revoked_at.is_some() {
            return refused("this API key was revoked");
        }
        if known.key.expires_at.is_some_and(|end| end <= self.now()) {
            return refused("this API key has expired");
        }
        Ok(())
    }
}

const NO_KEY: &str = "this server asks for an API key";
const UNKNOWN_KEY: &str = "this is no API key of this server";

fn refused<T>(why: &str) -> Result<T> {
    let message = format!(
        "{why}; send one as `Authorization: Bearer KEY` or `x-api-key: KEY` (`bellwether key create` makes one)"
    );
    Err(Error::new(Kind::Unauthenticated, message))
}

fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether two digests are equal, in a time that does not tell where they differ.
fn same(one: &Digest, other: &Digest) -> bool {
    one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
