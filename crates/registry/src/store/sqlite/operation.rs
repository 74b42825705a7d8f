//! Operations in SQLite.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, limit, project, time};
use crate::{
    Error, Failure, MAX_FAILED_OPERATIONS, MAX_OPERATIONS, NewOperation, Operation, OperationOutcome, Result,
    document,
};

pub(super) async fn put(
    store: &SqliteStore,
    id: &str,
    new: NewOperation,
    now: Timestamp,
) -> Result<Operation> {
    new.check(id)?;
    let (response, error) = match &new.outcome {
        OperationOutcome::Response(response) => (document::to_text("response", response)?, None),
        OperationOutcome::Failed(failure) => ("null".to_owned(), Some(document::to_text("error", failure)?)),
    };
    let failed = error.is_some();
    let mut transaction = store.write().await?;
    project::ensure(&mut transaction, &new.project, now).await?;
    let inserted = sqlx::query(
        "INSERT INTO operations (project, id, parent, kind, response_json, error_json, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&new.project)
    .bind(id)
    .bind(&new.parent)
    .bind(&new.kind)
    .bind(response)
    .bind(error)
    .bind(now.as_microsecond())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(inserted) = inserted else {
        let message =
            format!("project \"{}\" already has an operation \"{id}\"; use another id", new.project);
        return Err(Error::AlreadyExists(message));
    };
    if failed {
        sqlx::query(
            "DELETE FROM operations WHERE number IN
                 (SELECT number FROM operations WHERE project = ? AND parent = ? AND error_json IS NOT NULL
                  ORDER BY number DESC LIMIT -1 OFFSET ?)",
        )
        .bind(&new.project)
        .bind(&new.parent)
        .bind(limit(MAX_FAILED_OPERATIONS))
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "DELETE FROM operations WHERE number IN
             (SELECT number FROM operations WHERE project = ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
    )
    .bind(&new.project)
    .bind(limit(MAX_OPERATIONS))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    read(&inserted)
}

pub(super) async fn get(store: &SqliteStore, project: &str, id: &str) -> Result<Operation> {
    let row = sqlx::query("SELECT * FROM operations WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .fetch_optional(&store.pool)
        .await?;
    row.as_ref().map(read).transpose()?.ok_or_else(|| {
        let id = id.escape_debug();
        Error::NotFound(format!(
            "project \"{project}\" has no operation \"{id}\"; the newest {MAX_OPERATIONS} are kept"
        ))
    })
}

pub(super) async fn delete(store: &SqliteStore, project: &str, id: &str) -> Result<()> {
    get(store, project, id).await?;
    sqlx::query("DELETE FROM operations WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .execute(&store.pool)
        .await?;
    Ok(())
}

pub(super) async fn list(store: &SqliteStore, project: &str, at_most: usize) -> Result<Vec<Operation>> {
    let rows = sqlx::query("SELECT * FROM operations WHERE project = ? ORDER BY number DESC LIMIT ?")
        .bind(project)
        .bind(limit(at_most))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Operation> {
    let error: Option<&str> = row.try_get("error_json")?;
    let outcome = match error {
        Some(error) => OperationOutcome::Failed(document::from_text::<Failure>(error)?),
        None => OperationOutcome::Response(document::from_text(row.try_get("response_json")?)?),
    };
    Ok(Operation {
        project: row.try_get("project")?,
        id: row.try_get("id")?,
        parent: row.try_get("parent")?,
        kind: row.try_get("kind")?,
        outcome,
        created_at: time(row, "created_at")?,
    })
}
