//! Any bytes as an upload to the staging area: a line of headers, then a body in parts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::storage(bytes);
});
