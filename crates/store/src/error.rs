//! Why an operation on a store failed.

/// Why an operation on a store failed.
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
    /// The object store refused.
    #[error("cannot {action} {url}: {source}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// Where.
        url: String,
        /// The cause.
        source: Box<object_store::Error>,
    },
}

impl Error {
    pub(crate) fn backend(action: &'static str, url: &str, source: object_store::Error) -> Self {
        let url = url.to_owned();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { url },
            object_store::Error::AlreadyExists { .. } => Self::AlreadyExists { url },
            source => Self::Backend { action, url, source: Box::new(source) },
        }
    }
}
