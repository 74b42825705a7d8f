//! The one error of the facade: a kind that maps to a status, and a message a user can act on.

/// What sort of failure it is. The gateway maps it to HTTP and gRPC, the command line to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The request is fine, the state does not allow it.
    FailedPrecondition,
    /// Somebody else has changed it since it was read.
    Aborted,
    /// A value outside what the data covers.
    OutOfRange,
    /// Nobody has said who is asking, or what was said is not true.
    Unauthenticated,
    /// The caller may not name this.
    PermissionDenied,
    /// A limit is reached: memory, queue, size.
    ResourceExhausted,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// The deadline passed first.
    DeadlineExceeded,
    /// The caller stopped it.
    Cancelled,
    /// Not offered by this version.
    Unimplemented,
    /// A fault of ours; the detail is in the log.
    Internal,
}

/// Kinds and what Google's APIs call them.
const WORDS: [(Kind, &str); 14] = [
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

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        WORDS.into_iter().map(|(kind, _)| kind)
    }

    /// What it is called where it is written, as Google's APIs call it: `FAILED_PRECONDITION`.
    pub fn word(self) -> &'static str {
        WORDS.into_iter().find(|(kind, _)| *kind == self).map_or("INTERNAL", |(_, word)| word)
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// One field of a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, as the request spells it.
    pub field: String,
    /// What is wrong and the way out.
    pub description: String,
}

/// What every method of the facade fails with. `Display` is for the user and holds no internal detail.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    violations: Vec<FieldViolation>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message for the user.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), violations: Vec::new(), source: None }
    }

    /// [`Kind::InvalidArgument`] that points at a field of the request.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let violation = FieldViolation { field: field.to_owned(), description: message.clone() };
        Self { kind: Kind::InvalidArgument, message, violations: vec![violation], source: None }
    }

    /// A fault of ours. `source` goes to the log, the user sees `message`.
    pub fn internal(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind: Kind::Internal,
            message: message.into(),
            violations: Vec::new(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The fields of the request that are wrong.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.violations
    }

    /// The same error, its message led by what was being done.
    #[must_use]
    pub fn context(mut self, doing: impl std::fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// Shorthand for the facade's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
