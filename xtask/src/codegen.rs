//! Generates the Rust types of foreign protocol buffers from the descriptor sets under `proto/third_party`.
//!
//! Run as `cargo run -p xtask -- codegen`; the output is committed, so that building needs no protoc.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use prost_types::FileDescriptorSet;

/// Descriptor sets, relative to `proto/third_party`; each holds one package of its own.
const DESCRIPTOR_SETS: &[&str] = &["tensorflow/saved_model.binpb", "onnx/onnx.binpb"];

/// Writes one file a package into `crates/protos/src/generated`.
///
/// # Errors
/// If a descriptor set is missing or is none, or the output cannot be written.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let out: PathBuf = root.join("crates/protos/src/generated");
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    for name in DESCRIPTOR_SETS {
        let path = root.join("proto/third_party").join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let set = FileDescriptorSet::decode(bytes.as_slice())
            .with_context(|| format!("{} is not a descriptor set", path.display()))?;
        // Ordered maps, because the order of their entries reaches the bytes of the files we write.
        prost_build::Config::new()
            .btree_map(["."])
            .out_dir(&out)
            .compile_fds(set)
            .with_context(|| format!("cannot generate from {}", path.display()))?;
    }
    Ok(())
}
