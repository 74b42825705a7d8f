//! Any bytes as the description of a network, up to the first zero, and its weights behind it: refused, or converted.
#![no_main]

use artifact::format::keras::KerasSource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let config = parts.next().unwrap_or_default();
    let weights = parts.next().unwrap_or_default();
    if let Ok(source) = KerasSource::parse(config, weights.to_vec()) {
        let _ = source.convert();
    }
});
