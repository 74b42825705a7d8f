//! Generates the Rust types of foreign protocol buffers from the descriptor sets under `proto`.
//!
//! Run as `cargo run -p xtask -- codegen`; the output is committed, so that building needs no protoc.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use prost_types::FileDescriptorSet;

/// A descriptor set and how its types are written.
struct Source {
    /// The set, relative to `proto`.
    set: &'static str,
    /// The folder of its types, relative to `crates/protos/src/generated`; each holds a package once.
    folder: &'static str,
    /// Fields of type `bytes` share the memory of the message they were read from.
    shared_bytes: bool,
}

const SOURCES: &[Source] = &[
    Source { set: "third_party/tensorflow/saved_model.binpb", folder: "", shared_bytes: false },
    Source { set: "third_party/onnx/onnx.binpb", folder: "", shared_bytes: false },
    Source { set: "serving/serving.binpb", folder: "serving", shared_bytes: true },
];

/// Writes one file a package into `crates/protos/src/generated`.
///
/// # Errors
/// If a descriptor set is missing or is none, or the output cannot be written.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let out: PathBuf = root.join("crates/protos/src/generated");
    for Source { set: name, folder, shared_bytes } in SOURCES {
        let path = root.join("proto").join(name);
        let out = out.join(folder);
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let set = FileDescriptorSet::decode(bytes.as_slice())
            .with_context(|| format!("{} is not a descriptor set", path.display()))?;
        let mut config = prost_build::Config::new();
        // Ordered maps, because the order of their entries reaches the bytes of the files we write.
        config.btree_map(["."]).out_dir(&out);
        if *shared_bytes {
            config.bytes(["."]);
        }
        config.compile_fds(set).with_context(|| format!("cannot generate from {}", path.display()))?;
    }
    Ok(())
}
