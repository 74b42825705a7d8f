//! Why the registry refused or failed.

use std::path::PathBuf;

/// How many names an error lists before it says that there are more.
const NAMES_SHOWN: usize = 10;

/// Why the registry refused or failed. Messages are for users and hold no internal detail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error("{message}")]
    InvalidArgument {
        /// The field of the resource that is wrong.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The named thing exists already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The state does not allow the change.
    #[error("{0}")]
    FailedPrecondition(String),
    /// Somebody else has changed it meanwhile.
    #[error("{0}")]
    Aborted(String),
    /// The database file cannot be used by this build.
    #[error("cannot use the registry {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, and the way out.
        reason: String,
        /// What the database said, if it was asked.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// There is no room for the change on the disk.
    #[error("the disk that holds the registry is full; free some space and try again")]
    DiskFull {
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed.
    #[error("{message}")]
    Internal {
        /// What to tell the user.
        message: &'static str,
        /// What the database said; for the log.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field, message: message.into() }
    }

    /// A change to something that is not what it was when the caller read it.
    pub(crate) fn changed_since(what: &str, etag: &str) -> Self {
        Self::Aborted(format!(
            "{what} is not what it was when the etag given was read; read it again (its etag is \"{etag}\"), or leave the etag out"
        ))
    }

    /// A stored value this build cannot read back.
    pub(crate) fn unreadable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal {
            message: "the registry holds a value that cannot be read; restore it from a backup",
            source: source.into(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        const FULL: &str = "13";
        let code = error.as_database_error().and_then(|error| error.code());
        let message = match (&error, code.as_deref()) {
            (_, Some(FULL)) => return Self::DiskFull { source: error.into() },
            (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => return Self::unreadable(error),
            _ => "the registry database failed; the log has the detail",
        };
        Self::Internal { message, source: error.into() }
    }
}

/// `models: a, b, c` for an error that says what exists instead; `plural` is said when there is nothing.
pub(crate) fn names_text(plural: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there are no {plural}");
    }
    let shown = names[..names.len().min(NAMES_SHOWN)].join(", ");
    let more = if names.len() > NAMES_SHOWN { ", and more" } else { "" };
    format!("{plural}: {shown}{more}")
}

/// How many names to read so that [`names_text`] can tell whether there are more.
pub(crate) const NAMES_READ: i64 = NAMES_SHOWN as i64 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_from_other_faults() {
        let pool = sqlx::sqlite::SqlitePoolOptions::new()
            .max_connections(1)
            .connect("sqlite::memory:")
            .await
            .unwrap();
        sqlx::query("CREATE TABLE t (x)").execute(&pool).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 2").execute(&pool).await.unwrap();
        let full = sqlx::query("INSERT INTO t VALUES (zeroblob(100000))").execute(&pool).await.unwrap_err();
        assert!(matches!(Error::from(full), Error::DiskFull { .. }));
        let other = sqlx::query("INSERT INTO u VALUES (1)").execute(&pool).await.unwrap_err();
        assert!(matches!(Error::from(other), Error::Internal { .. }));
    }

    #[test]
    fn names_are_listed_up_to_a_limit() {
        let names = |n: usize| (0..n).map(|i| format!("m{i}")).collect::<Vec<_>>();
        assert_eq!(names_text("models", &[]), "there are no models");
        assert_eq!(names_text("models", &names(2)), "models: m0, m1");
        assert_eq!(names_text("models", &names(10)), "models: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9");
        assert_eq!(
            names_text("models", &names(11)),
            "models: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, and more"
        );
    }
}
