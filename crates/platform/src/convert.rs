//! What the crates below fail with, as kinds of the facade.

use crate::{Error, Kind};

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let kind = match &error {
            E::Uri { .. } | E::Path { .. } => Kind::InvalidArgument,
            E::NotFound { .. } => Kind::NotFound,
            E::AlreadyExists { .. } => Kind::AlreadyExists,
            E::TooLarge { .. } | E::TooMany { .. } => Kind::ResourceExhausted,
            // Denied to us, not to whoever asks us.
            E::ReadOnly { .. } | E::Damaged { .. } | E::Denied { .. } | E::Refused { .. } => {
                Kind::FailedPrecondition
            }
            E::Unavailable { .. } | E::Changed { .. } => Kind::Unavailable,
            E::Io { source, .. } => of_disk(source),
            E::Backend { .. } => Kind::Internal,
        };
        with_source(kind, error)
    }
}

impl From<market::Error> for Error {
    fn from(error: market::Error) -> Self {
        use market::Error as E;
        let kind = match error {
            E::Store(inner) => return inner.into(),
            E::UnknownInstrument(_) | E::UnknownDataset(_) => Kind::NotFound,
            E::Row(_) | E::Corrupt { .. } | E::Answers(_) => Kind::FailedPrecondition,
            E::Encode(_) => Kind::Internal,
            _ => Kind::InvalidArgument,
        };
        with_source(kind, error)
    }
}

impl From<artifact::Error> for Error {
    fn from(error: artifact::Error) -> Self {
        use artifact::Error as E;
        let kind = match error {
            E::Store(inner) => return inner.into(),
            E::TooLarge { .. } => Kind::ResourceExhausted,
            E::Load { .. } | E::Golden { .. } | E::Unwritable(_) => Kind::FailedPrecondition,
            E::Io { ref source, .. } => of_disk(source),
            _ => Kind::InvalidArgument,
        };
        with_source(kind, error)
    }
}

impl From<training::Error> for Error {
    fn from(error: training::Error) -> Self {
        let kind = match error {
            training::Error::Interrupted { .. } => Kind::Cancelled,
            training::Error::Diverged { .. } | training::Error::Device { .. } => Kind::FailedPrecondition,
            _ => Kind::InvalidArgument,
        };
        with_source(kind, error)
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        let kind = match &error {
            E::InvalidArgument { field, message } => return Self::invalid(field, message.clone()),
            E::NotFound(_) => Kind::NotFound,
            E::AlreadyExists(_) => Kind::AlreadyExists,
            E::FailedPrecondition(_) | E::Unusable { .. } => Kind::FailedPrecondition,
            E::DiskFull { .. } => Kind::ResourceExhausted,
            E::Aborted(_) => Kind::Aborted,
            E::Internal { .. } => Kind::Internal,
        };
        with_source(kind, error)
    }
}

impl From<serving::Error> for Error {
    fn from(error: serving::Error) -> Self {
        use serving::Error as E;
        let kind = match error {
            E::Bundle(inner) => return inner.into(),
            E::Resources(_) | E::Input(_) | E::TooManyRows { .. } => Kind::InvalidArgument,
            E::OverMemory { .. }
            | E::OverMachine { .. }
            | E::RequestTooLarge { .. }
            | E::Overloaded { .. } => Kind::ResourceExhausted,
            E::AlreadyInService(_) => Kind::AlreadyExists,
            E::Expired(_) => Kind::DeadlineExceeded,
            E::Stopped(_) => Kind::Unavailable,
            E::FirstRun { .. } => Kind::FailedPrecondition,
            E::Engine { .. } | E::Threads { .. } => Kind::Internal,
        };
        with_source(kind, error)
    }
}

impl From<portfolio::Error> for Error {
    fn from(error: portfolio::Error) -> Self {
        with_source(Kind::InvalidArgument, error)
    }
}

/// A full disk, a missing file or a missing right is no fault of ours.
fn of_disk(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => Kind::ResourceExhausted,
        E::NotFound | E::PermissionDenied | E::ReadOnlyFilesystem | E::NotADirectory | E::IsADirectory => {
            Kind::FailedPrecondition
        }
        _ => Kind::Internal,
    }
}

fn with_source(kind: Kind, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = error.to_string();
    Error::internal(message, error).of_kind(kind)
}
