//! Batch prediction jobs over the wire, with a launcher that writes the answers it is told to.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use platform::Result;
use platform::jobs::{JobSettings, Launcher, Progress, Stop, Task};
use serde_json::{Value, json};

use crate::fixture::{N, Server};

/// Writes answers, and a report of so many rows without one; or runs until it is stopped.
struct Writer {
    errors: u64,
    endless: bool,
    tasks: Mutex<Vec<Task>>,
    progress: Mutex<Progress>,
}

impl Writer {
    fn new(errors: u64, endless: bool) -> Arc<Self> {
        let progress = Mutex::new(Progress::Gone);
        Arc::new(Self { errors, endless, tasks: Mutex::default(), progress })
    }

    fn flag(task: &Task, name: &str) -> String {
        let at = task.arguments.iter().position(|argument| argument == name).unwrap();
        task.arguments[at + 1].clone()
    }
}

impl Launcher for Writer {
    fn start(&self, task: &Task) -> Result<()> {
        self.tasks.lock().unwrap().push(task.clone());
        *self.progress.lock().unwrap() = Progress::Running;
        if self.endless {
            return Ok(());
        }
        let report = json!({
            "version": 1, "model": "tiny-model", "model_version": 1, "model_digest": "", "rows": 3, "resumed_rows": 0,
            "errors": self.errors, "out": null, "errors_file": null, "ignored_columns": [],
        });
        std::fs::write(Self::flag(task, "--report"), report.to_string()).unwrap();
        let out = Self::flag(task, "--out");
        if self.errors > 0 {
            std::fs::write(format!("{out}.errors.jsonl"), "{\"instance\": 1, \"error\": {}}\n").unwrap();
        }
        std::fs::write(out, "{\"instance\": [1], \"prediction\": [0.5]}\n").unwrap();
        *self.progress.lock().unwrap() = Progress::Ended { success: true, how: String::new() };
        Ok(())
    }

    fn progress(&self, _: &Task) -> Result<Progress> {
        Ok(self.progress.lock().unwrap().clone())
    }

    fn stop(&self, _: &Task, _: Stop) -> Result<()> {
        *self.progress.lock().unwrap() = Progress::Gone;
        Ok(())
    }
}

async fn uploaded() -> Server {
    let server = Server::trained().await;
    server.post_ok("models:upload", &server.upload_body()).await;
    for (name, text) in [("in/a.jsonl", "[1]\n"), ("in/b.jsonl", "[2]\n[3]\n")] {
        let path = format!("/upload/storage/v1/b/rows/o?uploadType=media&name={name}");
        let answer = server.post_bytes(&path, &[], text.as_bytes().to_vec()).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    }
    server
}

fn body(sources: &[&str]) -> Value {
    json!({
        "displayName": "Many rows",
        "model": "projects/default/locations/us-central1/models/tiny-model",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": sources}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://answers/here/"}},
        "labels": {"team": "q"},
    })
}

fn tail(job: &Value) -> String {
    let name = job["name"].as_str().unwrap();
    name.strip_prefix("projects/default/locations/us-central1/").unwrap().to_owned()
}

async fn until(server: &Server, job: &str, state: &str) -> Value {
    for _ in 0..3000 {
        let got = server.get_ok(job).await;
        if got["state"] == state {
            return got;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{job} is not {state}: {}", server.get_ok(job).await);
}

fn run(server: &Server, launcher: &Arc<Writer>) -> platform::jobs::JobRunner {
    let settings = JobSettings { pause: Duration::from_millis(10), ..JobSettings::default() };
    server.platform.run_jobs(Arc::clone(launcher) as Arc<dyn Launcher>, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_prediction_is_queued_run_and_its_answers_staged() {
    let server = uploaded().await;
    let job = server.post_ok("batchPredictionJobs", &body(&["gs://rows/in/*"]).to_string()).await;
    assert_eq!((&job["state"], &job["displayName"]), (&json!("JOB_STATE_QUEUED"), &json!("Many rows")));
    assert!(job["model"].as_str().unwrap().ends_with("/models/tiny-model@1"), "{job}");
    let path = tail(&job);
    assert!(path.starts_with("batchPredictionJobs/"), "{path}");
    assert_eq!(server.get_ok(&path).await, job);

    let launcher = Writer::new(1, false);
    let runner = run(&server, &launcher);
    let done = until(&server, &path, "JOB_STATE_SUCCEEDED").await;
    let stats = json!({"successfulCount": "2", "failedCount": "1", "incompleteCount": "0"});
    assert_eq!(done["completionStats"], stats);
    assert!(done["partialFailures"][0]["message"].as_str().unwrap().starts_with("1 of 3"), "{done}");
    let directory = done["outputInfo"]["gcsOutputDirectory"].as_str().unwrap();
    assert!(
        directory.starts_with("gs://answers/here/prediction-tiny-model-2024-01-02T03:04:05"),
        "{directory}"
    );
    let objects = server.get("/storage/v1/b/answers/o").await.json();
    let names: Vec<&str> =
        objects["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    let inside = directory.strip_prefix("gs://answers/").unwrap();
    let expected = ["prediction.errors_stats-00000-of-00001", "prediction.results-00000-of-00001"]
        .map(|n| format!("{inside}/{n}"));
    assert_eq!(names, expected);

    // The process is given files of this machine and a bundle beside them.
    let task = launcher.tasks.lock().unwrap()[0].clone();
    let inputs = task.arguments.iter().filter(|argument| argument.ends_with(".jsonl")).count();
    assert_eq!(inputs, 3, "two files to read and one to write: {:?}", task.arguments);
    // The bundle may be going, file by file.
    let bundle = Path::new(&Writer::flag(&task, "--bundle")).join("bundle.json");
    let begun = std::time::Instant::now();
    while !bundle.is_file() && task.directory.join("from").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", bundle.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(Writer::flag(&task, "--named"), "tiny-model@1");
    assert_eq!(Writer::flag(&task, "--dataset"), "made-up@1");

    let listed = server.get_ok("batchPredictionJobs").await;
    assert_eq!(tail(&listed["batchPredictionJobs"][0]), path);
    assert!(server.get_ok("customJobs").await["customJobs"].as_array().unwrap().is_empty());
    let id = path.rsplit('/').next().unwrap();
    let deleted = server.request(Method::DELETE, &format!("{N}/{path}"), "").await;
    assert_eq!(deleted.json()["done"], true, "{}", deleted.text);
    server.get(&format!("{N}/{path}")).await.refused(404, "NOT_FOUND");
    assert!(server.get(&format!("{N}/customJobs/{id}")).await.status.is_client_error());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_prediction_is_cancelled_and_a_custom_job_is_none() {
    let server = uploaded().await;
    let launcher = Writer::new(0, true);
    let runner = run(&server, &launcher);
    let job = server.post_ok("batchPredictionJobs", &body(&["gs://rows/in/a.jsonl"]).to_string()).await;
    let path = tail(&job);
    until(&server, &path, "JOB_STATE_RUNNING").await;
    server.post_ok(&format!("{path}:cancel"), "{}").await;
    let cancelled = until(&server, &path, "JOB_STATE_CANCELLED").await;
    assert!(
        cancelled.get("outputInfo").is_none() && cancelled.get("completionStats").is_none(),
        "{cancelled}"
    );
    let body = json!({"pipeline": crate::fixture::PIPELINE}).to_string();
    let custom = tail(&server.post_ok("customJobs", &body).await);
    let other = custom.replace("customJobs", "batchPredictionJobs");
    for (method, path) in [
        (Method::GET, other.clone()),
        (Method::POST, format!("{other}:cancel")),
        (Method::DELETE, other.clone()),
    ] {
        let refused = server.request(method, &format!("{N}/{path}"), "{}").await.refused(404, "NOT_FOUND");
        assert!(refused.contains("no batch prediction"), "{refused}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_refused_when_it_is_asked() {
    let server = uploaded().await;
    let refused = |body: Value, code: u16, status: &'static str| {
        let server = &server;
        async move { server.post("batchPredictionJobs", &body.to_string()).await.refused(code, status) }
    };
    let said = refused(body(&["gs://rows/in/c.jsonl"]), 404, "NOT_FOUND").await;
    assert!(said.contains("staging area"), "{said}");
    refused(body(&["gs://rows/out/*"]), 404, "NOT_FOUND").await;
    refused(body(&["file:///etc/passwd"]), 403, "PERMISSION_DENIED").await;
    refused(body(&[]), 400, "INVALID_ARGUMENT").await;
    let mut other = body(&["gs://rows/in/a.jsonl"]);
    other["model"] = json!("none");
    refused(other.clone(), 404, "NOT_FOUND").await;
    other["model"] = json!("tiny-model");
    for prefix in ["file:///tmp/x", "gs://ab/c", "gs://../x/y", "gs://rows/../../x"] {
        other["outputConfig"]["gcsDestination"]["outputUriPrefix"] = json!(prefix);
        refused(other.clone(), 400, "INVALID_ARGUMENT").await;
    }
    assert!(server.get_ok("batchPredictionJobs").await["batchPredictionJobs"].as_array().unwrap().is_empty());
}
