//! Endpoints and deployments in SQLite.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, limit, project, time, version};
use crate::error::{NAMES_READ, names_text};
use crate::{
    Deployment, Endpoint, EndpointUpdate, Error, FailedAttempt, NewEndpoint, Residence, Result, TrafficSplit,
    check_deploy, check_redeploy, check_undeploy, check_update, document, verb,
};

/// Verbs of changes that bring in a deployment; others only move traffic.
const LOADING: [&str; 2] = [verb::DEPLOY, verb::REDEPLOY];

pub(super) async fn create(store: &SqliteStore, new: NewEndpoint, now: Timestamp) -> Result<Endpoint> {
    new.check()?;
    let labels = document::to_text("labels", &new.labels)?;
    let mut transaction = store.write().await?;
    project::ensure(&mut transaction, &new.project, now).await?;
    let inserted = sqlx::query(
        "INSERT INTO endpoints (project, id, display_name, description, traffic_split_json, labels_json, created_at, updated_at)
         VALUES (?, ?, ?, ?, '{}', ?, ?6, ?6) ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&new.project)
    .bind(&new.id)
    .bind(&new.display_name)
    .bind(&new.description)
    .bind(labels)
    .bind(now.as_microsecond())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(inserted) = inserted else {
        return Err(Error::AlreadyExists(format!(
            "project \"{}\" already has an endpoint \"{}\"; use it, or choose another id",
            new.project, new.id
        )));
    };
    transaction.commit().await?;
    read(&inserted)
}

pub(super) async fn get(connection: &mut SqliteConnection, project: &str, id: &str) -> Result<Endpoint> {
    let row = sqlx::query("SELECT * FROM endpoints WHERE project = ? AND id = ?")
        .bind(project)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Err(unknown(connection, project, id).await?) };
    let mut endpoint = read(&row)?;
    let rows =
        sqlx::query("SELECT * FROM deployments WHERE project = ? AND endpoint = ? ORDER BY length(id), id")
            .bind(project)
            .bind(id)
            .fetch_all(connection)
            .await?;
    endpoint.deployments = rows.iter().map(read_deployment).collect::<Result<_>>()?;
    Ok(endpoint)
}

pub(super) async fn list(
    store: &SqliteStore,
    project: &str,
    after: Option<&str>,
    at_most: usize,
) -> Result<Vec<Endpoint>> {
    let mut transaction = store.read().await?;
    let rows = sqlx::query("SELECT * FROM endpoints WHERE project = ? AND id > ? ORDER BY id LIMIT ?")
        .bind(project)
        .bind(after.unwrap_or_default())
        .bind(limit(at_most))
        .fetch_all(&mut *transaction)
        .await?;
    let mut endpoints = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let (Some(first), Some(last)) = (endpoints.first(), endpoints.last()) else { return Ok(endpoints) };
    let rows = sqlx::query(
        "SELECT * FROM deployments WHERE project = ? AND endpoint BETWEEN ? AND ? ORDER BY length(id), id",
    )
    .bind(project)
    .bind(&first.id)
    .bind(&last.id)
    .fetch_all(&mut *transaction)
    .await?;
    attach(&mut endpoints, &rows)?;
    Ok(endpoints)
}

pub(super) async fn list_all(store: &SqliteStore) -> Result<Vec<Endpoint>> {
    let mut transaction = store.read().await?;
    let rows =
        sqlx::query("SELECT * FROM endpoints ORDER BY project, id").fetch_all(&mut *transaction).await?;
    let mut endpoints = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let rows =
        sqlx::query("SELECT * FROM deployments ORDER BY length(id), id").fetch_all(&mut *transaction).await?;
    attach(&mut endpoints, &rows)?;
    Ok(endpoints)
}

pub(super) async fn update(
    store: &SqliteStore,
    (project, id): (&str, &str),
    update: EndpointUpdate,
    now: Timestamp,
) -> Result<Endpoint> {
    let mut transaction = store.write().await?;
    let mut endpoint = get(&mut transaction, project, id).await?;
    endpoint.traffic_split = check_update(&endpoint, &update)?;
    if update.traffic_split.is_some() {
        forget_traffic_attempt(&mut endpoint);
    }
    endpoint.display_name = update.display_name.unwrap_or(endpoint.display_name);
    endpoint.description = update.description.unwrap_or(endpoint.description);
    endpoint.labels = update.labels.unwrap_or(endpoint.labels);
    write(&mut transaction, &endpoint, now).await?;
    let endpoint = get(&mut transaction, project, id).await?;
    transaction.commit().await?;
    Ok(endpoint)
}

pub(super) async fn deploy(
    store: &SqliteStore,
    (project, id): (&str, &str),
    (deployment, split): (&Deployment, Option<TrafficSplit>),
    now: Timestamp,
) -> Result<Endpoint> {
    let mut transaction = store.write().await?;
    let mut endpoint = get(&mut transaction, project, id).await?;
    endpoint.traffic_split = check_deploy(&endpoint, deployment, split.as_ref())?;
    endpoint.failed_attempt = None;
    if version::by_number(&mut transaction, project, &deployment.model, deployment.version).await?.is_none() {
        return Err(Error::NotFound(format!(
            "project \"{project}\" has no model \"{}\" with version {}; upload it first",
            deployment.model.escape_debug(),
            deployment.version
        )));
    }
    sqlx::query(
        "INSERT INTO deployments (project, endpoint, id, model, version, display_name, cpu_cores, memory_gb,
             machine_type, engine, shadow_percent, on_demand, limits_json, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(project)
    .bind(id)
    .bind(&deployment.id)
    .bind(&deployment.model)
    .bind(deployment.version)
    .bind(&deployment.display_name)
    .bind(deployment.cpu_cores)
    .bind(deployment.memory_gb)
    .bind(&deployment.machine_type)
    .bind(&deployment.engine)
    .bind(deployment.shadow_percent)
    .bind(deployment.residence == Residence::OnDemand)
    .bind(document::to_text("limits", &deployment.limits)?)
    .bind(deployment.created_at.as_microsecond())
    .execute(&mut *transaction)
    .await?;
    write(&mut transaction, &endpoint, now).await?;
    let endpoint = get(&mut transaction, project, id).await?;
    transaction.commit().await?;
    Ok(endpoint)
}

pub(super) async fn redeploy(
    store: &SqliteStore,
    (project, id): (&str, &str),
    changed: &Deployment,
    now: Timestamp,
) -> Result<Endpoint> {
    let mut transaction = store.write().await?;
    let mut endpoint = get(&mut transaction, project, id).await?;
    check_redeploy(&endpoint, changed)?;
    endpoint.failed_attempt = None;
    sqlx::query(
        "UPDATE deployments SET display_name = ?4, cpu_cores = ?5, memory_gb = ?6, machine_type = ?7, engine = ?8,
             shadow_percent = ?9, on_demand = ?10, limits_json = ?11
         WHERE project = ?1 AND endpoint = ?2 AND id = ?3",
    )
    .bind(project)
    .bind(id)
    .bind(&changed.id)
    .bind(&changed.display_name)
    .bind(changed.cpu_cores)
    .bind(changed.memory_gb)
    .bind(&changed.machine_type)
    .bind(&changed.engine)
    .bind(changed.shadow_percent)
    .bind(changed.residence == Residence::OnDemand)
    .bind(document::to_text("limits", &changed.limits)?)
    .execute(&mut *transaction)
    .await?;
    write(&mut transaction, &endpoint, now).await?;
    let endpoint = get(&mut transaction, project, id).await?;
    transaction.commit().await?;
    Ok(endpoint)
}

pub(super) async fn undeploy(
    store: &SqliteStore,
    (project, id): (&str, &str),
    (deployment, split): (&str, Option<TrafficSplit>),
    now: Timestamp,
) -> Result<Endpoint> {
    let mut transaction = store.write().await?;
    let mut endpoint = get(&mut transaction, project, id).await?;
    endpoint.traffic_split = check_undeploy(&endpoint, deployment, split.as_ref())?;
    forget_traffic_attempt(&mut endpoint);
    sqlx::query("DELETE FROM deployments WHERE project = ? AND endpoint = ? AND id = ?")
        .bind(project)
        .bind(id)
        .bind(deployment)
        .execute(&mut *transaction)
        .await?;
    write(&mut transaction, &endpoint, now).await?;
    let endpoint = get(&mut transaction, project, id).await?;
    transaction.commit().await?;
    Ok(endpoint)
}

pub(super) async fn put_failed_attempt(
    store: &SqliteStore,
    (project, id): (&str, &str),
    attempt: &FailedAttempt,
) -> Result<()> {
    attempt.failure.check()?;
    sqlx::query("UPDATE endpoints SET failed_attempt_json = ? WHERE project = ? AND id = ?")
        .bind(document::to_text("failedAttempt", attempt)?)
        .bind(project)
        .bind(id)
        .execute(&store.pool)
        .await?;
    Ok(())
}

/// Traffic that has moved says nothing of a version that could not be loaded.
fn forget_traffic_attempt(endpoint: &mut Endpoint) {
    endpoint.failed_attempt =
        endpoint.failed_attempt.take().filter(|attempt| LOADING.contains(&attempt.kind.as_str()));
}

/// Writes what of an endpoint may change, its deployments excepted.
async fn write(connection: &mut SqliteConnection, endpoint: &Endpoint, now: Timestamp) -> Result<()> {
    let attempt = endpoint.failed_attempt.as_ref();
    let attempt = attempt.map(|attempt| document::to_text("failedAttempt", attempt)).transpose()?;
    sqlx::query(
        // A change has a time of its own, however the clock goes: etags tell changes apart by it.
        "UPDATE endpoints SET display_name = ?3, traffic_split_json = ?4, labels_json = ?5, description = ?6,
             failed_attempt_json = ?8, updated_at = max(?7, updated_at + 1)
         WHERE project = ?1 AND id = ?2",
    )
    .bind(&endpoint.project)
    .bind(&endpoint.id)
    .bind(&endpoint.display_name)
    .bind(document::to_text("trafficSplit", &endpoint.traffic_split)?)
    .bind(document::to_text("labels", &endpoint.labels)?)
    .bind(&endpoint.description)
    .bind(now.as_microsecond())
    .bind(attempt)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts each deployment on its endpoint; `endpoints` are in the order of project and id.
fn attach(endpoints: &mut [Endpoint], rows: &[SqliteRow]) -> Result<()> {
    for row in rows {
        let key: (&str, &str) = (row.try_get("project")?, row.try_get("endpoint")?);
        let found = endpoints.binary_search_by(|endpoint| (&*endpoint.project, &*endpoint.id).cmp(&key));
        if let Ok(index) = found {
            endpoints[index].deployments.push(read_deployment(row)?);
        }
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Endpoint> {
    let attempt: Option<&str> = row.try_get("failed_attempt_json")?;
    Ok(Endpoint {
        project: row.try_get("project")?,
        id: row.try_get("id")?,
        display_name: row.try_get("display_name")?,
        description: row.try_get("description")?,
        deployments: Vec::new(),
        traffic_split: document::from_text(row.try_get("traffic_split_json")?)?,
        labels: document::from_text(row.try_get("labels_json")?)?,
        failed_attempt: attempt.map(document::from_text).transpose()?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn read_deployment(row: &SqliteRow) -> Result<Deployment> {
    Ok(Deployment {
        id: row.try_get("id")?,
        model: row.try_get("model")?,
        version: row.try_get("version")?,
        display_name: row.try_get("display_name")?,
        cpu_cores: row.try_get("cpu_cores")?,
        memory_gb: row.try_get("memory_gb")?,
        machine_type: row.try_get("machine_type")?,
        engine: row.try_get("engine")?,
        shadow_percent: row.try_get("shadow_percent")?,
        residence: if row.try_get("on_demand")? { Residence::OnDemand } else { Residence::Pinned },
        limits: document::from_text(row.try_get("limits_json")?)?,
        created_at: time(row, "created_at")?,
    })
}

async fn unknown(connection: &mut SqliteConnection, project: &str, id: &str) -> Result<Error> {
    let known: Vec<String> =
        sqlx::query_scalar("SELECT id FROM endpoints WHERE project = ? ORDER BY id LIMIT ?")
            .bind(project)
            .bind(NAMES_READ)
            .fetch_all(connection)
            .await?;
    let (id, known) = (id.escape_debug(), names_text("endpoints", &known));
    Ok(Error::NotFound(format!("project \"{project}\" has no endpoint \"{id}\"; {known}")))
}
