//! Changes of models and endpoints at a server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::resource::ModelResource;
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

    /// Deletes a version, or without `@` a whole model.
    pub(crate) async fn delete_model(&self, reference: &str) -> Result<(), Error> {
        let verb = if reference.contains('@') { ":deleteVersion" } else { "" };
        let path = self.path(&format!("models/{}{verb}", segment(reference)));
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
}
