//! Jobs in SQLite.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, limit, optional_time, project, time};
use crate::error::{NAMES_READ, names_text};
use crate::job::MadeVersion;
use crate::{Error, Job, JobChange, JobState, NewJob, Result, document};

pub(super) async fn create(store: &SqliteStore, new: NewJob, now: Timestamp) -> Result<Job> {
    new.check()?;
    let labels = document::to_text("labels", &new.labels)?;
    let spec = document::to_text("spec", &new.spec)?;
    let mut transaction = store.write().await?;
    project::ensure(&mut transaction, &new.project, now).await?;
    let inserted = sqlx::query(
        "INSERT INTO jobs (project, id, kind, display_name, labels_json, spec_json, state, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, 'queued', ?7, ?7) ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&new.project)
    .bind(&new.id)
    .bind(&new.kind)
    .bind(&new.display_name)
    .bind(labels)
    .bind(spec)
    .bind(now.as_microsecond())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(inserted) = inserted else {
        let message = format!("project \"{}\" already has a job \"{}\"; use another id", new.project, new.id);
        return Err(Error::AlreadyExists(message));
    };
    transaction.commit().await?;
    read(&inserted)
}

pub(super) async fn get(store: &SqliteStore, project: &str, id: &str) -> Result<Job> {
    let mut transaction = store.read().await?;
    find(&mut transaction, project, id).await
}

pub(super) async fn list(
    store: &SqliteStore,
    (project, kinds): (&str, &[&str]),
    after: Option<&str>,
    at_most: usize,
) -> Result<Vec<Job>> {
    // Kinds are of a-z and _, so that a comma parts them.
    let kinds = if kinds.is_empty() { String::new() } else { format!(",{},", kinds.join(",")) };
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE project = ? AND id > ? AND (?3 = '' OR instr(?3, ',' || kind || ',') > 0)
         ORDER BY id LIMIT ?4",
    )
    .bind(project)
    .bind(after.unwrap_or_default())
    .bind(kinds)
    .bind(limit(at_most))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn list_unfinished(store: &SqliteStore) -> Result<Vec<Job>> {
    let rows = sqlx::query("SELECT * FROM jobs WHERE ended_at IS NULL ORDER BY created_at, project, id")
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn change(
    store: &SqliteStore,
    (project, id): (&str, &str),
    change: JobChange,
    now: Timestamp,
) -> Result<Job> {
    let mut transaction = store.write().await?;
    let job = find(&mut transaction, project, id).await?.changed(change, now)?;
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    let written = sqlx::query(
        "UPDATE jobs SET inputs_json = ?, state = ?, attempts = ?, error = ?, model = ?, version = ?,
             started_at = ?, ended_at = ?, updated_at = ? WHERE project = ? AND id = ? RETURNING *",
    )
    .bind(document::to_text("inputs", &job.inputs)?)
    .bind(job.state.word())
    .bind(job.attempts)
    .bind(&job.error)
    .bind(job.made.as_ref().map(|made| made.model.as_str()))
    .bind(job.made.as_ref().map(|made| made.version))
    .bind(micros(job.started_at))
    .bind(micros(job.ended_at))
    .bind(now.as_microsecond())
    .bind(project)
    .bind(id)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    read(&written)
}

pub(super) async fn delete(store: &SqliteStore, project: &str, id: &str) -> Result<()> {
    let mut transaction = store.write().await?;
    let job = find(&mut transaction, project, id).await?;
    if !job.state.has_ended() {
        let message = format!("job \"{id}\" is {}; cancel it before it is deleted", job.state);
        return Err(Error::FailedPrecondition(message));
    }
    sqlx::query("DELETE FROM jobs WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn forget(store: &SqliteStore, project: &str, keep: usize) -> Result<Vec<String>> {
    let mut forgotten: Vec<String> = sqlx::query_scalar(
        "DELETE FROM jobs WHERE project = ?1 AND id IN
             (SELECT id FROM jobs WHERE project = ?1 AND ended_at IS NOT NULL
              ORDER BY ended_at DESC, id DESC LIMIT -1 OFFSET ?2)
         RETURNING id",
    )
    .bind(project)
    .bind(limit(keep))
    .fetch_all(&store.pool)
    .await?;
    forgotten.sort_unstable();
    Ok(forgotten)
}

async fn find(connection: &mut SqliteConnection, project: &str, id: &str) -> Result<Job> {
    let row = sqlx::query("SELECT * FROM jobs WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return read(&row);
    }
    let known: Vec<String> =
        sqlx::query_scalar("SELECT id FROM jobs WHERE project = ? ORDER BY id DESC LIMIT ?")
            .bind(project)
            .bind(NAMES_READ)
            .fetch_all(connection)
            .await?;
    let (id, known) = (id.escape_debug(), names_text("jobs", &known));
    Err(Error::NotFound(format!("project \"{project}\" has no job \"{id}\"; {known}")))
}

fn read(row: &SqliteRow) -> Result<Job> {
    let word: &str = row.try_get("state")?;
    let state = JobState::of_word(word).ok_or_else(|| Error::unreadable(format!("job state {word}")))?;
    let made = match (row.try_get("model")?, row.try_get("version")?) {
        (Some(model), Some(version)) => Some(MadeVersion { model, version }),
        _ => None,
    };
    Ok(Job {
        project: row.try_get("project")?,
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        display_name: row.try_get("display_name")?,
        labels: document::from_text(row.try_get("labels_json")?)?,
        spec: document::from_text(row.try_get("spec_json")?)?,
        inputs: document::from_text(row.try_get("inputs_json")?)?,
        state,
        attempts: row.try_get("attempts")?,
        error: row.try_get("error")?,
        made,
        created_at: time(row, "created_at")?,
        started_at: optional_time(row, "started_at")?,
        ended_at: optional_time(row, "ended_at")?,
        updated_at: time(row, "updated_at")?,
    })
}
