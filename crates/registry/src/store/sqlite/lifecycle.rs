//! What happens to versions, models and endpoints after they were made: new names, new texts, their end.
//!
//! A version that is withdrawn is one whose upload was never finished: nobody sees it, and its files may go.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{SqliteStore, endpoint, version};
use crate::model::DEFAULT_ALIAS;
use crate::{AliasChange, Error, ModelUpdate, ModelVersion, Result, VersionUpdate, document, id};

type Path<'a> = (&'a str, &'a str, u32);

pub(super) async fn change_aliases(
    store: &SqliteStore,
    (project, model, number): Path<'_>,
    change: AliasChange,
    now: Timestamp,
) -> Result<ModelVersion> {
    change.check()?;
    let mut transaction = store.write().await?;
    let before = registered(&mut transaction, (project, model, number)).await?;
    if let Some(missing) = change.remove.iter().find(|alias| !before.aliases.contains(alias)) {
        let message = format!("version {number} of model \"{model}\" has no alias \"{missing}\"");
        return Err(Error::NotFound(message));
    }
    for alias in &change.remove {
        sqlx::query("DELETE FROM aliases WHERE project = ? AND model = ? AND alias = ?")
            .bind(project)
            .bind(model)
            .bind(alias)
            .execute(&mut *transaction)
            .await?;
    }
    for alias in &change.add {
        version::set_alias(&mut transaction, (project, model, number), alias).await?;
    }
    touch(&mut transaction, (project, model, number), now).await?;
    let after = registered(&mut transaction, (project, model, number)).await?;
    transaction.commit().await?;
    Ok(after)
}

pub(super) async fn update_model(
    store: &SqliteStore,
    (project, model): (&str, &str),
    update: ModelUpdate,
    now: Timestamp,
) -> Result<ModelVersion> {
    let ModelUpdate { display_name, description, labels, etag } = update;
    display_name.as_deref().map_or(Ok(()), id::check_display_name)?;
    description.as_deref().map_or(Ok(()), id::check_description)?;
    labels.as_ref().map_or(Ok(()), id::check_labels)?;
    let labels = labels.map(|labels| document::to_text("labels", &labels)).transpose()?;
    let mut transaction = store.write().await?;
    let Some(before) = version::by_alias(&mut transaction, project, model, DEFAULT_ALIAS).await? else {
        return Err(version::unknown_model(&mut transaction, project, model).await?);
    };
    before.check_model_etag(etag.as_deref())?;
    sqlx::query(
        "UPDATE models SET display_name = coalesce(?3, display_name), description = coalesce(?4, description),
             labels_json = coalesce(?5, labels_json), updated_at = max(?6, updated_at + 1)
         WHERE project = ?1 AND id = ?2",
    )
    .bind(project)
    .bind(model)
    .bind(display_name)
    .bind(description)
    .bind(labels)
    .bind(now.as_microsecond())
    .execute(&mut *transaction)
    .await?;
    let after = registered(&mut transaction, (project, model, before.version)).await?;
    transaction.commit().await?;
    Ok(after)
}

pub(super) async fn update_version(
    store: &SqliteStore,
    (project, model, number): Path<'_>,
    update: VersionUpdate,
    now: Timestamp,
) -> Result<ModelVersion> {
    let VersionUpdate { description, labels, etag } = update;
    description.as_deref().map_or(Ok(()), id::check_description)?;
    labels.as_ref().map_or(Ok(()), id::check_labels)?;
    let labels = labels.map(|labels| document::to_text("labels", &labels)).transpose()?;
    let mut transaction = store.write().await?;
    registered(&mut transaction, (project, model, number)).await?.check_version_etag(etag.as_deref())?;
    sqlx::query(
        "UPDATE versions SET description = coalesce(?4, description), labels_json = coalesce(?5, labels_json)
         WHERE project = ?1 AND model = ?2 AND version = ?3",
    )
    .bind(project)
    .bind(model)
    .bind(number)
    .bind(description)
    .bind(labels)
    .execute(&mut *transaction)
    .await?;
    touch(&mut transaction, (project, model, number), now).await?;
    let after = registered(&mut transaction, (project, model, number)).await?;
    transaction.commit().await?;
    Ok(after)
}

pub(super) async fn withdraw_version(store: &SqliteStore, (project, model, number): Path<'_>) -> Result<()> {
    let mut transaction = store.write().await?;
    let before = registered(&mut transaction, (project, model, number)).await?;
    if before.aliases.iter().any(|alias| alias == DEFAULT_ALIAS) {
        let message = format!(
            "version {number} of model \"{model}\" is its default; give another version the alias \"default\" first, or \
             delete the whole model"
        );
        return Err(Error::FailedPrecondition(message));
    }
    withdraw(&mut transaction, (project, model, number)).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn withdraw_model(store: &SqliteStore, project: &str, model: &str) -> Result<Vec<u32>> {
    let mut transaction = store.write().await?;
    let numbers: Vec<u32> = sqlx::query_scalar(
        "SELECT version FROM versions WHERE project = ? AND model = ? AND state = 'ready' ORDER BY version",
    )
    .bind(project)
    .bind(model)
    .fetch_all(&mut *transaction)
    .await?;
    if numbers.is_empty() {
        return Err(version::unknown_model(&mut transaction, project, model).await?);
    }
    for number in &numbers {
        withdraw(&mut transaction, (project, model, *number)).await?;
    }
    transaction.commit().await?;
    Ok(numbers)
}

pub(super) async fn delete_endpoint(store: &SqliteStore, project: &str, id: &str) -> Result<()> {
    let mut transaction = store.write().await?;
    let found = endpoint::get(&mut transaction, project, id).await?;
    if !found.deployments.is_empty() {
        let ids: Vec<&str> = found.deployments.iter().map(|deployment| deployment.id.as_str()).collect();
        let message = format!(
            "endpoint \"{id}\" has deployments ({}); undeploy them first, or force it",
            ids.join(", ")
        );
        return Err(Error::FailedPrecondition(message));
    }
    sqlx::query("DELETE FROM endpoints WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Takes a version out of sight.
async fn withdraw(connection: &mut SqliteConnection, (project, model, number): Path<'_>) -> Result<()> {
    let deployed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT endpoint FROM deployments WHERE project = ? AND model = ? AND version = ? ORDER BY endpoint",
    )
    .bind(project)
    .bind(model)
    .bind(number)
    .fetch_all(&mut *connection)
    .await?;
    if !deployed.is_empty() {
        let message = format!(
            "version {number} of model \"{model}\" is deployed on {}; undeploy it first",
            deployed.join(", ")
        );
        return Err(Error::FailedPrecondition(message));
    }
    sqlx::query("DELETE FROM aliases WHERE project = ? AND model = ? AND version = ?")
        .bind(project)
        .bind(model)
        .bind(number)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE versions SET state = 'uploading' WHERE project = ? AND model = ? AND version = ?")
        .bind(project)
        .bind(model)
        .bind(number)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

async fn touch(
    connection: &mut SqliteConnection,
    (project, model, number): Path<'_>,
    now: Timestamp,
) -> Result<()> {
    // A change has a time of its own, however the clock goes: etags tell changes apart by it.
    sqlx::query(
        "UPDATE versions SET updated_at = max(?4, updated_at + 1) WHERE project = ?1 AND model = ?2 AND version = ?3",
    )
    .bind(project)
    .bind(model)
    .bind(number)
    .bind(now.as_microsecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn registered(
    connection: &mut SqliteConnection,
    (project, model, number): Path<'_>,
) -> Result<ModelVersion> {
    let found = version::by_number(connection, project, model, number).await?;
    found.ok_or_else(|| {
        let model = model.escape_debug();
        Error::NotFound(format!("project \"{project}\" has no model \"{model}\" with version {number}"))
    })
}
