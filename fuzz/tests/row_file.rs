//! Any bytes as a file of rows.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bellwether_fuzz::row_file(bytes);
});
