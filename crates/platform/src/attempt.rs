//! Changes of what an endpoint serves that were accepted and came to nothing: a version that could not be loaded, say. What served before
//! goes on; why it does is kept as a failed operation, and with the endpoint until a change succeeds. What is refused before anything is
//! loaded is told its caller alone.

use registry::{Deployment, FAILURE_CHARS_MAX, FailedAttempt, Failure, NewOperation, OperationOutcome};

use crate::{Error, Kind, Platform, Result};

/// A change that is begun.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// The verb.
    pub(crate) kind: &'static str,
    pub(crate) project: &'a str,
    pub(crate) endpoint: &'a str,
    /// What is to come into service by it.
    pub(crate) deployment: &'a Deployment,
}

impl Platform {
    /// Passes on what has come of an attempt, and keeps why it failed.
    pub(crate) async fn kept<T>(&self, attempt: Attempt<'_>, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && let Err(unkept) = self.keep(attempt, error).await
        {
            let Attempt { kind, endpoint, deployment, .. } = attempt;
            tracing::warn!(kind, endpoint, deployment = deployment.id, %error, %unkept, "it cannot be kept that this failed");
        }
        outcome
    }

    async fn keep(&self, attempt: Attempt<'_>, error: &Error) -> Result<()> {
        let Attempt { kind, project, endpoint, deployment } = attempt;
        let failure = failure(error);
        let operation = NewOperation {
            project: project.to_owned(),
            parent: format!("endpoints/{endpoint}"),
            kind: kind.to_owned(),
            outcome: OperationOutcome::Failed(failure.clone()),
        };
        let operation = self.record_operation(operation).await?;
        let attempt = FailedAttempt {
            operation: operation.id,
            kind: kind.to_owned(),
            deployment: deployment.id.clone(),
            model: deployment.model.clone(),
            version: deployment.version,
            failure,
            failed_at: operation.created_at,
        };
        Ok(self.registry.put_failed_attempt(project, endpoint, attempt).await?)
    }
}

/// What is kept of an error: nothing that is for the log alone.
fn failure(error: &Error) -> Failure {
    let message = match error.kind() {
        Kind::Internal => "internal error; the server's log of that time says more".to_owned(),
        _ => error.to_string(),
    };
    let message = match message.char_indices().nth(FAILURE_CHARS_MAX - 3) {
        Some((end, _)) if message.chars().count() > FAILURE_CHARS_MAX => format!("{}...", &message[..end]),
        _ => message,
    };
    Failure { kind: error.kind().word().to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_holds_nothing_for_the_log() {
        let kept = |error: Error| failure(&error);
        let why = kept(Error::new(Kind::FailedPrecondition, "the golden sample"));
        assert_eq!((why.kind.as_str(), why.message.as_str()), ("FAILED_PRECONDITION", "the golden sample"));
        let inside = kept(Error::internal("cannot write /srv/registry", "disk sda1 is full"));
        assert_eq!(inside.kind, "INTERNAL");
        assert!(!inside.message.contains("srv") && !inside.message.contains("sda1"), "{}", inside.message);
        for (chars, left) in [(FAILURE_CHARS_MAX, FAILURE_CHARS_MAX), (5000, FAILURE_CHARS_MAX)] {
            let long = kept(Error::new(Kind::ResourceExhausted, "é".repeat(chars)));
            assert_eq!(long.message.chars().count(), left);
            assert_eq!(long.message.ends_with("..."), chars > FAILURE_CHARS_MAX);
        }
    }
}
