//! Opening a database: made if absent, brought up to this build's schema, refused if it cannot be used.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{SqliteStore, copy};
use crate::{Error, Result};

/// The changes of the schema, in order. One that has been released is never edited.
const MIGRATIONS: [(i64, &str, &str); 10] = [
    (1, "resources", include_str!("../../../migrations/0001_resources.sql")),
    (2, "jobs", include_str!("../../../migrations/0002_jobs.sql")),
    (3, "studies", include_str!("../../../migrations/0003_studies.sql")),
    (4, "keys", include_str!("../../../migrations/0004_keys.sql")),
    (5, "engines", include_str!("../../../migrations/0005_engines.sql")),
    (6, "shadows and residence", include_str!("../../../migrations/0006_shadows_and_residence.sql")),
    (7, "model texts", include_str!("../../../migrations/0007_model_texts.sql")),
    (8, "limits", include_str!("../../../migrations/0008_limits.sql")),
    (9, "endpoint descriptions", include_str!("../../../migrations/0009_endpoint_descriptions.sql")),
    (10, "failed attempts", include_str!("../../../migrations/0010_failed_attempts.sql")),
];

/// How long a call waits for another writer.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections answer side by side; writes happen one at a time.
const CONNECTIONS_MAX: u32 = 4;

/// What opening a database has done to its schema.
enum Schema {
    AsItWas,
    Changed,
}

impl SqliteStore {
    /// Opens the database at `path`; it is made if there is none. Its directory must exist. Before the schema of an older
    /// build is changed, a copy of the file is kept beside it: `NAME.before-000N`, N being the first change.
    ///
    /// # Errors
    /// [`Error::Unusable`], naming the file, if it cannot be opened, is no SQLite database, is damaged, or was
    /// made by a newer build.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let connect = async || {
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX);
            let pool = pool.connect_with(options.clone()).await.map_err(|error| unusable(path, error))?;
            Ok::<_, Error>(Self { pool })
        };
        let store = connect().await?;
        match store.prepare(path, true).await {
            Ok(Schema::AsItWas) => Ok(store),
            // Connections go on reading tables as they were when they were opened.
            Ok(Schema::Changed) => {
                store.pool.close().await;
                connect().await
            }
            Err(error) => {
                store.pool.close().await;
                Err(error)
            }
        }
    }

    /// A database in memory, gone with the last clone of the store.
    ///
    /// # Errors
    /// [`Error::Unusable`] if there is no memory for it.
    pub async fn in_memory() -> Result<Self> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        // Each connection to memory is a database of its own, so there is one and it is kept.
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1);
        let pool = pool.idle_timeout(None).max_lifetime(None).connect_with(options).await?;
        let store = Self { pool };
        store.prepare(Path::new(":memory:"), false).await?;
        Ok(store)
    }

    async fn prepare(&self, path: &Path, keeps_copy: bool) -> Result<Schema> {
        let refused = |reason: String, source| Error::Unusable { path: path.to_owned(), reason, source };
        let fault = |error: sqlx::Error| unusable(path, error);
        let found: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.pool).await.map_err(fault)?;
        if found != "ok" {
            return Err(refused(damaged(), Some(found.into())));
        }
        let schema = self.schema().await.map_err(fault)?;
        let newest = MIGRATIONS[MIGRATIONS.len() - 1].0;
        if keeps_copy && (1..newest).contains(&schema) {
            copy::keep_before(&self.pool, path, schema + 1).await?;
        }
        migrator().run(&self.pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) => refused(
                format!(
                    "it was made by a newer build (schema {version}, this build knows up to {}); use that build",
                    MIGRATIONS.len()
                ),
                None,
            ),
            MigrateError::VersionMismatch(version) => refused(
                format!("its schema {version} is not this build's schema {version}; use the build that made it"),
                None,
            ),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => fault(error),
            other => refused("its schema cannot be brought up to date".to_owned(), Some(other.into())),
        })?;
        Ok(if schema == newest { Schema::AsItWas } else { Schema::Changed })
    }
}

impl SqliteStore {
    /// The newest change of the schema that was made, 0 before the first.
    async fn schema(&self) -> std::result::Result<i64, sqlx::Error> {
        const TABLE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
        if sqlx::query_scalar::<_, i64>(TABLE).fetch_one(&self.pool).await? == 0 {
            return Ok(0);
        }
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        sqlx::query_scalar(newest).fetch_one(&self.pool).await
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// The error of a database file that cannot be used.
pub(super) fn unusable(path: &Path, error: sqlx::Error) -> Error {
    Error::Unusable { path: path.to_owned(), reason: reason(&error), source: Some(error.into()) }
}

/// What a failure to open means to the user, by SQLite's primary result code.
fn reason(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => "another process is writing to it; stop that process".to_owned(),
        Some(8) => "it is read-only; give this user the right to write to it".to_owned(),
        Some(11) => damaged(),
        Some(13) => "the disk is full; free some space".to_owned(),
        Some(14) => "it cannot be opened; check that its directory exists and may be written to".to_owned(),
        Some(26) => "it is not a SQLite database; move it away, or restore it from a backup".to_owned(),
        _ => "it cannot be read; check the disk and the file's rights".to_owned(),
    }
}

fn damaged() -> String {
    "it is damaged; restore it from a backup, or move it away to begin anew".to_owned()
}
