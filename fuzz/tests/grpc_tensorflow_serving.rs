//! Any bytes as a `PredictRequest` or a `ClassificationRequest` of gRPC: refused, or tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::grpc_fuzz::tensorflow_serving(bytes);
});
