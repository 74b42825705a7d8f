//! Exit codes: one small number per sort of failure, for scripts.

use std::process::ExitCode;

use platform::Kind;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// A fault of ours.
    Internal = 1,
    /// Wrong usage, argument, file or value.
    InvalidArgument = 2,
    /// The named thing does not exist.
    NotFound = 3,
    /// The state does not allow it.
    FailedPrecondition = 4,
    /// Unavailable, or a limit is reached.
    Unavailable = 5,
    /// Stopped by the user.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a sort of failure.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::InvalidArgument | Kind::OutOfRange | Kind::Unimplemented => Self::InvalidArgument,
            Kind::NotFound => Self::NotFound,
            Kind::AlreadyExists
            | Kind::Aborted
            | Kind::FailedPrecondition
            | Kind::PermissionDenied
            | Kind::Unauthenticated => Self::FailedPrecondition,
            Kind::ResourceExhausted | Kind::Unavailable | Kind::DeadlineExceeded => Self::Unavailable,
            Kind::Cancelled => Self::Interrupted,
            Kind::Internal => Self::Internal,
        }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Kind and name, as the network API spells the status.
const NAMES: [(Kind, &str); 14] = [
    (Kind::InvalidArgument, "INVALID_ARGUMENT"),
    (Kind::NotFound, "NOT_FOUND"),
    (Kind::AlreadyExists, "ALREADY_EXISTS"),
    (Kind::FailedPrecondition, "FAILED_PRECONDITION"),
    (Kind::Aborted, "ABORTED"),
    (Kind::OutOfRange, "OUT_OF_RANGE"),
    (Kind::Unauthenticated, "UNAUTHENTICATED"),
    (Kind::PermissionDenied, "PERMISSION_DENIED"),
    (Kind::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Kind::Unavailable, "UNAVAILABLE"),
    (Kind::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Kind::Cancelled, "CANCELLED"),
    (Kind::Unimplemented, "UNIMPLEMENTED"),
    (Kind::Internal, "INTERNAL"),
];

/// The name of a kind: `NOT_FOUND`.
pub(crate) fn name_of(kind: Kind) -> &'static str {
    NAMES.iter().find(|(k, _)| *k == kind).map_or("INTERNAL", |(_, name)| *name)
}

/// The kind of a name; what is unknown counts as a fault.
pub(crate) fn kind_of(name: &str) -> Kind {
    NAMES.iter().find(|(_, n)| *n == name).map_or(Kind::Internal, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name_and_a_code() {
        let codes = NAMES.map(|(kind, name)| {
            assert_eq!(kind_of(name), kind);
            assert_eq!(name_of(kind), name);
            Exit::of(kind).code()
        });
        assert_eq!(codes, [2, 3, 4, 4, 4, 2, 4, 4, 5, 5, 5, 130, 2, 1]);
        assert_eq!(kind_of("SOMETHING_NEW"), Kind::Internal);
    }
}
