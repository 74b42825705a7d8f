//! Any bytes as an ONNX model: refused, or loaded into the engine that takes it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = artifact::format::onnx::parse_and_load(bytes);
});
