//! All deployments in memory, the sum of what they use against what they may, and which goes when another needs the room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use crate::{Deployment, Error, Result};

/// Where a deployment stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The project.
    pub project: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// The deployment's id.
    pub deployment: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of endpoint \"{}\" in project \"{}\"", self.deployment, self.endpoint, self.project)
    }
}

/// How long a deployment stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until it is removed.
    Always,
    /// Until another one needs the room; those not used for longest go first.
    WhileRoom,
}

/// All deployments in memory. Its lock is held for a look-up or a change of the map, never while something is
/// computed or awaited.
#[derive(Debug)]
pub struct Table {
    entries: RwLock<BTreeMap<Key, Entry>>,
    /// What has gone, for the room or for good, and still answers.
    leaving: Mutex<Vec<Weak<Deployment>>>,
    limit_bytes: AtomicU64,
    /// Counts uses: the order they came in, without a clock.
    uses: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    deployment: Arc<Deployment>,
    stay: Stay,
    /// The number of its last use.
    used: AtomicU64,
}

impl Default for Table {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Table {
    /// An empty table. All deployments together may use `machine_bytes` of memory (see
    /// [`machine_bytes`](crate::machine_bytes)); `None` is no limit.
    pub fn new(machine_bytes: Option<u64>) -> Self {
        Self {
            entries: RwLock::default(),
            leaving: Mutex::default(),
            limit_bytes: AtomicU64::new(machine_bytes.unwrap_or(u64::MAX)),
            uses: AtomicU64::new(0),
        }
    }

    /// From now on all deployments together may use at most so many bytes, or less if that was said before. What is in
    /// memory stays until something needs room.
    pub fn limit(&self, bytes: u64) {
        self.limit_bytes.fetch_min(bytes, Ordering::Relaxed);
    }

    /// The deployment of this key, which is thereby used.
    pub fn get(&self, key: &Key) -> Option<Arc<Deployment>> {
        self.read().get(key).map(|entry| {
            entry.used.store(self.next_use(), Ordering::Relaxed);
            Arc::clone(&entry.deployment)
        })
    }

    /// The deployment of this key. This is no use of it.
    pub fn peek(&self, key: &Key) -> Option<Arc<Deployment>> {
        self.read().get(key).map(|entry| Arc::clone(&entry.deployment))
    }

    /// Puts a deployment into service. Others that stay while there is room go if it needs theirs.
    ///
    /// # Errors
    /// [`Error::AlreadyInService`]; [`Error::OverMachine`] with the numbers, and nothing has gone.
    pub fn insert(&self, key: Key, deployment: Deployment, stay: Stay) -> Result<Arc<Deployment>> {
        let mut entries = self.write();
        if entries.contains_key(&key) {
            return Err(Error::AlreadyInService(key));
        }
        self.put(&mut entries, key, deployment, stay)
    }

    /// Puts a deployment into service in the place of the one of this key, if there is one, which is returned: it still
    /// takes requests until it is stopped or dropped.
    ///
    /// # Errors
    /// [`Error::OverMachine`] with the numbers, and nothing has changed.
    pub fn replace(
        &self,
        key: Key,
        deployment: Deployment,
        stay: Stay,
    ) -> Result<(Arc<Deployment>, Option<Arc<Deployment>>)> {
        let mut entries = self.write();
        let before = entries.get(&key).map(|entry| Arc::clone(&entry.deployment));
        Ok((self.put(&mut entries, key, deployment, stay)?, before))
    }

    /// Makes room for `bytes` that `key` is about to need, before they are taken.
    ///
    /// # Errors
    /// [`Error::OverMachine`] if it cannot be made, and nothing has gone.
    pub fn make_room(&self, key: &Key, bytes: u64) -> Result<()> {
        self.make_room_beside(key, bytes, 0)
    }

    /// The same where `reserved_bytes` more are taken by others that are not in the table yet.
    ///
    /// # Errors
    /// [`Error::OverMachine`] if it cannot be made, and nothing has gone.
    pub fn make_room_beside(&self, key: &Key, bytes: u64, reserved_bytes: u64) -> Result<()> {
        self.evict(&mut self.write(), key, (bytes, reserved_bytes))
    }

    /// Takes a deployment that stays while there is room out of memory; what it has taken is still answered. Says
    /// whether there was one.
    pub fn unload(&self, key: &Key) -> bool {
        let mut entries = self.write();
        let found = entries.get(key).is_some_and(|entry| entry.stay == Stay::WhileRoom);
        if found && let Some(entry) = entries.remove(key) {
            self.let_go(&entry.deployment);
        }
        found
    }

    /// Takes a deployment out of service and returns it: what it had taken is still answered, and so is whoever was given it
    /// before and is about to ask it. It stops when the last of them lets go.
    pub fn remove(&self, key: &Key) -> Option<Arc<Deployment>> {
        let removed = self.write().remove(key)?;
        self.let_go(&removed.deployment);
        Some(removed.deployment)
    }

    /// Does so if the deployment of this key is still this very one.
    pub fn remove_this(&self, key: &Key, deployment: &Arc<Deployment>) {
        let mut entries = self.write();
        if entries.get(key).is_some_and(|entry| Arc::ptr_eq(&entry.deployment, deployment)) {
            entries.remove(key);
            self.let_go(deployment);
        }
    }

    /// All deployments, by key. This is no use of them.
    pub fn list(&self) -> Vec<(Key, Arc<Deployment>)> {
        self.read().iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.deployment))).collect()
    }

    /// Memory of all deployments together, those that have gone and still answer included.
    pub fn memory_bytes(&self) -> u64 {
        // One lock after the other: who makes room holds the map while it notes who goes.
        let leaving: u64 = {
            let mut leaving = self.leaving();
            leaving.retain(|gone| gone.strong_count() > 0);
            leaving.iter().filter_map(Weak::upgrade).map(|gone| gone.memory_bytes()).sum()
        };
        leaving + self.read().values().map(|entry| entry.deployment.memory_bytes()).sum::<u64>()
    }

    /// Whether some that have gone still answer.
    pub fn are_leaving(&self) -> bool {
        self.leaving().iter().any(|gone| gone.strong_count() > 0)
    }

    /// What all deployments together may use, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    fn put(
        &self,
        entries: &mut BTreeMap<Key, Entry>,
        key: Key,
        deployment: Deployment,
        stay: Stay,
    ) -> Result<Arc<Deployment>> {
        self.evict(entries, &key, (deployment.memory_bytes(), 0))?;
        let deployment = Arc::new(deployment);
        let used = AtomicU64::new(self.next_use());
        entries.insert(key, Entry { deployment: Arc::clone(&deployment), stay, used });
        Ok(deployment)
    }

    /// Lets those go that were not used for longest until `needed_bytes` for `key` fit beside `reserved_bytes`. What it has now does
    /// not count: it is about to be replaced.
    fn evict(
        &self,
        entries: &mut BTreeMap<Key, Entry>,
        key: &Key,
        (needed_bytes, reserved_bytes): (u64, u64),
    ) -> Result<()> {
        let others = || entries.iter().filter(|(other, _)| *other != key);
        let machine_bytes = self.limit_bytes();
        let in_table: u64 = others().map(|(_, entry)| entry.deployment.memory_bytes()).sum();
        let mut used_bytes = reserved_bytes.saturating_add(in_table);
        let mut may_go: Vec<(u64, Key, u64)> = others()
            .filter(|(_, entry)| entry.stay == Stay::WhileRoom)
            .map(|(other, entry)| {
                (entry.used.load(Ordering::Relaxed), other.clone(), entry.deployment.memory_bytes())
            })
            .collect();
        may_go.sort();
        let mut going = Vec::new();
        for (_, other, bytes) in may_go {
            if used_bytes.saturating_add(needed_bytes) <= machine_bytes {
                break;
            }
            used_bytes -= bytes;
            going.push(other);
        }
        if used_bytes.saturating_add(needed_bytes) > machine_bytes {
            return Err(Error::OverMachine { key: key.clone(), needed_bytes, used_bytes, machine_bytes });
        }
        for other in going {
            if let Some(entry) = entries.remove(&other) {
                self.let_go(&entry.deployment);
            }
        }
        Ok(())
    }

    /// Not stopped: whoever has just been given it may still ask it. It stops when the last of them lets go.
    fn let_go(&self, deployment: &Arc<Deployment>) {
        self.leaving().push(Arc::downgrade(deployment));
    }

    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Weak<Deployment>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}
