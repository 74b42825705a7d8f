//! Projects: they come to be with the first thing in them.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::Result;

pub(super) async fn list(pool: &SqlitePool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT id FROM projects ORDER BY id").fetch_all(pool).await?)
}

/// Makes a project if there is none of this id.
pub(super) async fn ensure(connection: &mut SqliteConnection, id: &str, now: Timestamp) -> Result<()> {
    sqlx::query("INSERT INTO projects (id, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(id)
        .bind(now.as_microsecond())
        .execute(connection)
        .await?;
    Ok(())
}
