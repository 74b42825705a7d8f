//! API keys in SQLite.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, limit, optional_time, time};
use crate::{ApiKey, Error, MAX_KEYS, NewKey, Result};

pub(super) async fn create(store: &SqliteStore, new: NewKey, now: Timestamp) -> Result<ApiKey> {
    new.check(now)?;
    let mut transaction = store.write().await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys").fetch_one(&mut *transaction).await?;
    if count >= limit(MAX_KEYS) {
        let message = format!("there are {MAX_KEYS} keys already, revoked ones counted");
        return Err(Error::FailedPrecondition(message));
    }
    let row = sqlx::query(
        "INSERT INTO api_keys (id, project, display_name, scope, secret_digest, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&new.id)
    .bind(&new.project)
    .bind(&new.display_name)
    .bind(new.scope.name())
    .bind(&new.secret_digest)
    .bind(now.as_microsecond())
    .bind(new.expires_at.map(Timestamp::as_microsecond))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else {
        return Err(Error::AlreadyExists(format!("there is a key \"{}\" already", new.id)));
    };
    transaction.commit().await?;
    read(&row)
}

pub(super) async fn list(store: &SqliteStore) -> Result<Vec<ApiKey>> {
    let rows =
        sqlx::query("SELECT * FROM api_keys ORDER BY created_at, rowid").fetch_all(&store.pool).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn revoke(store: &SqliteStore, id: &str, now: Timestamp) -> Result<ApiKey> {
    let row =
        sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING *")
            .bind(now.as_microsecond())
            .bind(id)
            .fetch_optional(&store.pool)
            .await?;
    row.as_ref().map(read).transpose()?.ok_or_else(|| {
        Error::NotFound(format!("there is no key \"{}\"; list them to see their ids", id.escape_debug()))
    })
}

fn read(row: &SqliteRow) -> Result<ApiKey> {
    let scope: String = row.try_get("scope")?;
    Ok(ApiKey {
        id: row.try_get("id")?,
        project: row.try_get("project")?,
        display_name: row.try_get("display_name")?,
        scope: scope.parse().map_err(Error::unreadable)?,
        secret_digest: row.try_get("secret_digest")?,
        created_at: time(row, "created_at")?,
        expires_at: optional_time(row, "expires_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}
