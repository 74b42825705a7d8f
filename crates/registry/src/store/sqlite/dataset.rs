//! Data sets in SQLite.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, limit, project, time};
use crate::error::{NAMES_READ, names_text};
use crate::{Dataset, Error, NewSnapshot, Result};

pub(super) async fn put(store: &SqliteStore, snapshot: NewSnapshot, now: Timestamp) -> Result<Dataset> {
    snapshot.check()?;
    let mut transaction = store.write().await?;
    project::ensure(&mut transaction, &snapshot.project, now).await?;
    let before = find(&mut transaction, &snapshot.project, &snapshot.name).await?;
    snapshot.check_after(before.as_ref())?;
    if let Some(before) = before.filter(|before| before.snapshot == snapshot.snapshot) {
        return Ok(before);
    }
    sqlx::query(
        "INSERT INTO datasets (project, name, snapshot, digest, created_at, updated_at) VALUES (?, ?, ?, ?, ?5, ?5)
         ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot, digest = excluded.digest,
             updated_at = excluded.updated_at",
    )
    .bind(&snapshot.project)
    .bind(&snapshot.name)
    .bind(snapshot.snapshot)
    .bind(&snapshot.digest)
    .bind(now.as_microsecond())
    .execute(&mut *transaction)
    .await?;
    let after = find(&mut transaction, &snapshot.project, &snapshot.name).await?;
    transaction.commit().await?;
    after.ok_or_else(|| unknown(&snapshot.project, &snapshot.name, &[]))
}

pub(super) async fn get(store: &SqliteStore, project: &str, name: &str) -> Result<Dataset> {
    let mut transaction = store.read().await?;
    if let Some(found) = find(&mut transaction, project, name).await? {
        return Ok(found);
    }
    let known: Vec<String> =
        sqlx::query_scalar("SELECT name FROM datasets WHERE project = ? ORDER BY name LIMIT ?")
            .bind(project)
            .bind(NAMES_READ)
            .fetch_all(&mut *transaction)
            .await?;
    Err(unknown(project, name, &known))
}

pub(super) async fn list(
    store: &SqliteStore,
    project: &str,
    after: Option<&str>,
    at_most: usize,
) -> Result<Vec<Dataset>> {
    let rows = sqlx::query("SELECT * FROM datasets WHERE project = ? AND name > ? ORDER BY name LIMIT ?")
        .bind(project)
        .bind(after.unwrap_or_default())
        .bind(limit(at_most))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(read).collect()
}

async fn find(connection: &mut SqliteConnection, project: &str, name: &str) -> Result<Option<Dataset>> {
    let row = sqlx::query("SELECT * FROM datasets WHERE project = ? AND name = ?")
        .bind(project)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<Dataset> {
    Ok(Dataset {
        project: row.try_get("project")?,
        name: row.try_get("name")?,
        snapshot: row.try_get("snapshot")?,
        digest: row.try_get("digest")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn unknown(project: &str, name: &str, known: &[String]) -> Error {
    let name = name.escape_debug();
    Error::NotFound(format!(
        "project \"{project}\" has no data set \"{name}\"; {}",
        names_text("data sets", known)
    ))
}
