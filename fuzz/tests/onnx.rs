//! Any bytes as an ONNX model: refused, or loaded into the engine that takes it. The engine panics on some graphs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bellwether_fuzz::end_unless_from("rten"), |bytes: &[u8]| {
    let _ = artifact::format::onnx::parse_and_load(bytes);
});
