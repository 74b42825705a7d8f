//! Models, versions and aliases in SQLite.

use jiff::Timestamp;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, limit, project, time};
use crate::error::{NAMES_READ, names_text};
use crate::model::{DEFAULT_ALIAS, VersionReference, VersionSelector};
use crate::{
    Error, ModelTexts, ModelVersion, NewVersion, Result, UnfinishedUpload, UploadMode, document, id,
};

/// A registered version with its aliases and what is said of its model; what follows narrows it down.
macro_rules! select_version {
    ($rest:literal) => {
        concat!(
            "SELECT v.*, m.display_name AS model_display_name, m.description AS model_description,
                 m.labels_json AS model_labels_json, m.created_at AS model_created_at, m.updated_at AS model_updated_at,
                 (SELECT json_group_array(a.alias ORDER BY a.alias) FROM aliases a
                 WHERE a.project = v.project AND a.model = v.model AND a.version = v.version) AS aliases_json
             FROM versions v JOIN models m ON m.project = v.project AND m.id = v.model ",
            $rest
        )
    };
}

pub(super) async fn reserve(
    store: &SqliteStore,
    (project, model): (&str, &str),
    mode: UploadMode,
    now: Timestamp,
) -> Result<u32> {
    id::check_project(project)?;
    id::check_model(model)?;
    let mut transaction = store.write().await?;
    // A model of which all versions were deleted counts as none; its numbers go on.
    let (any, registered): (bool, bool) = sqlx::query_as(
        "SELECT count(*) > 0, count(*) FILTER (WHERE state = 'ready') > 0 FROM versions
         WHERE project = ? AND model = ?",
    )
    .bind(project)
    .bind(model)
    .fetch_one(&mut *transaction)
    .await?;
    match mode {
        UploadMode::NewModel if any => {
            return Err(Error::AlreadyExists(format!(
                "project \"{project}\" already has a model \"{model}\"; upload a version of it, or choose another id"
            )));
        }
        UploadMode::ExistingModel if !registered => {
            return Err(unknown_model(&mut transaction, project, model).await?);
        }
        _ => {}
    }
    project::ensure(&mut transaction, project, now).await?;
    sqlx::query("INSERT INTO models (project, id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(project)
        .bind(model)
        .bind(now.as_microsecond())
        .execute(&mut *transaction)
        .await?;
    let version = sqlx::query_scalar(
        "INSERT INTO versions (project, model, version, state, created_at, updated_at)
         SELECT m.project, m.id, 1 + max(m.last_version, coalesce((SELECT max(v.version) FROM versions v
                 WHERE v.project = m.project AND v.model = m.id), 0)), 'uploading', ?3, ?3
         FROM models m WHERE m.project = ?1 AND m.id = ?2 RETURNING version",
    )
    .bind(project)
    .bind(model)
    .bind(now.as_microsecond())
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(version)
}

pub(super) async fn commit(
    store: &SqliteStore,
    (project, model, version): (&str, &str, u32),
    new: NewVersion,
    now: Timestamp,
) -> Result<ModelVersion> {
    new.check()?;
    let signature = document::to_text("signature", &new.signature)?;
    let summary = document::to_text("summary", &new.summary)?;
    let labels = document::to_text("labels", &new.labels)?;
    let mut transaction = store.write().await?;
    let committed = sqlx::query(
        "UPDATE versions SET state = 'ready', description = ?4, artifact_uri = ?5, bundle_digest = ?6,
             signature_json = ?7, summary_json = ?8, labels_json = ?9, updated_at = ?10
         WHERE project = ?1 AND model = ?2 AND version = ?3 AND state = 'uploading'",
    )
    .bind(project)
    .bind(model)
    .bind(version)
    .bind(&new.description)
    .bind(&new.artifact_uri)
    .bind(&new.bundle_digest)
    .bind(signature)
    .bind(summary)
    .bind(labels)
    .bind(now.as_microsecond())
    .execute(&mut *transaction)
    .await?;
    if committed.rows_affected() == 0 {
        return Err(Error::FailedPrecondition(format!(
            "version {version} of model \"{model}\" is not reserved for an upload; upload it again"
        )));
    }
    sqlx::query("UPDATE models SET last_version = max(last_version, ?3) WHERE project = ?1 AND id = ?2")
        .bind(project)
        .bind(model)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
    if default_of(&mut transaction, project, model).await?.is_none() {
        begin_model(&mut transaction, (project, model, version), &new.about, now).await?;
    }
    set_aliases(&mut transaction, (project, model, version), &new).await?;
    let registered = by_number(&mut transaction, project, model, version).await?;
    transaction.commit().await?;
    registered.ok_or_else(|| Error::unreadable("the version just registered is not there"))
}

/// Writes what is said of a model of which this is the only version. Models of that id there may have been before.
async fn begin_model(
    connection: &mut SqliteConnection,
    (project, model, version): (&str, &str, u32),
    about: &ModelTexts,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE models SET display_name = ?3, description = ?4, labels_json = ?5, updated_at = max(?6, updated_at + 1),
             created_at = (SELECT created_at FROM versions WHERE project = ?1 AND model = ?2 AND version = ?7)
         WHERE project = ?1 AND id = ?2",
    )
    .bind(project)
    .bind(model)
    .bind(&about.display_name)
    .bind(&about.description)
    .bind(document::to_text("labels", &about.labels)?)
    .bind(now.as_microsecond())
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

/// The number of a model's default version.
async fn default_of(connection: &mut SqliteConnection, project: &str, model: &str) -> Result<Option<u32>> {
    Ok(sqlx::query_scalar("SELECT version FROM aliases WHERE project = ? AND model = ? AND alias = ?")
        .bind(project)
        .bind(model)
        .bind(DEFAULT_ALIAS)
        .fetch_optional(connection)
        .await?)
}

async fn set_aliases(
    connection: &mut SqliteConnection,
    (project, model, version): (&str, &str, u32),
    new: &NewVersion,
) -> Result<()> {
    let default = default_of(connection, project, model).await?;
    for alias in new.aliases_after(default) {
        set_alias(connection, (project, model, version), &alias).await?;
    }
    Ok(())
}

/// Gives an alias to a version; the one that has it loses it.
pub(super) async fn set_alias(
    connection: &mut SqliteConnection,
    (project, model, version): (&str, &str, u32),
    alias: &str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO aliases (project, model, alias, version) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET version = excluded.version",
    )
    .bind(project)
    .bind(model)
    .bind(alias)
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn abandon(store: &SqliteStore, (project, model, version): (&str, &str, u32)) -> Result<()> {
    let mut transaction = store.write().await?;
    sqlx::query(
        "DELETE FROM versions WHERE project = ? AND model = ? AND version = ? AND state = 'uploading'",
    )
    .bind(project)
    .bind(model)
    .bind(version)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "DELETE FROM models WHERE project = ?1 AND id = ?2 AND last_version = 0
             AND NOT EXISTS (SELECT 1 FROM versions WHERE project = ?1 AND model = ?2)",
    )
    .bind(project)
    .bind(model)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn list_uploading(pool: &SqlitePool) -> Result<Vec<UnfinishedUpload>> {
    let rows = sqlx::query(
        "SELECT project, model, version FROM versions WHERE state = 'uploading' ORDER BY project, model, version",
    )
    .fetch_all(pool)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(UnfinishedUpload {
            project: row.try_get("project")?,
            model: row.try_get("model")?,
            version: row.try_get("version")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn get(store: &SqliteStore, project: &str, reference: &str) -> Result<ModelVersion> {
    let VersionReference { model, selector } = VersionReference::parse(reference)?;
    let mut transaction = store.read().await?;
    let found = match selector {
        VersionSelector::Number(version) => by_number(&mut transaction, project, model, version).await?,
        VersionSelector::Alias(alias) => by_alias(&mut transaction, project, model, alias).await?,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let versions: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(version AS TEXT) FROM versions WHERE project = ? AND model = ? AND state = 'ready'
         ORDER BY version DESC LIMIT ?",
    )
    .bind(project)
    .bind(model)
    .bind(NAMES_READ)
    .fetch_all(&mut *transaction)
    .await?;
    if versions.is_empty() {
        return Err(unknown_model(&mut transaction, project, model).await?);
    }
    let (what, known) = match selector {
        VersionSelector::Number(number) => (format!("version {number}"), names_text("versions", &versions)),
        VersionSelector::Alias(alias) => {
            let aliases = aliases_of(&mut transaction, project, model).await?;
            (format!("alias \"{alias}\""), names_text("aliases", &aliases))
        }
    };
    Err(Error::NotFound(format!("model \"{model}\" has no {what}; {known}")))
}

pub(super) async fn list_models(
    store: &SqliteStore,
    project: &str,
    after: Option<&str>,
    at_most: usize,
) -> Result<Vec<ModelVersion>> {
    let rows = sqlx::query(select_version!(
        "JOIN aliases d ON d.project = v.project AND d.model = v.model AND d.version = v.version
         WHERE d.alias = ?1 AND v.project = ?2 AND v.model > ?3 ORDER BY v.model LIMIT ?4"
    ))
    .bind(DEFAULT_ALIAS)
    .bind(project)
    .bind(after.unwrap_or_default())
    .bind(limit(at_most))
    .fetch_all(&store.pool)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn list(store: &SqliteStore, project: &str, model: &str) -> Result<Vec<ModelVersion>> {
    let mut transaction = store.read().await?;
    let rows = sqlx::query(select_version!(
        "WHERE v.project = ? AND v.model = ? AND v.state = 'ready' ORDER BY v.version"
    ))
    .bind(project)
    .bind(model)
    .fetch_all(&mut *transaction)
    .await?;
    if rows.is_empty() {
        return Err(unknown_model(&mut transaction, project, model).await?);
    }
    rows.iter().map(read).collect()
}

/// A registered version by its number.
pub(super) async fn by_number(
    connection: &mut SqliteConnection,
    project: &str,
    model: &str,
    version: u32,
) -> Result<Option<ModelVersion>> {
    let row = sqlx::query(select_version!(
        "WHERE v.project = ? AND v.model = ? AND v.version = ? AND v.state = 'ready'"
    ))
    .bind(project)
    .bind(model)
    .bind(version)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

/// A registered version by its alias.
pub(super) async fn by_alias(
    connection: &mut SqliteConnection,
    project: &str,
    model: &str,
    alias: &str,
) -> Result<Option<ModelVersion>> {
    let row = sqlx::query(select_version!(
        "JOIN aliases n ON n.project = v.project AND n.model = v.model AND n.version = v.version
         WHERE v.project = ? AND v.model = ? AND n.alias = ? AND v.state = 'ready'"
    ))
    .bind(project)
    .bind(model)
    .bind(alias)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn aliases_of(connection: &mut SqliteConnection, project: &str, model: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT alias || ' (version ' || version || ')' FROM aliases WHERE project = ? AND model = ?
         ORDER BY alias LIMIT ?",
    )
    .bind(project)
    .bind(model)
    .bind(NAMES_READ)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn unknown_model(
    connection: &mut SqliteConnection,
    project: &str,
    model: &str,
) -> Result<Error> {
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT model FROM versions WHERE project = ? AND state = 'ready' ORDER BY model LIMIT ?",
    )
    .bind(project)
    .bind(NAMES_READ)
    .fetch_all(connection)
    .await?;
    let (model, known) = (model.escape_debug(), names_text("models", &known));
    Ok(Error::NotFound(format!("project \"{project}\" has no model \"{model}\"; {known}")))
}

fn read(row: &SqliteRow) -> Result<ModelVersion> {
    Ok(ModelVersion {
        project: row.try_get("project")?,
        model: row.try_get("model")?,
        version: row.try_get("version")?,
        aliases: document::from_text(row.try_get("aliases_json")?)?,
        about: ModelTexts {
            display_name: row.try_get("model_display_name")?,
            description: row.try_get("model_description")?,
            labels: document::from_text(row.try_get("model_labels_json")?)?,
        },
        model_created_at: time(row, "model_created_at")?,
        model_updated_at: time(row, "model_updated_at")?,
        description: row.try_get("description")?,
        artifact_uri: row.try_get("artifact_uri")?,
        bundle_digest: row.try_get("bundle_digest")?,
        signature: document::from_text(row.try_get("signature_json")?)?,
        summary: document::from_text(row.try_get("summary_json")?)?,
        labels: document::from_text(row.try_get("labels_json")?)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}
