//! The inference engines of this machine and what each deployment uses, as people are told of them.

use std::ffi::OsString;

use artifact::engine::{EngineKind, EngineOrigin, LibraryPlaces, available};
use serde::Serialize;
use serde_json::Value;

use crate::{PAGE_SIZE_MAX, Page, Platform, Result};

/// An engine, there or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// `rten`, `trees`, `onnxruntime`.
    pub name: String,
    /// Its version; none where it is not there.
    pub version: Option<String>,
    /// Where it comes from, or why it is not there and what to do.
    pub origin: String,
}

/// Says where the library of ONNX Runtime may be, for a process with these environment variables. To be called once,
/// before any model is loaded; the folders of the system are looked at without.
pub fn look_for_onnxruntime(variable: impl Fn(&str) -> Option<OsString>) {
    artifact::engine::look_for_onnxruntime(LibraryPlaces::usual(variable));
}

/// Every engine this program knows. Loads the library of ONNX Runtime if there is one.
pub fn engines() -> Vec<EngineInfo> {
    let shown = |engine: artifact::engine::EngineInfo| EngineInfo {
        name: engine.name.to_owned(),
        version: engine.version,
        origin: match engine.origin {
            EngineOrigin::BuiltIn => "built in".to_owned(),
            EngineOrigin::Library(path) => path.display().to_string(),
            EngineOrigin::Missing(reason) => format!("not found: {reason}"),
        },
    };
    available().into_iter().map(shown).collect()
}

/// A deployment, and the engine that its version is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineUse {
    /// The endpoint it is on.
    pub endpoint: String,
    /// Its id there.
    pub deployment: String,
    /// The model and its version: `sp500-deciles@2`.
    pub model: String,
    /// `rten`, `trees`, `onnxruntime`.
    pub engine: String,
}

/// The engine a version is pinned to, by its summary: of an imported model the one it was accepted with, else that of what is
/// trained here.
pub fn pinned_engine(summary: &Value) -> String {
    let named = summary.pointer("/origin/engine").and_then(Value::as_str);
    named.unwrap_or(EngineKind::Rten.name()).to_owned()
}

impl Platform {
    /// Every deployment of a project with the engine its version is pinned to, by endpoint.
    ///
    /// # Errors
    /// [`crate::Kind::Internal`] if the registry cannot be read.
    pub async fn engine_uses(&self, project: &str) -> Result<Vec<EngineUse>> {
        let mut uses = Vec::new();
        let mut page = Page { size: PAGE_SIZE_MAX, token: None };
        loop {
            let found = self.list_endpoints(project, &page).await?;
            for endpoint in found.items {
                for deployment in endpoint.deployments {
                    let model = format!("{}@{}", deployment.model, deployment.version);
                    let engine = match deployment.engine {
                        Some(asked) => asked,
                        None => pinned_engine(&self.get_model(project, &model).await?.summary),
                    };
                    uses.push(EngineUse {
                        endpoint: endpoint.id.clone(),
                        deployment: deployment.id,
                        model,
                        engine,
                    });
                }
            }
            match found.next_token {
                Some(token) => page.token = Some(token),
                None => return Ok(uses),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_engine_of_a_version_is_in_its_summary() {
        assert_eq!(pinned_engine(&json!({"origin": {"engine": "onnxruntime"}})), "onnxruntime");
        assert_eq!(pinned_engine(&json!({"origin": null, "seed": 1})), "rten");
        assert!(engines().iter().any(|engine| engine.name == pinned_engine(&Value::Null)));
    }
}
