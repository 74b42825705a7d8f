//! Changes of models and endpoints at a server.

use std::collections::BTreeMap;

use platform::Redeploy;
use serde_json::{Value, json};

use super::resource::{ModelResource, ShadowResource};
use super::{Client, Error, segment};

impl Client {
    /// Gives and takes aliases of a version.
    pub(crate) async fn change_aliases(
        &self,
        reference: &str,
        add: &[String],
        remove: &[String],
    ) -> Result<ModelResource, Error> {
        let aliases: Vec<String> =
            add.iter().cloned().chain(remove.iter().map(|alias| format!("-{alias}"))).collect();
        let path = self.path(&format!("models/{}:mergeVersionAliases", segment(reference)));
        Ok(self.transport.post(path, &json!({"versionAliases": aliases})).await?.body)
    }

    /// Every version of a model, oldest first.
    pub(crate) async fn list_model_versions(&self, model: &str) -> Result<Vec<ModelResource>, Error> {
        self.list_at(&format!("models/{}:listVersions", segment(model)), "models").await
    }

    /// Deletes a version, or without `@` a whole model; with `force` the jobs that need it are cancelled first.
    pub(crate) async fn delete_model(&self, reference: &str, force: bool) -> Result<(), Error> {
        let verb = if reference.contains('@') { ":deleteVersion" } else { "" };
        let path = self.path(&format!("models/{}{verb}?force={force}", segment(reference)));
        self.transport.delete::<Value>(path).await.map(drop)
    }

    /// Sets the traffic of an endpoint.
    pub(crate) async fn set_traffic(
        &self,
        endpoint: &str,
        split: &BTreeMap<String, u8>,
    ) -> Result<(), Error> {
        let path = self.path(&format!("endpoints/{}?updateMask=trafficSplit", segment(endpoint)));
        self.transport.patch::<Value>(path, &json!({"trafficSplit": split})).await.map(drop)
    }

    /// Deletes an endpoint.
    pub(crate) async fn delete_endpoint(&self, endpoint: &str, force: bool) -> Result<(), Error> {
        let path = self.path(&format!("endpoints/{}?force={force}", segment(endpoint)));
        self.transport.delete::<Value>(path).await.map(drop)
    }

    /// Changes a deployment in its place.
    pub(crate) async fn redeploy(
        &self,
        endpoint: &str,
        deployment: &str,
        change: &Redeploy,
    ) -> Result<(), Error> {
        let mut deployed = json!({"id": deployment});
        let Redeploy { resources, shadow_percent, residence } = change;
        for (name, value) in [
            ("cpuCores", resources.cpu_cores.map(Value::from)),
            ("memoryGb", resources.memory_gb.map(Value::from)),
            ("shadowPercent", shadow_percent.map(Value::from)),
            ("limits", super::limits_body(resources.limits)),
            ("load", residence.map(|residence| residence.word().into())),
            (
                "dedicatedResources",
                resources.machine_type.as_ref().map(|name| json!({"machineSpec": {"machineType": name}})),
            ),
        ] {
            if let Some(value) = value {
                deployed[name] = value;
            }
        }
        let path = format!("endpoints/{}:mutateDeployedModel", segment(endpoint));
        let _: Value = self.operate(&path, &json!({"deployedModel": deployed})).await?;
        Ok(())
    }

    /// What the shadows of an endpoint have shown.
    pub(crate) async fn shadows(&self, endpoint: &str) -> Result<Vec<ShadowResource>, Error> {
        self.list_at(&format!("endpoints/{}/shadows", segment(endpoint)), "shadows").await
    }
}
