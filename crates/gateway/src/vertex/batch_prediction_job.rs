//! Batch predictions over the wire: create, get, list, `:cancel`, delete.
//!
//! Instances are files of the staging area (`gs://`, by Cloud Storage's API) or of an allowed root, as `jsonl` or `csv`; the
//! answers are staged below `outputUriPrefix` as Vertex AI writes them. An instance is what `:predict` takes, or an object of the
//! model's columns; `modelParameters` may have `as_of`. We add `metadata` with `kind`, `attempts` and the version that answered. Machines, batch sizes and service accounts mean nothing here.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::jobs::{BatchJob, SubmitBatch, batch_job};
use platform::{Error, Job, JobState, Platform, RowFormat};
use serde_json::{Value, json};

use super::custom_job::{INTERNAL, state};
use super::error::ApiError;
use super::fields::Fields;
use super::listing::{self, Listing};
use super::model_reference;
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::query::Query;
use crate::router::Gateway;

/// Fields that only the server writes, or that say where and how fast something is computed.
const MEANINGLESS: &[&str] = &[
    "name",
    "state",
    "createTime",
    "startTime",
    "endTime",
    "updateTime",
    "error",
    "partialFailures",
    "completionStats",
    "outputInfo",
    "resourcesConsumed",
    "modelVersionId",
    "dedicatedResources",
    "manualBatchTuningParameters",
    "serviceAccount",
    "disableContainerLogging",
    "satisfiesPzs",
    "satisfiesPzi",
];
/// Google's code of a wrong argument.
const INVALID_ARGUMENT: u8 = 3;
const LOCAL: &str = "leave it out: instances and answers are files";

/// `POST batchPredictionJobs`
pub(crate) async fn create(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let request = request(&address.parent, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move {
        let job = platform.submit_batch(request).await?;
        Ok(written(&platform, &parent, &job)?)
    })
    .await
}

/// `GET batchPredictionJobs/J`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let job = gateway.platform.get_job(&address.parent.project, &address.id).await?;
    Ok(Json(written(&gateway.platform, &address.parent, &job)?).into_response())
}

/// `GET batchPredictionJobs`
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let listing = Listing::unfiltered((&address.parent, "batchPredictionJobs"), query)?;
    let listed = gateway.platform.list_batch_jobs(&address.parent.project, &listing.page()).await?;
    let listed = listing.continued(listed)?;
    let jobs = listed.items.iter().map(|job| written(&gateway.platform, &address.parent, job));
    Ok(listing::page("batchPredictionJobs", jobs.collect::<Result<_, _>>()?, listed.next_token))
}

/// `POST batchPredictionJobs/J:cancel`
pub(crate) async fn cancel(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let (platform, project) = (&gateway.platform, &address.parent.project);
    batch_job(platform, &platform.get_job(project, &address.id).await?)?;
    platform.cancel_job(project, &address.id).await?;
    Ok(Json(json!({})).into_response())
}

/// `DELETE batchPredictionJobs/J`; the answers stay.
pub(crate) async fn delete(gateway: &Gateway, address: Address) -> Result<Response, ApiError> {
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        batch_job(&platform, &platform.get_job(&parent.project, &id).await?)?;
        platform.delete_job(&parent.project, &id).await?;
        let resource = format!("batchPredictionJobs/{id}");
        let finished = Finished { resource, kind: "Delete", message: operation::EMPTY, response: json!({}) };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

fn request(parent: &Parent, body: &[u8]) -> Result<SubmitBatch, Error> {
    let mut fields = Fields::parse(body)?;
    let display_name = fields.text("displayName")?;
    let labels = fields.take("labels")?.unwrap_or_default();
    let model =
        fields.text("model")?.ok_or_else(|| fields.missing("model", "projects/P/locations/L/models/M"))?;
    let model = model_reference(parent, "model", &model)?;
    let input = fields.object("inputConfig")?;
    let input = input.ok_or_else(|| {
        fields.missing("inputConfig", r#"{"instancesFormat": "jsonl", "gcsSource": {...}}"#)
    })?;
    let (format, sources) = input_of(input)?;
    let output = fields.object("outputConfig")?;
    let output = output.ok_or_else(|| {
        fields.missing("outputConfig", r#"{"predictionsFormat": "jsonl", "gcsDestination": {...}}"#)
    })?;
    let destination = output_of(output)?;
    let as_of = match fields.object("modelParameters")? {
        None => None,
        Some(mut parameters) => {
            let as_of = parameters.take("as_of")?.or(parameters.take("asOf")?);
            parameters.finish(&[])?;
            as_of
        }
    };
    fields.refuse("instanceConfig", "whole instances are asked and repeated in the answers")?;
    fields.refuse("generateExplanation", "ask without an explanation")?;
    fields.refuse("explanationSpec", "ask without an explanation")?;
    fields.refuse("encryptionSpec", "the data directory is encrypted by whoever runs it")?;
    fields.refuse("unmanagedContainerModel", "upload the model first")?;
    fields.refuse("modelMonitoringConfig", "predictions are not monitored in a batch")?;
    fields.finish(MEANINGLESS)?;
    Ok(SubmitBatch {
        project: parent.project.clone(),
        display_name,
        labels,
        model,
        sources,
        format,
        destination,
        as_of,
    })
}

fn input_of(mut input: Fields) -> Result<(RowFormat, Vec<String>), Error> {
    let format = input.text("instancesFormat")?;
    let format = match format.as_deref() {
        Some("jsonl") => RowFormat::Jsonl,
        Some("csv") => RowFormat::Csv,
        None => return Err(input.missing("instancesFormat", "jsonl")),
        Some(other) => {
            let what = format!(
                "is {other:?}; instances are read as jsonl and csv (not bigquery, tf-record, tf-record-gzip, file-list)"
            );
            return Err(input.invalid("instancesFormat", &what));
        }
    };
    input.refuse("bigquerySource", LOCAL)?;
    input.refuse("vertexMultimodalDatasetSource", LOCAL)?;
    let Some(mut source) = input.object("gcsSource")? else {
        return Err(input.missing("gcsSource", r#"{"uris": ["gs://bucket/instances.jsonl"]}"#));
    };
    input.finish(&[])?;
    let uris = source.take::<Vec<String>>("uris")?.unwrap_or_default();
    source.finish(&[])?;
    Ok((format, uris))
}

fn output_of(mut output: Fields) -> Result<String, Error> {
    match output.text("predictionsFormat")?.as_deref() {
        None | Some("jsonl") => {}
        Some(other) => {
            let what = format!("is {other:?}; predictions are written as jsonl");
            return Err(output.invalid("predictionsFormat", &what));
        }
    }
    output.refuse("bigqueryDestination", LOCAL)?;
    let Some(mut destination) = output.object("gcsDestination")? else {
        return Err(output.missing("gcsDestination", r#"{"outputUriPrefix": "gs://bucket/answers"}"#));
    };
    output.finish(&[])?;
    let prefix = destination.text("outputUriPrefix")?;
    let prefix = prefix.ok_or_else(|| destination.missing("outputUriPrefix", "gs://bucket/answers"))?;
    destination.finish(&[])?;
    Ok(prefix)
}

fn written(platform: &Platform, parent: &Parent, job: &Job) -> Result<Value, Error> {
    let BatchJob { model, sources, format, destination, directory, as_of, report } =
        batch_job(platform, job)?;
    let (id, version) = model.split_once('@').unwrap_or((&model, ""));
    let mut written = json!({
        "name": parent.name_of("batchPredictionJobs/", &job.id),
        "displayName": job.display_name,
        "model": parent.name(&format!("models/{id}@{version}")),
        "modelVersionId": version,
        "inputConfig": {"instancesFormat": format.name(), "gcsSource": {"uris": sources}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": destination}},
        "state": state(job.state),
        "createTime": time(job.created_at),
        "updateTime": time(job.updated_at),
        "labels": job.labels,
        "metadata": {"kind": job.kind, "attempts": job.attempts},
    });
    if let Some(made) = &job.made {
        written["metadata"]["model"] = json!(parent.name_of("models/", &made.model));
        written["metadata"]["modelVersionId"] = json!(made.version.to_string());
    }
    if let Some(as_of) = as_of {
        written["modelParameters"] = json!({"as_of": as_of});
    }
    for (name, at) in [("startTime", job.started_at), ("endTime", job.ended_at)] {
        if let Some(at) = at {
            written[name] = json!(time(at));
        }
    }
    if !job.error.is_empty() {
        written["error"] = json!({"code": INTERNAL, "message": job.error});
    }
    if let Some(report) = report.filter(|_| job.state == JobState::Succeeded) {
        written["outputInfo"] = json!({"gcsOutputDirectory": directory});
        // 64-bit numbers are texts in the JSON of protocol buffers.
        written["completionStats"] = json!({
            "successfulCount": (report.rows - report.errors).to_string(),
            "failedCount": report.errors.to_string(),
            "incompleteCount": "0",
        });
        if report.errors > 0 {
            let message = format!(
                "{} of {} instances have no answer; {directory}/prediction.errors_stats-00000-of-00001 says why",
                report.errors, report.rows
            );
            written["partialFailures"] = json!([{"code": INVALID_ARGUMENT, "message": message}]);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use platform::Kind;

    use super::*;

    fn parsed(body: &Value) -> Result<SubmitBatch, Error> {
        let parent = Parent { project: "p".to_owned(), location: "l".to_owned() };
        request(&parent, body.to_string().as_bytes())
    }

    fn as_the_sdk_sends_it() -> Value {
        json!({
            "displayName": "D",
            "model": "projects/p/locations/l/models/m@2",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://b/rows.jsonl"]}},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://b/out"}},
            "dedicatedResources": {"machineSpec": {"machineType": "n1-standard-2"}, "startingReplicaCount": 1},
            "manualBatchTuningParameters": {"batchSize": 64},
            "generateExplanation": false,
            "labels": {"k": "v"},
            "modelParameters": {"as_of": "2022-12-28"},
        })
    }

    #[test]
    fn a_job_of_the_sdk_is_understood() {
        let request = parsed(&as_the_sdk_sends_it()).unwrap();
        assert_eq!((request.model.as_str(), request.format), ("m@2", RowFormat::Jsonl));
        assert_eq!(request.sources, ["gs://b/rows.jsonl"]);
        assert_eq!(
            (request.destination.as_str(), request.as_of),
            ("gs://b/out", Some(jiff::civil::date(2022, 12, 28)))
        );
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let change = |pointer: &str, value: Value| {
            let mut body = as_the_sdk_sends_it();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[field] = value;
            parsed(&body).unwrap_err()
        };
        for (pointer, value, kind, said) in [
            ("/inputConfig/instancesFormat", json!("bigquery"), Kind::InvalidArgument, "jsonl and csv"),
            ("/inputConfig/gcsSource", json!(null), Kind::InvalidArgument, "gs://bucket/instances.jsonl"),
            ("/inputConfig/bigquerySource", json!({"inputUri": "bq://x"}), Kind::Unimplemented, "files"),
            ("/outputConfig/predictionsFormat", json!("bigquery"), Kind::InvalidArgument, "written as jsonl"),
            ("/outputConfig/gcsDestination", json!({}), Kind::InvalidArgument, "outputUriPrefix"),
            ("/generateExplanation", json!(true), Kind::Unimplemented, "generateExplanation"),
            ("/instanceConfig", json!({"keyField": "id"}), Kind::Unimplemented, "instanceConfig"),
            ("/model", json!(""), Kind::InvalidArgument, "model"),
            ("/model", json!("projects/q/locations/l/models/m"), Kind::InvalidArgument, "of project \"q\""),
            ("/frob", json!(1), Kind::InvalidArgument, "unknown field"),
            ("/modelParameters", json!({"as_off": "2022-12-28"}), Kind::InvalidArgument, "as_of"),
        ] {
            let error = change(pointer, value);
            assert_eq!(error.kind(), kind, "{pointer}: {error}");
            assert!(error.to_string().contains(said), "{pointer}: {error}");
        }
    }
}
