//! Any bytes as an Arrow IPC stream of rows: refused, or tensors.
#![no_main]

use std::panic::PanicHookInfo;

use libfuzzer_sys::fuzz_target;

/// Arrow's reader panics on some damaged batches, which the gateway catches and refuses: only other panics are found.
fn end_unless_caught(panic: &PanicHookInfo<'_>) {
    if panic.location().is_none_or(|place| !place.file().contains("/arrow-")) {
        eprintln!("{panic}");
        std::process::abort();
    }
}

fuzz_target!(init: std::panic::set_hook(Box::new(end_unless_caught)), |bytes: &[u8]| {
    gateway::fuzz::arrow(bytes);
});
