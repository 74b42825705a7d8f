//! Any bytes as a body of the Open Inference Protocol's `infer`: refused, or tensors; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::open_inference(bytes);
});
