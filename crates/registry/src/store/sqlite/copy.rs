//! Copies of a database file that others may be writing to: one state of it, whole or not at all.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::SqliteStore;
use super::open::{BUSY_TIMEOUT, unusable};
use crate::{Error, Result};

/// So many copies from before a migration are kept, the newest.
const KEPT_MAX: usize = 3;

impl SqliteStore {
    /// Copies the database at `path` to `into`, which must not be there, in the state of one moment; whoever has it open
    /// goes on. The copy is one file.
    ///
    /// # Errors
    /// [`Error::Unusable`] if there is no database at `path`, it cannot be read, or the copy cannot be written.
    pub async fn copy(path: &Path, into: &Path) -> Result<()> {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.map_err(|error| unusable(path, error))?;
        let copied = copied(&pool, path, into).await;
        pool.close().await;
        copied
    }

    /// Says that all artifacts that lie under one URI lie under another now.
    ///
    /// # Errors
    /// [`Error::Internal`] if the database fails.
    pub async fn move_artifacts(&self, from: &str, to: &str) -> Result<()> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "UPDATE versions SET artifact_uri = ?2 || substr(artifact_uri, length(?1) + 1)
             WHERE substr(artifact_uri, 1, length(?1) + 1) = ?1 || '/'",
        )
        .bind(from)
        .bind(to)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

/// Keeps a copy of a database of schema `before` beside it, and the newest few of those there are.
pub(super) async fn keep_before(pool: &SqlitePool, path: &Path, next: i64) -> Result<()> {
    let kept = beside(path, &format!(".before-{next:04}"));
    let new = beside(path, &format!(".before-{next:04}.new"));
    // What a copy that was cut off has left.
    let _ = std::fs::remove_file(&new);
    copied(pool, path, &new).await?;
    let renamed = std::fs::File::open(&new).and_then(|file| file.sync_all());
    renamed.and_then(|()| std::fs::rename(&new, &kept)).map_err(|error| Error::Unusable {
        path: path.to_owned(),
        reason: format!("a copy of it cannot be kept before its schema changes ({error}); free some space"),
        source: Some(error.into()),
    })?;
    remove_oldest(path);
    Ok(())
}

async fn copied(pool: &SqlitePool, path: &Path, into: &Path) -> Result<()> {
    let name = into.to_str().ok_or_else(|| Error::Unusable {
        path: path.to_owned(),
        reason: format!("a copy cannot be written to {}, which is not UTF-8", into.display()),
        source: None,
    })?;
    let done = sqlx::query("VACUUM INTO ?").bind(name).execute(pool).await;
    done.map(|_| ()).map_err(|error| unusable(path, error))
}

fn remove_oldest(path: &Path) {
    let Some(folder) = path.parent() else { return };
    let prefix = beside(path, ".before-").file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(&prefix).then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    for name in names.iter().rev().skip(KEPT_MAX) {
        let _ = std::fs::remove_file(folder.join(name));
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
