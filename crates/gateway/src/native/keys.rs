//! API keys over the wire, our own API: `GET` and `POST /bellwether/v1/keys`, `POST /bellwether/v1/keys/ID:revoke`.
//!
//! A key to make is `{"project"?, "scope", "displayName"?, "expireTime"?}`; the reply to it alone holds the `key` itself.
//! Whoever holds a key of one project sees and makes keys of that project alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use platform::{ApiKey, Caller, CreateKey, Error, KeyUse, Kind, Scope};
use serde_json::{Value, json};

use crate::named::segment;
use crate::observe::Route;
use crate::router::Gateway;
use crate::vertex::error::ApiError;
use crate::vertex::fields::Fields;
use crate::vertex::read;

/// A key's description is short.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Before the id in the path of a key.
const COLLECTION: &str = "/bellwether/v1/keys/";

/// `GET` and `POST /bellwether/v1/keys`
pub(crate) async fn collection(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let done = match parts.method {
        Method::GET => list(&gateway, &caller).await,
        Method::POST => match read(&parts.headers, body, BODY_BYTES_MAX).await {
            Ok(body) => create(&gateway, &caller, &body).await,
            Err(error) => Err(error),
        },
        method => Err(ApiError::wrong_method(&method, parts.uri.path(), "GET, POST")),
    };
    counted("native.keys", done)
}

/// `POST /bellwether/v1/keys/ID:revoke`
pub(crate) async fn one(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    uri: Uri,
) -> Response {
    let id = uri.path().strip_prefix(COLLECTION).and_then(|name| name.strip_suffix(":revoke"));
    let done = match id {
        None => Err(ApiError::unknown_path(uri.path(), "see /bellwether/v1/keys and .../keys/ID:revoke")),
        Some(_) if method != Method::POST => Err(ApiError::wrong_method(&method, uri.path(), "POST")),
        Some(id) => match segment(id) {
            Some(id) => revoke(&gateway, &caller, &id).await,
            None => Err(Error::invalid("id", "the key's id is no UTF-8, or holds control characters").into()),
        },
    };
    counted("native.keys", done)
}

fn counted(route: &'static str, done: Result<Value, ApiError>) -> Response {
    let mut response = done.map(Json).into_response();
    response.extensions_mut().insert(Route(route));
    response
}

async fn list(gateway: &Gateway, caller: &Caller) -> Result<Value, ApiError> {
    let mut keys = gateway.platform.list_keys().await?;
    if let Some(own) = caller.project() {
        keys.retain(|used| used.key.project.as_deref() == Some(own));
    }
    let keys: Vec<Value> = keys.iter().map(used).collect();
    Ok(json!({"keys": keys}))
}

async fn create(gateway: &Gateway, caller: &Caller, body: &[u8]) -> Result<Value, ApiError> {
    let mut fields = Fields::parse(body)?;
    let project = fields.text("project")?;
    let scope = fields.text("scope")?.ok_or_else(|| fields.missing("scope", "\"predict\""))?;
    let scope: Scope = scope.parse().map_err(|why: String| fields.invalid("scope", &why))?;
    let display_name = fields.text("displayName")?.unwrap_or_default();
    let expires_at: Option<Timestamp> = fields.take("expireTime")?;
    fields.finish(&[])?;
    caller.allow(project.as_deref(), Scope::Admin)?;
    // From the first one on nobody without a key could make another, here.
    if !gateway.platform.keys_required() && (scope, &project, expires_at) != (Scope::Admin, &None, None) {
        let message = "the first key has to be one of the scope admin for all projects that does not expire, or nobody could make others; \
                     make that one first";
        return Err(Error::new(Kind::FailedPrecondition, message).into());
    }
    let request = CreateKey { project, display_name, scope, expires_at };
    let created = gateway.platform.create_key(request).await?;
    let mut reply = written(&created.key);
    reply["key"] = json!(created.secret);
    Ok(reply)
}

async fn revoke(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Value, ApiError> {
    let keys = gateway.platform.list_keys().await?;
    let own = caller.project();
    let visible = |used: &&KeyUse| used.key.id == id && (own.is_none() || used.key.project.as_deref() == own);
    if !keys.iter().any(|used| visible(&used)) {
        let message = "there is no such key; GET /bellwether/v1/keys lists them";
        return Err(Error::new(Kind::NotFound, message).into());
    }
    Ok(written(&gateway.platform.revoke_key(id).await?))
}

fn used(used: &KeyUse) -> Value {
    let mut value = written(&used.key);
    value["requests"] = json!(used.requests);
    value["rows"] = json!(used.rows);
    value
}

fn written(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "project": key.project,
        "scope": key.scope,
        "displayName": key.display_name,
        "createTime": key.created_at,
        "expireTime": key.expires_at,
        "revokeTime": key.revoked_at,
    })
}
