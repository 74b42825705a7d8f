//! The inference engines of this machine, as people are told of them.

use std::ffi::OsString;

use artifact::engine::{EngineOrigin, LibraryPlaces, available};
use serde::Serialize;

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
