//! Any bytes as the graph of a SavedModel.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bellwether_fuzz::saved_model(bytes);
});
