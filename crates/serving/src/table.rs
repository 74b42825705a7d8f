//! All deployments in service, and the sum of their memory against the machine's.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// All deployments in service. Its lock is held for a look-up or a change of the map, never while something is
/// computed or awaited.
#[derive(Debug, Default)]
pub struct Table {
    deployments: RwLock<BTreeMap<Key, Arc<Deployment>>>,
    machine_bytes: Option<u64>,
}

impl Table {
    /// An empty table. All deployments together may use `machine_bytes` of memory (see
    /// [`machine_bytes`](crate::machine_bytes)); `None` is no limit.
    pub fn new(machine_bytes: Option<u64>) -> Self {
        Self { deployments: RwLock::default(), machine_bytes }
    }

    /// The deployment of this key.
    pub fn get(&self, key: &Key) -> Option<Arc<Deployment>> {
        self.read().get(key).cloned()
    }

    /// Puts a deployment into service.
    ///
    /// # Errors
    /// [`Error::AlreadyInService`]; [`Error::OverMachine`] with the numbers.
    pub fn insert(&self, key: Key, deployment: Deployment) -> Result<Arc<Deployment>> {
        let mut deployments = self.write();
        if deployments.contains_key(&key) {
            return Err(Error::AlreadyInService(key));
        }
        let used_bytes: u64 = deployments.values().map(|deployment| deployment.memory_bytes()).sum();
        let needed_bytes = deployment.memory_bytes();
        if let Some(machine_bytes) = self.machine_bytes.filter(|machine| used_bytes + needed_bytes > *machine)
        {
            return Err(Error::OverMachine { key, needed_bytes, used_bytes, machine_bytes });
        }
        let deployment = Arc::new(deployment);
        deployments.insert(key, Arc::clone(&deployment));
        Ok(deployment)
    }

    /// Takes a deployment out of service and returns it stopped: what it had taken is still answered.
    pub fn remove(&self, key: &Key) -> Option<Arc<Deployment>> {
        let removed = self.write().remove(key);
        if let Some(deployment) = &removed {
            deployment.stop();
        }
        removed
    }

    /// All deployments, by key.
    pub fn list(&self) -> Vec<(Key, Arc<Deployment>)> {
        self.read().iter().map(|(key, deployment)| (key.clone(), Arc::clone(deployment))).collect()
    }

    /// Memory of all deployments together.
    pub fn memory_bytes(&self) -> u64 {
        self.read().values().map(|deployment| deployment.memory_bytes()).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Arc<Deployment>>> {
        self.deployments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Arc<Deployment>>> {
        self.deployments.write().unwrap_or_else(PoisonError::into_inner)
    }
}
