//! What happens to models and endpoints after they were made: aliases, texts, traffic, deletion, retention.

use std::collections::BTreeMap;

use registry::{AliasChange, Endpoint, EndpointUpdate, ModelUpdate, ModelVersion, VersionUpdate};

use crate::model::version_prefix;
use crate::{Platform, Result};

/// What retention did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// The model.
    pub model: String,
    /// Versions that were deleted, oldest first.
    pub deleted: Vec<u32>,
    /// Versions that are left, oldest first.
    pub kept: Vec<u32>,
}

impl Pruned {
    /// Which versions of a model go: all but the `keep` of the highest numbers and those that are held. `versions` are the
    /// numbers, oldest first, and whether something holds each: an alias, a deployment, a job.
    pub fn plan(model: &str, versions: &[(u32, bool)], keep: usize) -> Self {
        let newest = versions.len().saturating_sub(keep);
        let mut pruned = Self { model: model.to_owned(), deleted: Vec::new(), kept: Vec::new() };
        for (index, (number, held)) in versions.iter().enumerate() {
            let kept = *held || index >= newest;
            (if kept { &mut pruned.kept } else { &mut pruned.deleted }).push(*number);
        }
        pruned
    }
}

impl Platform {
    /// Gives aliases to a version (`id`, `id@number` or `id@alias`) and takes some from it. Callers that name the model
    /// without an endpoint get the new version from the next request on.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), and [`Kind::InvalidArgument`](crate::Kind::InvalidArgument) for an
    /// alias that cannot be, or to take the alias `default` away.
    pub async fn change_aliases(
        &self,
        project: &str,
        reference: &str,
        change: AliasChange,
    ) -> Result<ModelVersion> {
        let _changing = self.changes.lock().await;
        let version = self.registry.get_version(project, reference).await?;
        let changed = self
            .registry
            .change_aliases(project, &version.model, version.version, change, self.now())
            .await?;
        self.refresh_name(project, &version.model).await?;
        Ok(changed)
    }

    /// Changes what is said of a model, by its id; its default version.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::InvalidArgument`](crate::Kind::InvalidArgument) for a text that cannot
    /// be, [`Kind::Aborted`](crate::Kind::Aborted) if it has changed since the etag given was read.
    pub async fn update_model(
        &self,
        project: &str,
        model: &str,
        update: ModelUpdate,
    ) -> Result<ModelVersion> {
        let _changing = self.changes.lock().await;
        Ok(self.registry.update_model(project, model, update, self.now()).await?)
    }

    /// Changes what is said of a version (`id@number` or `id@alias`).
    ///
    /// # Errors
    /// As [`Platform::update_model`].
    pub async fn update_version(
        &self,
        project: &str,
        reference: &str,
        update: VersionUpdate,
    ) -> Result<ModelVersion> {
        let _changing = self.changes.lock().await;
        let version = self.registry.get_version(project, reference).await?;
        Ok(self.registry.update_version(project, &version.model, version.version, update, self.now()).await?)
    }

    /// Deletes a version and its files. Its number is never used again.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`](crate::Kind::FailedPrecondition) if it is deployed or the default, or a job needs it that waits or
    /// runs (see [`Platform::force_delete_model_version`]).
    pub async fn delete_model_version(&self, project: &str, reference: &str) -> Result<()> {
        let changing = self.changes.lock().await;
        let version = self.registry.get_version(project, reference).await?;
        self.check_unneeded(project, &version.model, Some(version.version)).await?;
        self.registry.withdraw_version(project, &version.model, version.version).await?;
        // Nobody sees it any more, and nobody waits for its files to go.
        drop(changing);
        self.forget(project, &version.model, version.version).await
    }

    /// The same, and cancels the jobs that need it, whose ids are returned. If it is refused, they go on.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`](crate::Kind::FailedPrecondition) if it is deployed or the default.
    pub async fn force_delete_model_version(&self, project: &str, reference: &str) -> Result<Vec<String>> {
        let changing = self.changes.lock().await;
        let version = self.registry.get_version(project, reference).await?;
        self.registry.withdraw_version(project, &version.model, version.version).await?;
        // From here on nobody can queue a job that needs it.
        drop(changing);
        let cancelled = self.cancel_jobs_of(project, &version.model, Some(version.version)).await?;
        self.forget(project, &version.model, version.version).await?;
        Ok(cancelled)
    }

    /// Deletes a model with all its versions and their files.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`](crate::Kind::FailedPrecondition) if one of them is deployed, or a job needs it that waits or runs
    /// (see [`Platform::force_delete_model`]).
    pub async fn delete_model(&self, project: &str, model: &str) -> Result<()> {
        let changing = self.changes.lock().await;
        self.check_unneeded(project, model, None).await?;
        let withdrawn = self.registry.withdraw_model(project, model).await?;
        drop(changing);
        self.forget_all(project, model, withdrawn).await
    }

    /// The same, and cancels the jobs that need one of its versions, whose ids are returned. If it is refused, they go on.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`](crate::Kind::FailedPrecondition) if a version is deployed.
    pub async fn force_delete_model(&self, project: &str, model: &str) -> Result<Vec<String>> {
        let changing = self.changes.lock().await;
        let withdrawn = self.registry.withdraw_model(project, model).await?;
        drop(changing);
        let cancelled = self.cancel_jobs_of(project, model, None).await?;
        self.forget_all(project, model, withdrawn).await?;
        Ok(cancelled)
    }

    /// Deletes the versions of a model but the `keep` newest ones. Older ones that are deployed, as shadows too, have an alias, or
    /// are needed by a job that waits or runs stay beside them.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound) if there is no such model.
    pub async fn prune_model(&self, project: &str, model: &str, keep: usize) -> Result<Pruned> {
        let changing = self.changes.lock().await;
        let versions = self.registry.list_versions(project, model).await?;
        let deployed: Vec<u32> = self
            .registry
            .list_all_endpoints()
            .await?
            .into_iter()
            .filter(|endpoint| endpoint.project == project)
            .flat_map(|endpoint| endpoint.deployments)
            .filter(|deployment| deployment.model == model)
            .map(|deployment| deployment.version)
            .collect();
        let jobs = self.jobs_by_version(project, model).await?;
        let held = |version: &ModelVersion| {
            let used = deployed.contains(&version.version) || jobs.contains_key(&version.version);
            (version.version, !version.aliases.is_empty() || used)
        };
        let pruned = Pruned::plan(model, &versions.iter().map(held).collect::<Vec<_>>(), keep);
        for number in &pruned.deleted {
            self.registry.withdraw_version(project, model, *number).await?;
        }
        drop(changing);
        self.forget_all(project, model, pruned.deleted.clone()).await?;
        Ok(pruned)
    }

    async fn forget_all(&self, project: &str, model: &str, withdrawn: Vec<u32>) -> Result<()> {
        for number in withdrawn {
            self.forget(project, model, number).await?;
        }
        Ok(())
    }

    /// Removes the files of a withdrawn version, then the version. What is cut short here, the next start finishes.
    async fn forget(&self, project: &str, model: &str, number: u32) -> Result<()> {
        self.artifacts.delete_prefix(&version_prefix(project, model, number)).await?;
        Ok(self.registry.abandon_version(project, model, number).await?)
    }

    /// Changes an endpoint's name, labels or traffic. The traffic moves at once and as a whole: to go back to what
    /// answered before is one call. Shadows that get traffic are loaded anew first: their engines gave way to others.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::InvalidArgument`](crate::Kind::InvalidArgument) for a split
    /// that cannot be, [`Kind::Aborted`](crate::Kind::Aborted) if it has changed since the etag given was read; those of [`Platform::deploy`] for a shadow that cannot be loaded to answer, and nothing has changed.
    pub async fn update_endpoint(&self, project: &str, id: &str, update: EndpointUpdate) -> Result<Endpoint> {
        let turn = self.turn(project, id, |now| registry::check_update(now, &update)).await?;
        let endpoint = self.registry.update_endpoint(project, id, update, self.now()).await?;
        self.move_traffic(turn, &endpoint).await?;
        Ok(endpoint)
    }

    /// Deletes an endpoint; with `force` what is deployed on it goes out of service first.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound); [`Kind::FailedPrecondition`](crate::Kind::FailedPrecondition) if
    /// something is deployed on it.
    pub async fn delete_endpoint(&self, project: &str, id: &str, force: bool) -> Result<()> {
        let _changing = self.changes.lock().await;
        if force {
            let silent = EndpointUpdate { traffic_split: Some(BTreeMap::new()), ..EndpointUpdate::default() };
            let mut endpoint = self.registry.update_endpoint(project, id, silent, self.now()).await?;
            for deployment in endpoint.deployments.clone() {
                endpoint = self.registry.undeploy(project, id, &deployment.id, None, self.now()).await?;
            }
            self.reroute(&endpoint, None).await?;
        }
        self.registry.delete_endpoint(project, id).await?;
        self.serving.forget(project, id);
        self.forget_shadows(project, id)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_what_is_held_beside_them() {
        let versions = [(1, true), (2, false), (3, false), (4, false), (5, true), (7, false)];
        let plan = |keep| {
            let pruned = Pruned::plan("m", &versions, keep);
            (pruned.deleted, pruned.kept)
        };
        assert_eq!(plan(4), (vec![2], vec![1, 3, 4, 5, 7]));
        assert_eq!(plan(1), (vec![2, 3, 4], vec![1, 5, 7]));
        assert_eq!(plan(0), (vec![2, 3, 4, 7], vec![1, 5]));
        assert_eq!(plan(9), (vec![], vec![1, 2, 3, 4, 5, 7]));
        // What was made last and is not deployed yet is what retention is for.
        let fresh = [(1, true), (2, true), (3, true), (4, false), (5, false), (6, false)];
        assert_eq!(Pruned::plan("m", &fresh, 3).deleted, [0; 0]);
    }
}
