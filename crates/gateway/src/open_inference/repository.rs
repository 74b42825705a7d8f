//! The model repository: what is deployed, and what of it is in memory. It is changed by deploying and undeploying, not
//! through this protocol.
//!
//! `load` brings a model that is loaded on demand into memory, and says whether any other answers. `unload` takes one that is
//! loaded on demand out of memory until its next request. One that is deployed to stay is refused: its deployments belong to
//! endpoints, whose traffic other protocols divide.

use axum::http::StatusCode;
use platform::{Caller, ModelName, Platform, Scope, ServedModel, ServedVersion, VersionChoice, VersionState};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::json::{Kind, Reader};
use crate::named::{Absence, find};
use crate::refusal::{Refusal, shown};

/// `POST /v2/repository/index`
///
/// # Errors
/// For a body that is no object, or a `ready` that is no flag.
pub(crate) fn index(platform: &Platform, caller: &Caller, body: &[u8]) -> Result<Value, Refusal> {
    let only_ready = ready(body)?;
    let mut index = Vec::new();
    let seen = |model: &ServedModel| caller.allow(Some(&model.name.project), Scope::Predict).is_ok();
    for model in platform.served_models().into_iter().filter(seen) {
        for version in &model.versions {
            if version.state() == VersionState::Ready || !only_ready {
                index.push(entry(&model.name, version));
            }
        }
    }
    Ok(Value::Array(index))
}

fn entry(name: &ModelName, version: &ServedVersion) -> Value {
    let mut entry = json!({"name": name.to_string(), "version": version.number.to_string()});
    let (state, reason) = state(version);
    entry["state"] = state.into();
    if let Some(reason) = reason {
        entry["reason"] = reason.into();
    }
    entry
}

/// How a version does, in Triton's words, and why it is not there.
pub(crate) fn state(version: &ServedVersion) -> (&'static str, Option<&str>) {
    match version.state() {
        VersionState::Ready => ("READY", None),
        VersionState::Unloaded => ("UNAVAILABLE", Some("unloaded")),
        VersionState::Announced | VersionState::Loading => ("LOADING", None),
        VersionState::Failed(reason) => ("UNAVAILABLE", Some(reason)),
    }
}

fn ready(body: &[u8]) -> Result<bool, Refusal> {
    let mut ready = false;
    each_member(body, |key, reader| {
        if key != "ready" {
            return Ok(reader.skip()?);
        }
        if !matches!(reader.ahead()?, Kind::True | Kind::False) {
            return Err(Refusal::invalid("\"ready\" must be true or false"));
        }
        ready = reader.boolean()?;
        Ok(())
    })?;
    Ok(ready)
}

/// `POST /v2/repository/models/M/load`: answers once the model does, and is in memory.
///
/// # Errors
/// 400 for parameters, which would replace the model or its configuration; 404 for a model that is not deployed, 503 for one
/// that is not in service, yet or at all.
pub(crate) async fn load(platform: &Platform, name: &str, body: &[u8]) -> Result<(), Refusal> {
    let mut given = None;
    each_member(body, |key, reader| {
        if key != "parameters" || reader.ahead()? != Kind::Object {
            return Ok(reader.skip()?);
        }
        let mut object = reader.object()?;
        while let Some(name) = reader.next_key(&mut object)? {
            given.get_or_insert(name.into_owned());
            reader.skip()?;
        }
        Ok(())
    })?;
    if let Some(parameter) = given {
        let message = format!(
            "load takes no \"{}\" here: a model comes from the registry with its configuration; upload and deploy a version",
            shown(&parameter)
        );
        return Err(Refusal::invalid(message));
    }
    // That the caller may was asked before.
    match find(platform, Asked::default(), &ModelName::parse(name), &VersionChoice::Default) {
        Ok(target) => Ok(target.load(platform).await?),
        Err(Absence::Refused(error)) => Err(error.into()),
        Err(Absence::Unavailable(reason)) => {
            let message = format!("failed to load '{}': {reason}", shown(name));
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message))
        }
        Err(Absence::Unknown(_)) => {
            let message = format!(
                "failed to load '{0}': it is not deployed; deploy a version with `bellwether endpoint deploy ENDPOINT --model {0}`",
                shown(name)
            );
            Err(Refusal::new(StatusCode::NOT_FOUND, message))
        }
    }
}

/// `POST /v2/repository/models/M/unload`: nothing to do if no version is deployed.
///
/// # Errors
/// 400 naming the deployments that stay in memory, and how that is changed.
pub(crate) fn unload(platform: &Platform, name: &str, body: &[u8]) -> Result<(), Refusal> {
    each_member(body, |_, reader| Ok(reader.skip()?))?;
    Ok(platform.unload_model(&ModelName::parse(name))?)
}

/// Calls `member` for each member of a body, which may be empty.
fn each_member(
    body: &[u8],
    mut member: impl FnMut(&str, &mut Reader<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let mut reader = Reader::new(body);
    if reader.ahead()? != Kind::Object {
        return Err(Refusal::invalid("the request body must be a JSON object or empty"));
    }
    let mut object = reader.object()?;
    while let Some(key) = reader.next_key(&mut object)? {
        member(&key, &mut reader)?;
    }
    Ok(reader.end()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_may_be_asked_for_what_is_ready() {
        for (body, expected) in [
            ("", false),
            (" {} ", false),
            ("{\"ready\": true}", true),
            ("{\"x\": [1], \"ready\": false}", false),
        ] {
            assert_eq!(ready(body.as_bytes()).unwrap(), expected, "{body}");
        }
        for (body, said) in [
            ("[]", "must be a JSON object or empty"),
            ("{\"ready\": 1}", "\"ready\" must be true or false"),
            ("{\"ready\": true", "not JSON"),
            ("{} {}", "not JSON"),
        ] {
            let refusal = ready(body.as_bytes()).unwrap_err();
            assert!(refusal.message.contains(said), "{body}: {}", refusal.message);
        }
    }
}
