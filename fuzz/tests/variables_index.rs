//! Any bytes as the index of a SavedModel's variables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bellwether_fuzz::variables_index(bytes);
});
