//! What every reply of every protocol says beside its body: which version answered, and how long it took.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use platform::{PredictReply, Target};

/// The names of the two, as headers and as gRPC's metadata.
pub(crate) const MODEL_VERSION_NAME: &str = "x-bellwether-model-version";
pub(crate) const SERVER_TIMING_NAME: &str = "server-timing";

/// Which version answered: `MODEL@VERSION`.
pub(crate) const MODEL_VERSION: HeaderName = HeaderName::from_static(MODEL_VERSION_NAME);
/// How long a question waited and was computed; answers alone have it.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static(SERVER_TIMING_NAME);

/// Says who answered, and how long the question waited and was computed.
pub(crate) fn by_reply(headers: &mut HeaderMap, reply: &PredictReply) {
    version(headers, &reply.model, reply.version);
    if let Ok(timing) = HeaderValue::try_from(timing(reply.queue_us, reply.compute_us)) {
        headers.insert(SERVER_TIMING, timing);
    }
}

/// Says who was asked, where it did not answer or was only asked about itself.
pub(crate) fn by_target(headers: &mut HeaderMap, target: &Target) {
    let (model, number) = target.version();
    version(headers, model, number);
}

fn version(headers: &mut HeaderMap, model: &str, number: u32) {
    if let Ok(version) = HeaderValue::try_from(version_text(model, number)) {
        headers.insert(MODEL_VERSION, version);
    }
}

/// The text of [`MODEL_VERSION`].
pub(crate) fn version_text(model: &str, number: u32) -> String {
    format!("{model}@{number}")
}

/// The text of [`SERVER_TIMING`], given microseconds.
pub(crate) fn timing(queue_us: u64, compute_us: u64) -> String {
    let millis = |micros: u64| (micros / 1000, micros % 1000);
    let ((queue, queue_rest), (compute, compute_rest)) = (millis(queue_us), millis(compute_us));
    format!("queue;dur={queue}.{queue_rest:03}, compute;dur={compute}.{compute_rest:03}")
}
