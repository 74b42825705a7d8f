//! Any bytes as an archive of a model.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bellwether_fuzz::archive(bytes);
});
