//! What every reply of every protocol says beside its body: which version answered, and how long it took.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use platform::{PredictReply, Target};

/// Which version answered: `MODEL@VERSION`.
pub(crate) const MODEL_VERSION: HeaderName = HeaderName::from_static("x-bellwether-model-version");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Says who answered, and how long the question waited and was computed.
pub(crate) fn by_reply(headers: &mut HeaderMap, reply: &PredictReply) {
    version(headers, &reply.model, reply.version);
    let timing =
        format!("queue;dur={:.3}, compute;dur={:.3}", millis(reply.queue_us), millis(reply.compute_us));
    if let Ok(timing) = HeaderValue::try_from(timing) {
        headers.insert(SERVER_TIMING, timing);
    }
}

/// Says who was asked, where it did not answer or was only asked about itself.
pub(crate) fn by_target(headers: &mut HeaderMap, target: &Target) {
    let (model, number) = target.version();
    version(headers, model, number);
}

fn version(headers: &mut HeaderMap, model: &str, number: u32) {
    if let Ok(version) = HeaderValue::try_from(format!("{model}@{number}")) {
        headers.insert(MODEL_VERSION, version);
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
