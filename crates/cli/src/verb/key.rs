//! `key create|list|revoke`: who may do what.

use jiff::Timestamp;
use platform::{ApiKey, CreateKey, CreatedKey, Error, KeyUse};
use serde::{Deserialize, Serialize};

use crate::args::key::{KeyCreateArgs, KeyRevokeArgs};
use crate::context::{Backend, Context};
use crate::output::{Column, Show, table};

/// A key, as the server writes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct KeyView {
    id: String,
    project: Option<String>,
    scope: String,
    display_name: String,
    create_time: String,
    expire_time: Option<String>,
    revoke_time: Option<String>,
    /// Requests since the server started.
    #[serde(default)]
    requests: u64,
    /// Rows answered since the server started.
    #[serde(default)]
    rows: u64,
    /// The key itself, at the time it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        let text = |time: Timestamp| time.to_string();
        Self {
            id: key.id,
            project: key.project,
            scope: key.scope.to_string(),
            display_name: key.display_name,
            create_time: text(key.created_at),
            expire_time: key.expires_at.map(text),
            revoke_time: key.revoked_at.map(text),
            requests: 0,
            rows: 0,
            key: None,
        }
    }
}

impl From<KeyUse> for KeyView {
    fn from(used: KeyUse) -> Self {
        Self { requests: used.requests, rows: used.rows, ..used.key.into() }
    }
}

impl From<CreatedKey> for KeyView {
    fn from(created: CreatedKey) -> Self {
        Self { key: Some(created.secret), ..created.key.into() }
    }
}

impl Show for KeyView {
    fn text(&self) -> String {
        let of = self.project.as_deref().map_or("every project".to_owned(), |name| format!("project {name}"));
        match (&self.key, &self.revoke_time) {
            (Some(key), _) => format!(
                "{key}\nkey {} for {of}, scope {}; it is shown this once. Send it as `Authorization: Bearer KEY`, or set \
                 BELLWETHER_API_KEY\n",
                self.id, self.scope
            ),
            (None, Some(time)) => format!("key {} is revoked since {time}\n", self.id),
            (None, None) => format!("key {} for {of}, scope {}\n", self.id, self.scope),
        }
    }
}

/// All keys.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeysView {
    keys: Vec<KeyView>,
}

impl Show for KeysView {
    fn text(&self) -> String {
        if self.keys.is_empty() {
            return "no keys: whoever reaches the server may do everything; bellwether key create --scope admin --all-projects\n"
                .to_owned();
        }
        let columns = [
            Column::Text("id"),
            Column::Text("name"),
            Column::Text("project"),
            Column::Text("scope"),
            Column::Text("expires"),
            Column::Text("revoked"),
            Column::Figure("requests"),
            Column::Figure("rows"),
        ];
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let row = |key: &KeyView| {
            vec![
                key.id.clone(),
                key.display_name.clone(),
                key.project.clone().unwrap_or_else(|| "(all)".to_owned()),
                key.scope.clone(),
                or_dash(&key.expire_time),
                or_dash(&key.revoke_time),
                key.requests.to_string(),
                key.rows.to_string(),
            ]
        };
        table(&columns, self.keys.iter().map(row))
    }
}

/// `key create`
pub(crate) async fn create(context: &Context, args: KeyCreateArgs) -> Result<(), Error> {
    let expires_at = args.expires_at(Timestamp::now());
    let request = CreateKey {
        project: (!args.all_projects).then(|| context.project().to_owned()),
        display_name: args.name,
        scope: args.scope,
        expires_at,
    };
    let created = match context.backend().await? {
        Backend::Local(platform) => platform.create_key(request).await?.into(),
        Backend::Server(client) => client.create_key(&request).await?,
    };
    context.output.show(&created)
}

/// `key list`
pub(crate) async fn list(context: &Context) -> Result<(), Error> {
    let keys = match context.backend().await? {
        Backend::Local(platform) => {
            KeysView { keys: platform.list_keys().await?.into_iter().map(KeyView::from).collect() }
        }
        Backend::Server(client) => client.list_keys().await?,
    };
    context.output.show(&keys)
}

/// `key revoke`
pub(crate) async fn revoke(context: &Context, args: &KeyRevokeArgs) -> Result<(), Error> {
    let revoked: KeyView = match context.backend().await? {
        Backend::Local(platform) => platform.revoke_key(&args.id).await?.into(),
        Backend::Server(client) => client.revoke_key(&args.id).await?,
    };
    context.output.show(&revoked)
}
