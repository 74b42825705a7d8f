//! Any bytes as an Arrow IPC stream of rows: refused, or tensors. Arrow's reader panics on some damaged batches.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bellwether_fuzz::end_unless_from("arrow-"), |bytes: &[u8]| {
    gateway::fuzz::arrow(bytes);
});
