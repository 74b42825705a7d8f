//! What every reply says beside its message: who answered, how long it took; or why there is no answer.

use std::collections::BTreeMap;

use platform::{Error, Kind, ModelName, PredictReply, Target};
use protos::serving::inference::InferParameter;
use protos::serving::inference::infer_parameter::ParameterChoice;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

use crate::answered;

/// Characters of an error's message; it travels in a header.
const MESSAGE_CHARS_MAX: usize = 1000;

/// A message, and who answered.
pub(super) struct Answer<R> {
    pub(super) message: R,
    pub(super) by: Option<By>,
}

impl<R> From<R> for Answer<R> {
    fn from(message: R) -> Self {
        Self { message, by: None }
    }
}

impl<R> Answer<R> {
    /// The answer as the call's response.
    pub(super) fn into_response(self) -> tonic::Response<R> {
        let mut response = tonic::Response::new(self.message);
        if let Some(by) = self.by {
            by.write(response.metadata_mut());
        }
        response
    }
}

/// Why there is no answer, and who gave none.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) by: Option<Box<By>>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, by: None }
    }
}

impl Refused {
    /// By a model that was found.
    pub(super) fn by(target: &Target, error: Error) -> Self {
        Self { error, by: Some(Box::new(By::target(target))) }
    }

    /// The status of the call.
    pub(super) fn into_status(self) -> Status {
        let mut status = status(&self.error);
        if let Some(by) = self.by {
            by.write(status.metadata_mut());
        }
        status
    }
}

/// The version that answered, or was asked.
#[derive(Debug)]
pub(super) struct By {
    /// As `x-bellwether-model-version` has it.
    version: String,
    /// Microseconds waited and computed.
    took: Option<(u64, u64)>,
}

impl By {
    pub(super) fn target(target: &Target) -> Self {
        Self { version: answered::target_text(target), took: None }
    }

    pub(super) fn reply(target: &Target, reply: &PredictReply) -> Self {
        Self { took: Some((reply.queue_us, reply.compute_us)), ..Self::target(target) }
    }

    /// The only version that a reply is about.
    pub(super) fn version(name: &ModelName, number: u32) -> Self {
        Self { version: answered::version_text(&name.project, &name.model, number), took: None }
    }

    /// `x-bellwether-model-version` and `server-timing`, as replies over HTTP have them.
    fn write(self, metadata: &mut MetadataMap) {
        if let Ok(version) = AsciiMetadataValue::try_from(self.version) {
            metadata.insert(answered::MODEL_VERSION_NAME, version);
        }
        let Some((queue_us, compute_us)) = self.took else { return };
        if let Ok(timing) = AsciiMetadataValue::try_from(answered::timing(queue_us, compute_us)) {
            metadata.insert(answered::SERVER_TIMING_NAME, timing);
        }
    }

    /// The version as a parameter of a reply in a stream, where metadata come once for all of them.
    pub(super) fn write_parameters(self, parameters: &mut BTreeMap<String, InferParameter>) {
        parameters.insert(answered::MODEL_VERSION_NAME.to_owned(), text(self.version));
        if let Some((queue_us, compute_us)) = self.took {
            let timing = text(answered::timing(queue_us, compute_us));
            parameters.insert(answered::SERVER_TIMING_NAME.to_owned(), timing);
        }
    }
}

/// A parameter that is a text.
pub(super) fn text(text: String) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text)) }
}

/// The status of an error. What went wrong inside stays inside: the log has it.
pub(super) fn status(error: &Error) -> Status {
    if error.kind() == Kind::Internal {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, source, "internal error");
        return Status::internal(
            "internal error; the server's log says more under this reply's x-request-id",
        );
    }
    Status::new(Code::from_i32(crate::status::grpc(error.kind()).into()), shortened(&error.to_string()))
}

/// What is not offered, and why.
pub(super) fn unimplemented(why: impl Into<String>) -> Status {
    Status::new(Code::Unimplemented, why)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_code_and_its_message() {
        let refused = Refused::from(Error::new(Kind::NotFound, "model \"é\" is not there")).into_status();
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, "model \"é\" is not there"));
        let long = Refused::from(Error::new(Kind::Unavailable, "é".repeat(3000))).into_status();
        assert_eq!(long.message().chars().count(), MESSAGE_CHARS_MAX + 3);
        let inside =
            Refused::from(Error::internal("cannot write /srv/registry", "disk sda1 is full")).into_status();
        assert_eq!(inside.code(), Code::Internal);
        assert!(!inside.message().contains("srv") && !inside.message().contains("sda1"));
    }

    #[test]
    fn who_answered_is_in_the_metadata() {
        let by = By { version: "m@7".to_owned(), took: Some((12, 3456)) };
        let response = Answer { message: (), by: Some(by) }.into_response();
        assert_eq!(response.metadata().get("x-bellwether-model-version").unwrap(), "m@7");
        assert_eq!(response.metadata().get("server-timing").unwrap(), "queue;dur=0.012, compute;dur=3.456");
        let by = By { version: "m@7".to_owned(), took: None };
        let status = Refused { error: Error::new(Kind::Internal, "x"), by: Some(Box::new(by)) }.into_status();
        assert_eq!(status.metadata().get("x-bellwether-model-version").unwrap(), "m@7");
    }
}
