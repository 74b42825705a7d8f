//! Any bytes as an ONNX model: refused, or loaded into the engine that takes it.
#![no_main]

use std::panic::PanicHookInfo;

use libfuzzer_sys::fuzz_target;

/// The engine panics on some graphs it did not expect, which `artifact` catches and refuses: only other panics are found.
fn end_unless_caught(panic: &PanicHookInfo<'_>) {
    if panic.location().is_none_or(|place| !place.file().contains("/rten")) {
        eprintln!("{panic}");
        std::process::abort();
    }
}

fuzz_target!(init: std::panic::set_hook(Box::new(end_unless_caught)), |bytes: &[u8]| {
    let _ = artifact::format::onnx::parse_and_load(bytes);
});
