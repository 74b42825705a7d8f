//! Any bytes as a file of bars.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    bellwether_fuzz::csv(bytes);
});
