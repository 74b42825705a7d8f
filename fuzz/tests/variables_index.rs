//! Any bytes as the index of a SavedModel's variables: refused or read.
#![no_main]

use artifact::format::saved_model::read::parse_variables_index_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = parse_variables_index_bytes(bytes) {
        assert!(index.keys().count() <= bytes.len());
    }
});
