//! Why an operation on a store failed.

/// Why an operation on a store failed. No text of it holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI of a store cannot be used.
    #[error("cannot use \"{uri}\" as a store: {reason}")]
    Uri {
        /// The URI given.
        uri: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A path inside a store is not plain.
    #[error("cannot use \"{path}\" as a path in a store: {reason}")]
    Path {
        /// The path given.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no such object.
    #[error("{url} does not exist")]
    NotFound {
        /// The object.
        url: String,
    },
    /// The directory is committed already, or the object was created by someone else.
    #[error("{url} exists already; committed directories are never changed, choose another name or version")]
    AlreadyExists {
        /// The object.
        url: String,
    },
    /// The object is larger than the caller is ready to read.
    #[error("{url} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The object.
        url: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A listing is longer than the limit.
    #[error("{url} holds more than {limit} objects; list a narrower prefix")]
    TooMany {
        /// The directory.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The store, or whatever is at its URI, is only read.
    #[error("cannot {action} {url}: it is open to read only; {advice}")]
    ReadOnly {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// What to do.
        advice: &'static str,
    },
    /// The object became another one while it was read.
    #[error("{url} changed while it was read; read it again")]
    Changed {
        /// The object.
        url: String,
    },
    /// The object is not the one that was expected.
    #[error(
        "{url} is damaged: it has {found_bytes} bytes with SHA-256 {found}, not {expected_bytes} with {expected}; restore it from a copy, or make it again"
    )]
    Damaged {
        /// The object.
        url: String,
        /// The SHA-256, in hexadecimal, it should have.
        expected: String,
        /// The bytes it should have.
        expected_bytes: u64,
        /// The SHA-256 it has.
        found: String,
        /// The bytes it has.
        found_bytes: u64,
    },
    /// Credentials are missing, wrong, or not enough.
    #[error("may not {action} {url}: {reason}; check {advice}")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// What the service said.
        reason: String,
        /// Which settings to look at.
        advice: &'static str,
    },
    /// The service cannot be reached or fails, and did so until the time to try again was over.
    #[error(
        "cannot {action} {url}: {reason}; it was tried until the limit: check {advice}, then run it again"
    )]
    Unavailable {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// What happened last.
        reason: String,
        /// What to look at.
        advice: &'static str,
    },
    /// The file system refused.
    #[error("cannot {action} {url}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The service refuses, and would again.
    #[error("cannot {action} {url}: {reason}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// What it said, and what to do about it.
        reason: String,
    },
    /// The object store failed in another way.
    #[error("cannot {action} {url}: {reason}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// What it said.
        reason: String,
    },
}
