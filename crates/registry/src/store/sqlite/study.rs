//! Studies and trials in SQLite.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, limit, optional_time, project, time};
use crate::error::{NAMES_READ, names_text};
use crate::{
    Error, MAX_TRIALS, NewStudy, Result, Study, Trial, TrialCount, TrialEnd, TrialFilter, TrialState,
    document,
};

pub(super) async fn create(store: &SqliteStore, new: NewStudy, now: Timestamp) -> Result<Study> {
    new.check()?;
    let spec = document::to_text("spec", &new.spec)?;
    let mut transaction = store.write().await?;
    project::ensure(&mut transaction, &new.project, now).await?;
    let inserted = sqlx::query(
        "INSERT INTO studies (project, id, model, dataset, spec_json, created_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&new.project)
    .bind(&new.id)
    .bind(&new.model)
    .bind(&new.dataset)
    .bind(spec)
    .bind(now.as_microsecond())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(inserted) = inserted else {
        let message =
            format!("project \"{}\" already has a study \"{}\"; use another id", new.project, new.id);
        return Err(Error::AlreadyExists(message));
    };
    transaction.commit().await?;
    read_study(&inserted)
}

pub(super) async fn get(store: &SqliteStore, project: &str, id: &str) -> Result<Study> {
    let mut transaction = store.read().await?;
    find(&mut transaction, project, id).await
}

pub(super) async fn list(
    store: &SqliteStore,
    project: &str,
    after: Option<&str>,
    at_most: usize,
) -> Result<Vec<Study>> {
    let rows = sqlx::query("SELECT * FROM studies WHERE project = ? AND id > ? ORDER BY id LIMIT ?")
        .bind(project)
        .bind(after.unwrap_or_default())
        .bind(limit(at_most))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(read_study).collect()
}

pub(super) async fn start_trial(
    store: &SqliteStore,
    (project, study): (&str, &str),
    parameters: &Value,
    now: Timestamp,
) -> Result<Trial> {
    let parameters = document::to_text("parameters", parameters)?;
    let mut transaction = store.write().await?;
    find(&mut transaction, project, study).await?;
    let last: u32 =
        sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) FROM trials WHERE project = ? AND study = ?")
            .bind(project)
            .bind(study)
            .fetch_one(&mut *transaction)
            .await?;
    if last >= MAX_TRIALS {
        let message =
            format!("study \"{study}\" has {last} trials, and at most {MAX_TRIALS} may be; begin another");
        return Err(Error::FailedPrecondition(message));
    }
    let inserted = sqlx::query(
        "INSERT INTO trials (project, study, number, parameters_json, state, started_at)
         VALUES (?, ?, ?, ?, 'running', ?) RETURNING *",
    )
    .bind(project)
    .bind(study)
    .bind(last + 1)
    .bind(parameters)
    .bind(now.as_microsecond())
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    read_trial(&inserted)
}

pub(super) async fn finish_trial(
    store: &SqliteStore,
    (project, study, number): (&str, &str, u32),
    end: TrialEnd,
    now: Timestamp,
) -> Result<Trial> {
    let mut transaction = store.write().await?;
    find(&mut transaction, project, study).await?;
    let row = sqlx::query("SELECT * FROM trials WHERE project = ? AND study = ? AND number = ?")
        .bind(project)
        .bind(study)
        .bind(number)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(row) = row else {
        return Err(Error::NotFound(format!("study \"{study}\" has no trial {number}")));
    };
    let trial = read_trial(&row)?.ended(end, now)?;
    let written = sqlx::query(
        "UPDATE trials SET state = ?, metrics_json = ?, bundle_digest = ?, error = ?, finished_at = ?
         WHERE project = ? AND study = ? AND number = ? RETURNING *",
    )
    .bind(trial.state.word())
    .bind(document::to_text("metrics", &trial.metrics)?)
    .bind(&trial.bundle_digest)
    .bind(&trial.error)
    .bind(now.as_microsecond())
    .bind(project)
    .bind(study)
    .bind(number)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    read_trial(&written)
}

pub(super) async fn list_trials(
    store: &SqliteStore,
    (project, study): (&str, &str),
    after: Option<u32>,
    at_most: usize,
) -> Result<Vec<Trial>> {
    let mut transaction = store.read().await?;
    find(&mut transaction, project, study).await?;
    let rows = sqlx::query(
        "SELECT * FROM trials WHERE project = ? AND study = ? AND number > ? ORDER BY number LIMIT ?",
    )
    .bind(project)
    .bind(study)
    .bind(after.unwrap_or_default())
    .bind(limit(at_most))
    .fetch_all(&mut *transaction)
    .await?;
    rows.iter().map(read_trial).collect()
}

pub(super) async fn count_trials(
    store: &SqliteStore,
    project: &str,
    filter: TrialFilter<'_>,
) -> Result<TrialCount> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS begun, COALESCE(SUM(trials.state = 'succeeded'), 0) AS succeeded
         FROM studies JOIN trials ON trials.project = studies.project AND trials.study = studies.id
         WHERE studies.project = ?1 AND (?2 IS NULL OR studies.model = ?2) AND (?3 IS NULL OR studies.dataset = ?3)",
    )
    .bind(project)
    .bind(filter.model)
    .bind(filter.dataset)
    .fetch_one(&store.pool)
    .await?;
    let count = |column: &str| -> Result<u64> {
        u64::try_from(row.try_get::<i64, _>(column)?).map_err(Error::unreadable)
    };
    Ok(TrialCount { begun: count("begun")?, succeeded: count("succeeded")? })
}

async fn find(connection: &mut SqliteConnection, project: &str, id: &str) -> Result<Study> {
    let row = sqlx::query("SELECT * FROM studies WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return read_study(&row);
    }
    let known: Vec<String> =
        sqlx::query_scalar("SELECT id FROM studies WHERE project = ? ORDER BY id LIMIT ?")
            .bind(project)
            .bind(NAMES_READ)
            .fetch_all(connection)
            .await?;
    let (id, known) = (id.escape_debug(), names_text("studies", &known));
    Err(Error::NotFound(format!("project \"{project}\" has no study \"{id}\"; {known}")))
}

fn read_study(row: &SqliteRow) -> Result<Study> {
    Ok(Study {
        project: row.try_get("project")?,
        id: row.try_get("id")?,
        model: row.try_get("model")?,
        dataset: row.try_get("dataset")?,
        spec: document::from_text(row.try_get("spec_json")?)?,
        created_at: time(row, "created_at")?,
    })
}

fn read_trial(row: &SqliteRow) -> Result<Trial> {
    let word: &str = row.try_get("state")?;
    let state = TrialState::of_word(word).ok_or_else(|| Error::unreadable(format!("trial state {word}")))?;
    Ok(Trial {
        project: row.try_get("project")?,
        study: row.try_get("study")?,
        number: row.try_get("number")?,
        parameters: document::from_text(row.try_get("parameters_json")?)?,
        state,
        metrics: document::from_text(row.try_get("metrics_json")?)?,
        bundle_digest: row.try_get("bundle_digest")?,
        error: row.try_get("error")?,
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}
