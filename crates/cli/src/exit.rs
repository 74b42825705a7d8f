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

/// The kind of a name; what is unknown counts as a fault.
pub(crate) fn kind_of(name: &str) -> Kind {
    Kind::named(name).unwrap_or(Kind::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name_and_a_code() {
        let codes = Kind::all().map(|kind| {
            assert_eq!(kind_of(kind.word()), kind);
            Exit::of(kind).code()
        });
        let codes: Vec<u8> = codes.collect();
        assert_eq!(codes, [2, 3, 4, 4, 4, 2, 4, 4, 5, 5, 5, 130, 2, 1]);
        assert_eq!(kind_of("SOMETHING_NEW"), Kind::Internal);
    }
}
