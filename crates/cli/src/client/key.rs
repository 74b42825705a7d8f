//! Keys at a server.

use platform::CreateKey;
use serde_json::json;

use super::{Client, Error, segment};
use crate::verb::key::{KeyView, KeysView};

const KEYS: &str = "/bellwether/v1/keys";

impl Client {
    /// Makes a key.
    ///
    /// # Errors
    /// The server's, or that there is none.
    pub(crate) async fn create_key(&self, request: &CreateKey) -> Result<KeyView, Error> {
        let body = json!({
            "project": request.project,
            "scope": request.scope,
            "displayName": request.display_name,
            "expireTime": request.expires_at,
        });
        Ok(self.transport.post(KEYS.to_owned(), &body).await?.body)
    }

    /// All keys.
    ///
    /// # Errors
    /// As [`Client::create_key`].
    pub(crate) async fn list_keys(&self) -> Result<KeysView, Error> {
        Ok(self.transport.get(KEYS.to_owned()).await?.body)
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// As [`Client::create_key`].
    pub(crate) async fn revoke_key(&self, id: &str) -> Result<KeyView, Error> {
        Ok(self.transport.post(format!("{KEYS}/{}:revoke", segment(id)), &json!({})).await?.body)
    }
}
