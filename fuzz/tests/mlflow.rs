//! Any bytes as a body of MLflow's `/invocations`, JSON or CSV: refused, or tensors; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::mlflow(bytes);
});
