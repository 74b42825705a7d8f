//! Any line as method and path of a request: a call of one of the protocols, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::paths(bytes);
});
