//! Any bytes as a file of bars: refused or read, never a panic.
#![no_main]

use jiff::civil::DateTime;
use libfuzzer_sys::fuzz_target;
use market::{ImportRequest, SourceFile, import};

fuzz_target!(|bytes: &[u8]| {
    let file = SourceFile::in_memory("fuzz.csv", bytes.to_vec());
    let _ = import(None, ImportRequest::new(vec![file], DateTime::constant(2024, 1, 1, 0, 0, 0, 0)));
});
