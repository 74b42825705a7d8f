//! Any bytes as a `ModelInferRequest` of gRPC: refused, or tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::grpc_fuzz::open_inference(bytes);
});
