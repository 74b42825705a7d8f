//! The engines that run a model, which of them are here, and which one a model needs. Each hides behind
//! [`Predictor`]; the model is ONNX for all of them.
//!
//! [`EngineKind::Rten`] and [`EngineKind::Trees`] are part of this program; [`EngineKind::OnnxRuntime`] is a library
//! that is used where it is found and never downloaded. Deliberately not here: which engine a deployment was
//! pinned to.

mod memory;
mod onnxruntime;
mod outputs;
mod rten;
mod trees;

use std::path::PathBuf;

use predictor::{Predictor, Signature};
use prost::Message;
use protos::onnx::ModelProto;

use crate::Error;
use crate::import::Unsupported;
pub use memory::{kilobytes_line, resident_bytes};
pub use onnxruntime::{LibraryPlaces, look_for_onnxruntime};
pub use rten::{is_worker, run_as_worker};

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// rten: networks, in pure Rust. int64 and bool are computed as int32, float64 as float32.
    Rten,
    /// Our evaluator of tree ensembles; what stands around the trees is left to rten.
    Trees,
    /// Microsoft's ONNX Runtime, where its library is found: every operator of ONNX.
    OnnxRuntime,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 3] = [Self::Rten, Self::Trees, Self::OnnxRuntime];

    /// Its name in configuration and output: `rten`, `trees`, `onnxruntime`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rten => "rten",
            Self::Trees => "trees",
            Self::OnnxRuntime => "onnxruntime",
        }
    }

    /// The engine of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of an engine on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Which engine.
    pub kind: EngineKind,
    /// Its name, as [`EngineKind::name`] gives it.
    pub name: &'static str,
    /// Its version; none where it is not there.
    pub version: Option<String>,
    /// Where it comes from.
    pub origin: EngineOrigin,
}

/// Where an engine comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineOrigin {
    /// It is part of this program.
    BuiltIn,
    /// It is a library that was loaded.
    Library(PathBuf),
    /// It is not there: why, with the places looked at, and the way out.
    Missing(String),
}

/// Every engine, with its version or why it is not there. Loads the library of ONNX Runtime if there is one.
pub fn available() -> Vec<EngineInfo> {
    let built_in = |kind: EngineKind, version: &str| EngineInfo {
        kind,
        name: kind.name(),
        version: Some(version.to_owned()),
        origin: EngineOrigin::BuiltIn,
    };
    let (version, origin) = match onnxruntime::runtime() {
        Ok(runtime) => (Some(runtime.version.clone()), EngineOrigin::Library(runtime.library.clone())),
        Err(reason) => (None, EngineOrigin::Missing(reason.to_owned())),
    };
    let kind = EngineKind::OnnxRuntime;
    vec![
        built_in(EngineKind::Rten, rten::VERSION),
        built_in(EngineKind::Trees, trees::VERSION),
        EngineInfo { kind, name: kind.name(), version, origin },
    ]
}

/// Loads an ONNX model of any batch size into an engine.
///
/// With `threads == 1` each call runs on one thread and calls from several threads run side by side; a thread
/// inside [`run_as_worker`] computes on itself, without a hand-over. With more, rten's calls share a pool of that
/// size, ONNX Runtime uses so many for a call, and trees are computed by one all the same.
///
/// # Errors
/// [`Error::Load`] if the engine is not there, the bytes are no model, the engine does not know what it uses, or
/// its inputs and outputs are not those of `signature`.
pub fn load(
    model: Vec<u8>,
    signature: &Signature,
    threads: usize,
    kind: EngineKind,
) -> Result<Box<dyn Predictor>, Error> {
    Ok(match kind {
        EngineKind::Rten => Box::new(rten::RtenPredictor::load(model, signature, threads)?),
        EngineKind::Trees => Box::new(trees::TreePredictor::load(&model, signature, threads)?),
        EngineKind::OnnxRuntime => {
            Box::new(onnxruntime::OnnxRuntimePredictor::load(model, signature, threads)?)
        }
    })
}

/// [`load`] into rten, the engine of what this program has trained.
///
/// # Errors
/// As [`load`].
pub fn load_onnx(model: Vec<u8>, signature: &Signature, threads: usize) -> Result<Box<dyn Predictor>, Error> {
    load(model, signature, threads, EngineKind::Rten)
}

/// Everything of `model` that an engine does not compute, with the nodes that use it; empty if it takes the model.
///
/// ONNX Runtime is asked by loading the model, and names only the first obstacle.
///
/// # Errors
/// [`Error::Load`] if the engine is not there.
pub fn unsupported(model: &ModelProto, kind: EngineKind) -> Result<Vec<Unsupported>, Error> {
    match kind {
        EngineKind::Rten => Ok(rten::unsupported(model)),
        EngineKind::Trees => Ok(trees::unsupported(model)),
        EngineKind::OnnxRuntime => onnxruntime::unsupported(&model.encode_to_vec()),
    }
}

/// What users are to know of how an engine computes a model, in words.
pub fn notes(model: &ModelProto, kind: EngineKind) -> Vec<String> {
    match kind {
        EngineKind::Rten => rten::notes(model),
        EngineKind::Trees | EngineKind::OnnxRuntime => Vec::new(),
    }
}

/// The engine for a model: trees for tree ensembles, rten where it knows all operators, else ONNX Runtime; that one too for
/// what is float64 if it is there.
///
/// # Errors
/// [`Error::Unsupported`] with everything that stands in the way if none takes it.
pub fn choose(model: &ModelProto) -> Result<EngineKind, Error> {
    let built_in = if trees::has_trees(model) { EngineKind::Trees } else { EngineKind::Rten };
    let mut missing = unsupported(model, built_in)?;
    let double = || model.graph.as_ref().is_some_and(rten::computes_double);
    if missing.is_empty() {
        let exact = built_in == EngineKind::Rten
            && double()
            && unsupported(model, EngineKind::OnnxRuntime).is_ok_and(|refused| refused.is_empty());
        return Ok(if exact { EngineKind::OnnxRuntime } else { built_in });
    }
    let onnxruntime = match unsupported(model, EngineKind::OnnxRuntime) {
        Ok(refused) if refused.is_empty() => return Ok(EngineKind::OnnxRuntime),
        Ok(refused) => {
            let reasons: Vec<&str> = refused.iter().map(|each| each.reason.as_str()).collect();
            format!("onnxruntime refuses the model: {}", reasons.join("; "))
        }
        Err(error) => format!("it may run on onnxruntime: {error}"),
    };
    for each in &mut missing {
        each.reason = format!("{}; {onnxruntime}", each.reason);
    }
    Err(Error::Unsupported(missing))
}
