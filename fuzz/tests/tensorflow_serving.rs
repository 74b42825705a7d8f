//! Any bytes as a body of TensorFlow Serving's `:predict` and `:classify`: refused, or tensors; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    gateway::fuzz::tensorflow_serving(bytes);
});
