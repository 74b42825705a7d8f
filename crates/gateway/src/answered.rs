//! What every reply of every protocol says beside its body: which version answered, and how long it took.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use platform::{DEFAULT_PROJECT, PredictReply, Target};

/// The names of the two, as headers and as gRPC's metadata.
pub(crate) const MODEL_VERSION_NAME: &str = "x-bellwether-model-version";
pub(crate) const SERVER_TIMING_NAME: &str = "server-timing";

/// Which version answered: `MODEL@VERSION`, or `PROJECT.MODEL@VERSION` where the protocol has no projects.
pub(crate) const MODEL_VERSION: HeaderName = HeaderName::from_static(MODEL_VERSION_NAME);
/// How long a question waited and was computed; of a reply that is no answer, how long it took in all.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static(SERVER_TIMING_NAME);

/// What a number and what goes with it takes, seldom more.
const NUMBER_BYTES: usize = 24;

/// Says who answered, by its target's name, and how long the question waited and was computed.
pub(crate) fn by_reply(headers: &mut HeaderMap, target: &Target, reply: &PredictReply) {
    by_target(headers, target);
    timed(headers, reply);
}

/// The same, in a protocol that names the project in its paths.
pub(crate) fn by_reply_of_project(headers: &mut HeaderMap, reply: &PredictReply) {
    version(headers, version_text(DEFAULT_PROJECT, &reply.model, reply.version));
    timed(headers, reply);
}

/// Says who was asked, where it did not answer or was only asked about itself.
pub(crate) fn by_target(headers: &mut HeaderMap, target: &Target) {
    version(headers, target_text(target));
}

/// The same, in a protocol that names the project in its paths.
pub(crate) fn by_target_of_project(headers: &mut HeaderMap, target: &Target) {
    let (model, number) = target.version();
    version(headers, version_text(DEFAULT_PROJECT, model, number));
}

/// Says which version a text of [`version_text`] names.
pub(crate) fn version(headers: &mut HeaderMap, text: String) {
    if let Ok(text) = HeaderValue::try_from(text) {
        headers.insert(MODEL_VERSION, text);
    }
}

fn timed(headers: &mut HeaderMap, reply: &PredictReply) {
    if let Ok(timing) = HeaderValue::try_from(timing(reply.queue_us, reply.compute_us)) {
        headers.insert(SERVER_TIMING, timing);
    }
}

/// The text of [`MODEL_VERSION`] for a target.
pub(crate) fn target_text(target: &Target) -> String {
    let (model, number) = target.version();
    version_text(target.project(), model, number)
}

/// The text of [`MODEL_VERSION`]: a model of the default project goes without it.
pub(crate) fn version_text(project: &str, model: &str, number: u32) -> String {
    let mut text = String::with_capacity(project.len() + model.len() + NUMBER_BYTES);
    if project != DEFAULT_PROJECT {
        text.push_str(project);
        text.push('.');
    }
    text.push_str(model);
    text.push('@');
    text.push_str(itoa::Buffer::new().format(number));
    text
}

/// The text of [`SERVER_TIMING`] for an answer, given microseconds.
pub(crate) fn timing(queue_us: u64, compute_us: u64) -> String {
    let mut text = String::with_capacity(2 * NUMBER_BYTES);
    text.push_str("queue;dur=");
    push_millis(&mut text, queue_us);
    text.push_str(", compute;dur=");
    push_millis(&mut text, compute_us);
    text
}

/// The text of [`SERVER_TIMING`] for a reply that was neither queued nor computed, given microseconds.
pub(crate) fn total_timing(total_us: u64) -> String {
    let mut text = String::with_capacity(NUMBER_BYTES);
    text.push_str("total;dur=");
    push_millis(&mut text, total_us);
    text
}

/// Milliseconds with three decimals. By hand, as every reply has some: `format!` takes several times as long.
fn push_millis(text: &mut String, micros: u64) {
    text.push_str(itoa::Buffer::new().format(micros / 1000));
    text.push('.');
    // Of four digits the last three.
    text.push_str(&itoa::Buffer::new().format(1000 + micros % 1000)[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_as_requests_name_models() {
        assert_eq!(version_text("default", "m", 3), "m@3");
        assert_eq!(version_text("desk", "m", 3), "desk.m@3");
    }

    #[test]
    fn times_are_milliseconds() {
        assert_eq!(timing(12, 3456), "queue;dur=0.012, compute;dur=3.456");
        assert_eq!(total_timing(1_000_007), "total;dur=1000.007");
    }
}
