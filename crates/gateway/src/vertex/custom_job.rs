//! Custom jobs over the wire: create, get, list, `:cancel`, delete; and, our own, `:resume` and `logs`.
//!
//! A job trains a pipeline file. Its text is in `pipeline`, or, as Google's SDK can send it, in the variable `PIPELINE`
//! of the one worker pool's `containerSpec.env`, with `args: ["train"]`; the image means nothing here, and the
//! result becomes a version of the model, whatever `baseOutputDirectory` says. `from`, or `args: ["train", "--from",
//! "MODEL@VERSION"]`, names a version whose weights the fit starts from; `"kind": "search"`, or `args: ["search"]`, tries the
//! pipeline with other values, as its section `[search]` says. To Vertex AI's CustomJob we add, in `metadata`:
//! `kind`, `attempts`, what was trained on, from what, and what was made.
//!
//! `GET customJobs/J/logs?offset=N&follow=true` answers with the log's text from a byte on and the offset after it. With
//! `follow` an answer without text comes only after some seconds, or when the job has ended.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::jobs::{SubmitJob, Work, started_from};
use platform::{Error, Job, JobState};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::fields::Fields;
use super::listing::{self, Listing};
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::query::Query;
use crate::router::Gateway;

/// Fields of Vertex AI's CustomJob that only it writes.
const MEANINGLESS: &[&str] =
    &["name", "state", "createTime", "startTime", "endTime", "updateTime", "error", "webAccessUris", "etag"];
/// Google's code of a fault that is not the request's.
pub(super) const INTERNAL: u8 = 13;
/// The variable that holds the pipeline file.
const PIPELINE: &str = "PIPELINE";
/// A reader that follows a log is answered after this, so that neither side waits for a dead one.
const FOLLOW: Duration = Duration::from_secs(10);

/// `POST customJobs`
pub(crate) async fn create(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let request = request(&address.parent, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move { Ok(written(&parent, &platform.submit_job(request).await?)) }).await
}

/// `GET customJobs/J`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let job = gateway.platform.get_job(&address.parent.project, &address.id).await?;
    Ok(Json(written(&address.parent, &job)).into_response())
}

/// `GET customJobs`
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let listing = Listing::unfiltered((&address.parent, "customJobs"), query)?;
    let listed = gateway.platform.list_jobs(&address.parent.project, &listing.page()).await?;
    let listed = listing.continued(listed)?;
    let mut jobs: Vec<Value> = listed.items.iter().map(|job| written(&address.parent, job)).collect();
    for job in &mut jobs {
        // A pipeline file may be long, and a page has many.
        job["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["env"] = json!([]);
    }
    Ok(listing::page("customJobs", jobs, listed.next_token))
}

/// `POST customJobs/J:cancel`
pub(crate) async fn cancel(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    gateway.platform.cancel_job(&address.parent.project, &address.id).await?;
    Ok(Json(json!({})).into_response())
}

/// `POST customJobs/J:resume`
pub(crate) async fn resume(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let job = gateway.platform.resume_job(&address.parent.project, &address.id).await?;
    Ok(Json(written(&address.parent, &job)).into_response())
}

/// `DELETE customJobs/J`
pub(crate) async fn delete(gateway: &Gateway, address: Address) -> Result<Response, ApiError> {
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        platform.delete_job(&parent.project, &id).await?;
        let resource = format!("customJobs/{id}");
        let finished = Finished { resource, kind: "Delete", message: operation::EMPTY, response: json!({}) };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

/// `GET customJobs/J/logs`
pub(crate) async fn logs(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let offset = match query.get("offset", "offset") {
        None => 0,
        Some(text) => text.parse::<u64>().map_err(|_| {
            Error::invalid("offset", format!("offset {text:?} is not a number of bytes; start with 0"))
        })?,
    };
    let wait = match query.get("follow", "follow") {
        None | Some("false") => Duration::ZERO,
        Some("true") => FOLLOW,
        Some(other) => {
            return Err(
                Error::invalid("follow", format!("follow {other:?} is neither true nor false")).into()
            );
        }
    };
    let log = gateway.platform.job_log(&address.parent.project, &address.id, offset, wait).await?;
    Ok(Json(json!({
        "text": log.part.text,
        "offset": log.part.offset.to_string(),
        "nextOffset": log.part.next_offset.to_string(),
        "state": state(log.state),
    }))
    .into_response())
}

fn request(parent: &Parent, body: &[u8]) -> Result<SubmitJob, Error> {
    let mut fields = Fields::parse(body)?;
    let display_name = fields.text("displayName")?;
    let labels = fields.take("labels")?.unwrap_or_default();
    let given = fields.text("pipeline")?;
    let work = work(&mut fields)?;
    let spec = fields.object("jobSpec")?;
    fields.refuse("encryptionSpec", "the data directory is encrypted by whoever runs it")?;
    let (pipeline, work) = match (given, spec, work) {
        (Some(_), Some(_), _) => {
            return Err(fields.invalid("pipeline", "give either pipeline or jobSpec, not both"));
        }
        (None, Some(_), Some(_)) => {
            let what = r#"say it in the args of jobSpec: ["train", "--from", "MODEL@VERSION"] or ["search"]"#;
            return Err(fields.invalid("kind", what));
        }
        (Some(pipeline), None, work) => (pipeline, work.unwrap_or(Work::Train { from: None })),
        (None, Some(spec), None) => pipeline_of(spec)?,
        (None, None, _) => return Err(fields.missing("pipeline", "the text of a pipeline file")),
    };
    fields.finish(MEANINGLESS)?;
    Ok(SubmitJob { project: parent.project.clone(), display_name, labels, pipeline, work })
}

/// What the fields of our own say is done, if they say anything.
fn work(fields: &mut Fields) -> Result<Option<Work>, Error> {
    let (kind, from) = (fields.text("kind")?, fields.text("from")?);
    match (kind.as_deref(), from) {
        (None, None) => Ok(None),
        (None | Some("train"), from) => Ok(Some(Work::Train { from })),
        (Some("search"), None) => Ok(Some(Work::Search)),
        (Some("search"), Some(_)) => Err(fields.invalid("from", "a search starts afresh in every trial")),
        (Some(other), _) => Err(fields.invalid("kind", &format!("is {other:?}; it must be train or search"))),
    }
}

/// The pipeline in a job spec as Google's SDK sends it, and what is done with it.
fn pipeline_of(mut spec: Fields) -> Result<(String, Work), Error> {
    let pools = spec.take::<Vec<Map<String, Value>>>("workerPoolSpecs")?.unwrap_or_default();
    for (name, why) in [
        ("network", "a job runs where the server runs"),
        ("tensorboard", "read the job's log"),
        ("enableWebAccess", "a job runs where the server runs"),
        ("persistentResourceId", "a job runs where the server runs"),
    ] {
        spec.refuse(name, why)?;
    }
    let [pool] = pools.as_slice() else {
        let what = format!("must be one pool with a containerSpec, got {}", pools.len());
        return Err(spec.invalid("workerPoolSpecs", &what));
    };
    spec.finish(&["baseOutputDirectory", "scheduling", "serviceAccount", "experiment", "experimentRun"])?;
    let mut pool = Fields::parse(Value::Object(pool.clone()).to_string().as_bytes())?;
    pool.refuse("pythonPackageSpec", "a job trains a pipeline file; give a containerSpec")?;
    let Some(mut container) = pool.object("containerSpec")? else {
        return Err(pool.missing(
            "containerSpec",
            r#"{"args": ["train"], "env": [{"name": "PIPELINE", "value": "..."}]}"#,
        ));
    };
    pool.finish(&["machineSpec", "replicaCount", "diskSpec", "nfsMounts"])?;
    let args: Vec<String> = container.take("args")?.unwrap_or_default();
    let command: Vec<String> = container.take("command")?.unwrap_or_default();
    let words: Vec<&str> = command.iter().chain(&args).map(String::as_str).collect();
    let work = match words.strip_prefix(&["bellwether"]).unwrap_or(&words) {
        [] | ["train"] => Work::Train { from: None },
        ["train", "--from", reference] => Work::Train { from: Some((*reference).to_owned()) },
        ["search"] => Work::Search,
        _ => {
            let what = format!(
                "a job's command is bellwether train [--from MODEL@VERSION] or bellwether search, got {}",
                words.join(" ")
            );
            return Err(container.invalid("args", &what));
        }
    };
    let env: Vec<Map<String, Value>> = container.take("env")?.unwrap_or_default();
    container.finish(&["imageUri"])?;
    let named =
        |variable: &&Map<String, Value>| variable.get("name").and_then(Value::as_str) == Some(PIPELINE);
    let found = env.iter().find(named).and_then(|variable| variable.get("value")?.as_str());
    let found = found.map(|pipeline| (pipeline.to_owned(), work));
    found.ok_or_else(|| {
        let field = "jobSpec.workerPoolSpecs.containerSpec.env";
        Error::invalid(field, format!("{field}: must have {PIPELINE} with the text of a pipeline file"))
    })
}

/// The state as Vertex AI names it.
pub(super) fn state(state: JobState) -> String {
    format!("JOB_STATE_{}", state.word().to_ascii_uppercase())
}

fn written(parent: &Parent, job: &Job) -> Value {
    let mut metadata = json!({"kind": job.kind, "attempts": job.attempts});
    for key in ["dataset", "snapshot", "table"] {
        if let Some(value) = job.inputs.get(key) {
            metadata[key] = value.clone();
        }
    }
    let from = started_from(job);
    let args: Vec<&str> = match &from {
        Some(from) => vec![job.kind.as_str(), "--from", from],
        None => vec![job.kind.as_str()],
    };
    if let Some(from) = &from {
        metadata["from"] = json!(from);
    }
    if let Some(made) = &job.made {
        metadata["model"] = json!(parent.name_of("models/", &made.model));
        metadata["modelVersionId"] = json!(made.version.to_string());
    }
    let pipeline = job.spec.get("pipeline").and_then(Value::as_str).unwrap_or_default();
    let mut written = json!({
        "name": parent.name_of("customJobs/", &job.id),
        "displayName": job.display_name,
        "jobSpec": {"workerPoolSpecs": [{
            "replicaCount": "1",
            "containerSpec": {
                "imageUri": "bellwether",
                "command": ["bellwether"],
                "args": args,
                "env": [{"name": PIPELINE, "value": pipeline}],
            },
        }]},
        "state": state(job.state),
        "createTime": time(job.created_at),
        "updateTime": time(job.updated_at),
        "labels": job.labels,
        "metadata": metadata,
    });
    for (name, at) in [("startTime", job.started_at), ("endTime", job.ended_at)] {
        if let Some(at) = at {
            written[name] = json!(time(at));
        }
    }
    if !job.error.is_empty() {
        written["error"] = json!({"code": INTERNAL, "message": job.error});
    }
    written
}

#[cfg(test)]
mod tests {
    use platform::Kind;

    use super::*;

    fn parsed(body: &Value) -> Result<SubmitJob, Error> {
        let parent = Parent { project: "p".to_owned(), location: "l".to_owned() };
        request(&parent, body.to_string().as_bytes())
    }

    fn as_the_sdk_sends_it() -> Value {
        json!({
            "displayName": "D",
            "labels": {"k": "v"},
            "jobSpec": {
                "workerPoolSpecs": [{
                    "machineSpec": {"machineType": "n1-standard-4"},
                    "replicaCount": "1",
                    "containerSpec": {
                        "imageUri": "bellwether",
                        "args": ["train"],
                        "env": [{"name": "OTHER", "value": "1"}, {"name": "PIPELINE", "value": "version = 1"}],
                    },
                }],
                "baseOutputDirectory": {"outputUriPrefix": "gs://b/x"},
            },
        })
    }

    #[test]
    fn a_pipeline_comes_in_either_form() {
        for body in [
            json!({"displayName": "D", "labels": {"k": "v"}, "pipeline": "version = 1"}),
            as_the_sdk_sends_it(),
        ] {
            let request = parsed(&body).unwrap();
            assert_eq!((request.display_name.as_deref(), request.labels["k"].as_str()), (Some("D"), "v"));
            assert_eq!((request.project.as_str(), request.pipeline.as_str()), ("p", "version = 1"));
        }
    }

    #[test]
    fn a_version_to_start_from_comes_in_either_form() {
        let mut spec = as_the_sdk_sends_it();
        assert_eq!(parsed(&spec).unwrap().work, Work::Train { from: None });
        spec["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"] = json!(["train", "--from", "tiny@2"]);
        for body in [spec.clone(), json!({"pipeline": "version = 1", "from": "tiny@2"})] {
            let from = Some("tiny@2".to_owned());
            assert_eq!(parsed(&body).unwrap().work, Work::Train { from });
        }
        spec["from"] = json!("tiny@2");
        let error = parsed(&spec).unwrap_err();
        assert_eq!(error.violations().first().map(|v| v.field.as_str()), Some("kind"), "{error}");
    }

    #[test]
    fn a_search_comes_in_either_form() {
        let mut spec = as_the_sdk_sends_it();
        spec["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"] = json!(["search"]);
        for body in [spec, json!({"pipeline": "version = 1", "kind": "search"})] {
            assert_eq!(parsed(&body).unwrap().work, Work::Search);
        }
        for (body, field) in [
            (json!({"pipeline": "version = 1", "kind": "search", "from": "tiny"}), "from"),
            (json!({"pipeline": "version = 1", "kind": "serve"}), "kind"),
        ] {
            let error = parsed(&body).unwrap_err();
            assert_eq!(error.violations().first().map(|v| v.field.as_str()), Some(field), "{error}");
        }
    }

    #[test]
    fn a_wrong_job_names_the_field() {
        let mut both = as_the_sdk_sends_it();
        both["pipeline"] = json!("version = 1");
        let pool = |change: &dyn Fn(&mut Value)| {
            let mut body = as_the_sdk_sends_it();
            change(&mut body["jobSpec"]["workerPoolSpecs"][0]);
            body
        };
        let cases = [
            (json!({}), "pipeline"),
            (both, "pipeline"),
            (json!({"pipeline": "x", "pipelin": 1}), "pipelin"),
            (json!({"jobSpec": {}}), "jobSpec.workerPoolSpecs"),
            (pool(&|pool| pool["containerSpec"]["args"] = json!(["serve"])), "containerSpec.args"),
            (
                pool(&|pool| pool["containerSpec"]["env"] = json!([])),
                "jobSpec.workerPoolSpecs.containerSpec.env",
            ),
            (pool(&|pool| pool["containerSpec"] = Value::Null), "containerSpec"),
        ];
        for (body, field) in cases {
            let error = parsed(&body).unwrap_err();
            assert_eq!(error.violations().first().map(|v| v.field.as_str()), Some(field), "{error}");
        }
        let python = pool(&|pool| pool["pythonPackageSpec"] = json!({"pythonModule": "m"}));
        assert_eq!(parsed(&python).unwrap_err().kind(), Kind::Unimplemented);
    }
}
