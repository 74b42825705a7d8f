//! Data sets over the wire: create, get, list, `:import`.
//!
//! Vertex AI's CreateDataset and ImportData name files by URI; to that we add the content itself as the body, as CSV,
//! Parquet or Arrow, recognised by its bytes, with `?datasetId=NAME` when it is created. How a file is read is said in
//! `metadata.importSettings` of a JSON body (the keys of `[data.import]` in a pipeline file), or in the query:
//! `fileName`, `column` (`HEADER=MEANING`, may be repeated), `field`, `dateFormat`, `timeZone`, `decimal`, `adjustment`,
//! `knownAt`, `acceptJumps=all`, and `table` (`actions`, `points`, `calendar`, `groups:NAME`, `members:NAME`) for a body
//! that is no table of bars. What a data set knew when is kept: an import appends.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::DateTime;
use platform::{
    AcceptJumps, Error, ImportDataset, ImportMode, ImportSettings, ImportedDataset, Platform, Snapshot,
    SourceFile, TableFile, TableKind,
};
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Fields;
use super::listing::{self, Listing};
use super::operation::{self, Finished};
use super::path::{Address, Parent};
use super::query::Query;
use crate::router::Gateway;

/// Fields of Vertex AI's Dataset that only it writes, or that mean nothing here.
const MEANINGLESS: &[&str] =
    &["name", "description", "createTime", "updateTime", "etag", "labels", "metadataSchemaUri"];

/// `POST datasets[?datasetId=NAME]`
pub(crate) async fn create(
    gateway: &Gateway,
    address: Address,
    query: &Query,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = if is_json(headers) {
        from_uris(&gateway.platform, query, &body)?
    } else {
        let Some(name) = query.get("datasetId", "dataset_id") else {
            let message = "name the data set with ?datasetId=NAME when its content is the body";
            return Err(Error::invalid("datasetId", message).into());
        };
        from_body(name, query, body)?
    };
    let request = ImportDataset { mode: ImportMode::Create, ..request };
    answer(gateway, address.parent, request, "CreateDataset", "Dataset").await
}

/// `POST datasets/D:import`
pub(crate) async fn import(
    gateway: &Gateway,
    address: Address,
    query: &Query,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = if is_json(headers) {
        append_uris(&gateway.platform, &address.id, &body)?
    } else {
        from_body(&address.id, query, body)?
    };
    let request = ImportDataset { mode: ImportMode::Append, ..request };
    answer(gateway, address.parent, request, "ImportData", "ImportDataResponse").await
}

async fn answer(
    gateway: &Gateway,
    parent: Parent,
    request: ImportDataset,
    kind: &'static str,
    message: &'static str,
) -> Result<Response, ApiError> {
    let platform = Arc::clone(&gateway.platform);
    operation::reply(async move {
        let ImportedDataset { snapshot, created, report } = platform.import_dataset(request).await?;
        let mut response = written(&platform, &parent, &snapshot);
        response["metadata"]["created"] = json!(created);
        response["metadata"]["appended"] = json!(report);
        let finished = Finished { resource: format!("datasets/{}", snapshot.name), kind, message, response };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

/// `GET datasets/D`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let snapshot = gateway.platform.show_dataset(&address.id, None).await?;
    let mut dataset = written(&gateway.platform, &address.parent, &snapshot);
    dataset["metadata"]["quality"] = json!(snapshot.quality);
    Ok(Json(dataset).into_response())
}

/// `GET datasets`
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let listing = Listing::unfiltered((&address.parent, "datasets"), query)?;
    let listed = listing.continued(gateway.platform.page_of_datasets(&listing.page()).await?)?;
    let datasets =
        listed.items.iter().map(|snapshot| written(&gateway.platform, &address.parent, snapshot)).collect();
    Ok(listing::page("datasets", datasets, listed.next_token))
}

fn written(platform: &Platform, parent: &Parent, snapshot: &Snapshot) -> Value {
    let quality = &snapshot.quality;
    json!({
        "name": parent.name_of("datasets/", &snapshot.name),
        "displayName": snapshot.name,
        "etag": snapshot.digest.chars().take(16).collect::<String>(),
        "dataItemCount": quality.rows.to_string(),
        "metadata": {
            "snapshot": snapshot.number,
            "digest": snapshot.digest,
            "firstDate": quality.first_date,
            "lastDate": quality.last_date,
            "ageDays": platform.age_days(snapshot),
            "newestKnown": snapshot.newest_known,
            "rows": quality.rows,
            "instruments": quality.instruments,
            "fields": snapshot.fields,
            "universes": snapshot.universes,
            "adjustment": snapshot.adjustment,
            "timing": snapshot.timing,
            "notes": snapshot.notes,
            "source": snapshot.source,
        },
    })
}

/// Whether the body is a message rather than content.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// `{"displayName": "us-stocks", "metadata": {"inputConfig": {"gcsSource": {"uri": [...]}}, "importSettings": {...}}}`
fn from_uris(platform: &Platform, query: &Query, body: &[u8]) -> Result<ImportDataset, Error> {
    let mut fields = Fields::parse(body)?;
    let display_name = fields.text("displayName")?;
    let Some(name) = query.get("datasetId", "dataset_id").map(str::to_owned).or(display_name) else {
        return Err(fields.missing("displayName", "{\"displayName\": \"us-stocks\"}"));
    };
    let Some(mut metadata) = fields.object("metadata")? else {
        return Err(
            fields.missing("metadata", r#"{"inputConfig": {"gcsSource": {"uri": ["file:///data/us/"]}}}"#)
        );
    };
    fields.refuse("encryptionSpec", "the data directory is encrypted by whoever runs it")?;
    let config = metadata.object("inputConfig")?;
    let settings = settings(&mut metadata)?;
    let uris = match config {
        Some(mut config) => uris(&mut config)?,
        None => {
            return Err(metadata.missing("inputConfig", r#"{"gcsSource": {"uri": ["file:///data/us/"]}}"#));
        }
    };
    metadata.finish(&[])?;
    fields.finish(MEANINGLESS)?;
    let files = platform.find_allowed_files(&uris)?;
    Ok(ImportDataset { settings, ..ImportDataset::new(name, files) })
}

/// `{"importConfigs": [{"gcsSource": {"uris": [...]}}]}`
fn append_uris(platform: &Platform, name: &str, body: &[u8]) -> Result<ImportDataset, Error> {
    let mut fields = Fields::parse(body)?;
    let Some(configs) = fields.take::<Vec<serde_json::Map<String, Value>>>("importConfigs")? else {
        return Err(fields.missing("importConfigs", r#"[{"gcsSource": {"uris": ["file:///data/us/"]}}]"#));
    };
    let settings = settings(&mut fields)?;
    fields.finish(&[])?;
    let mut named = Vec::new();
    for config in configs {
        let mut config = Fields::parse(Value::Object(config).to_string().as_bytes())?;
        named.extend(uris(&mut config)?);
        config.finish(&["importSchemaUri", "dataItemLabels", "annotationLabels"])?;
    }
    let files = platform.find_allowed_files(&named)?;
    Ok(ImportDataset { settings, ..ImportDataset::new(name, files) })
}

fn uris(config: &mut Fields) -> Result<Vec<String>, Error> {
    let example = r#"{"uris": ["file:///data/us/"]}"#;
    let Some(mut source) = config.object("gcsSource")? else {
        return Err(config.missing("gcsSource", example));
    };
    let one_or_many = |value: Value| match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.into_iter().map(|uri| uri.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let given = match source.take::<Value>("uris")? {
        Some(given) => Some(given),
        None => source.take::<Value>("uri")?,
    };
    match given.and_then(one_or_many) {
        Some(uris) if !uris.is_empty() => Ok(uris),
        _ => Err(source.missing("uris", example)),
    }
}

/// Tables are files of the server, which a client may not name here.
fn settings(fields: &mut Fields) -> Result<ImportSettings, Error> {
    let settings: ImportSettings = fields.take("importSettings")?.unwrap_or_default();
    let names_files = settings.actions.is_some()
        || settings.points.is_some()
        || settings.calendar.is_some()
        || !settings.groups.is_empty()
        || !settings.members.is_empty();
    if names_files {
        let why = "send a table as the body of :import, with ?table=actions, points, calendar, groups:NAME or members:NAME";
        return Err(fields.invalid("importSettings", why));
    }
    Ok(settings)
}

fn from_body(name: &str, query: &Query, body: Bytes) -> Result<ImportDataset, Error> {
    if body.is_empty() {
        return Err(Error::invalid("body", "the request body is empty; send CSV, Parquet or Arrow"));
    }
    let file_name = query.get("fileName", "file_name").unwrap_or("body").to_owned();
    let file = SourceFile::in_memory(file_name, body);
    let (files, tables) = match query.get("table", "table") {
        None => (vec![file], Vec::new()),
        Some(table) => (Vec::new(), vec![TableFile { kind: table_kind(table)?, file }]),
    };
    let known_at = query
        .get("knownAt", "known_at")
        .map(|text| {
            let message = format!("knownAt \"{text}\" is not a time like 2024-01-31T18:00");
            text.parse::<DateTime>().map_err(|_| Error::invalid("knownAt", message))
        })
        .transpose()?;
    let accept_jumps = match query.get("acceptJumps", "accept_jumps") {
        None => AcceptJumps::None,
        Some("all") => AcceptJumps::All,
        Some(other) => {
            let message = format!("acceptJumps \"{other}\" is not known; say all");
            return Err(Error::invalid("acceptJumps", message));
        }
    };
    let settings = query_settings(query)?;
    Ok(ImportDataset { tables, settings, known_at, accept_jumps, ..ImportDataset::new(name, files) })
}

fn table_kind(text: &str) -> Result<TableKind, Error> {
    Ok(match text.split_once(':') {
        None if text == "actions" => TableKind::Actions,
        None if text == "points" => TableKind::Points,
        None if text == "calendar" => TableKind::Calendar,
        Some(("groups", name)) => TableKind::Groups(name.to_owned()),
        Some(("members", name)) => TableKind::Members(name.to_owned()),
        _ => {
            let message = format!(
                "table \"{text}\" is not known; say actions, points, calendar, groups:NAME or members:NAME"
            );
            return Err(Error::invalid("table", message));
        }
    })
}

fn query_settings(query: &Query) -> Result<ImportSettings, Error> {
    let mut columns = serde_json::Map::new();
    for pair in query.all("column") {
        let (header, meaning) = pair
            .split_once('=')
            .ok_or_else(|| Error::invalid("column", format!("column \"{pair}\" is not HEADER=MEANING")))?;
        columns.insert(header.to_owned(), json!(meaning));
    }
    let mut settings = json!({"columns": columns});
    for (camel, snake) in [
        ("field", "field"),
        ("dateFormat", "date_format"),
        ("timeZone", "time_zone"),
        ("decimal", "decimal"),
        ("adjustment", "adjustment"),
        ("stamp", "stamp"),
    ] {
        if let Some(value) = query.get(camel, snake) {
            settings[snake] = json!(value);
        }
    }
    serde_json::from_value(settings).map_err(|error| Error::invalid("query", error.to_string()))
}
