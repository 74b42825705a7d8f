//! Any bytes as a body of Vertex AI's `:predict` and of its other calls: refused, or instances, tensors or fields.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::vertex(bytes);
});
