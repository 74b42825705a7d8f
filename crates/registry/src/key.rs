//! API keys: who may do what, and until when. The secrets themselves are known to their holders alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, id};

/// The most keys, revoked ones counted.
pub const MAX_KEYS: usize = 10_000;
const ID_CHARS: usize = 12;
const DISPLAY_NAME_CHARS_MAX: usize = 128;

/// What a key allows; each scope allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask models, and look at what there is.
    Predict,
    /// Bring in data and train.
    Train,
    /// Everything else: models, endpoints, deployments, keys.
    Admin,
}

impl Scope {
    /// All scopes, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Predict, Self::Train, Self::Admin];

    /// `predict`, `train` or `admin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Train => "train",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| format!("\"{text}\" is no scope; give predict, train or admin"))
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id, the part of the key that may be shown.
    pub id: String,
    /// The project it is for; absent: every project.
    pub project: Option<String>,
    /// What people call it.
    pub display_name: String,
    /// What it allows.
    pub scope: Scope,
    /// SHA-256 (hex) of its secret.
    pub secret_digest: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A key to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id: 12 hex digits.
    pub id: String,
    /// The project it is for; absent: every project.
    pub project: Option<String>,
    /// What people call it.
    pub display_name: String,
    /// What it allows.
    pub scope: Scope,
    /// SHA-256 (hex) of its secret.
    pub secret_digest: String,
    /// From when on it is not taken any more.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    pub(crate) fn check(&self, now: Timestamp) -> Result<()> {
        if self.id.len() != ID_CHARS || !self.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(
                "id",
                format!("key id \"{}\" must be {ID_CHARS} hex digits", self.id),
            ));
        }
        self.project.as_deref().map_or(Ok(()), id::check_project)?;
        id::check_digest(&self.secret_digest)?;
        let length = self.display_name.chars().count();
        if length > DISPLAY_NAME_CHARS_MAX {
            let message =
                format!("the display name has {length} characters, more than {DISPLAY_NAME_CHARS_MAX}");
            return Err(Error::invalid("displayName", message));
        }
        match self.expires_at {
            Some(end) if end <= now => {
                Err(Error::invalid("expireTime", format!("the key would expire at {end}, which is over")))
            }
            _ => Ok(()),
        }
    }
}
