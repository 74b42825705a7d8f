//! Custom jobs over the wire, run by a launcher that only says what it is told to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use platform::Result;
use platform::jobs::{JobSettings, Launcher, Progress, Stop, Task};
use serde_json::{Value, json};

use crate::fixture::{N, PIPELINE, Server};

/// Every task is as far as this says.
struct Told(Mutex<Progress>);

impl Told {
    fn tell(&self, progress: Progress) {
        *self.0.lock().unwrap() = progress;
    }
}

impl Launcher for Told {
    fn start(&self, task: &Task) -> Result<()> {
        std::fs::write(&task.log, format!("hello from {}\n", task.name)).unwrap();
        self.tell(Progress::Running);
        Ok(())
    }

    fn progress(&self, _: &Task) -> Result<Progress> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn stop(&self, _: &Task, how: Stop) -> Result<()> {
        assert_eq!(how, Stop::Ask, "nobody is killed who stops when asked");
        self.tell(Progress::Gone);
        Ok(())
    }
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

/// `customJobs/ID` of a job's name.
fn tail(job: &Value) -> String {
    let name = job["name"].as_str().unwrap();
    let tail = name.strip_prefix("projects/default/locations/us-central1/").unwrap();
    assert!(tail.starts_with("customJobs/"), "{tail}");
    tail.to_owned()
}

async fn create(server: &Server) -> Value {
    server.post_ok("customJobs", &json!({"pipeline": PIPELINE, "labels": {"team": "q"}}).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_queued_followed_and_becomes_a_version() {
    let server = Server::trained().await;
    let job = create(&server).await;
    assert_eq!((&job["state"], &job["displayName"]), (&json!("JOB_STATE_QUEUED"), &json!("tiny")));
    assert_eq!(job["labels"], json!({"team": "q"}));
    let container = &job["jobSpec"]["workerPoolSpecs"][0]["containerSpec"];
    assert_eq!(container["env"], json!([{"name": "PIPELINE", "value": PIPELINE}]));
    let path = tail(&job);
    assert_eq!(server.get_ok(&path).await, job);
    let early = server.get_ok(&format!("{path}/logs")).await;
    assert_eq!(early, json!({"text": "", "offset": "0", "nextOffset": "0", "state": "JOB_STATE_QUEUED"}));

    let launcher = Arc::new(Told(Mutex::new(Progress::Gone)));
    let settings = JobSettings { pause: Duration::from_millis(10), ..JobSettings::default() };
    let runner = server.platform.run_jobs(Arc::clone(&launcher) as Arc<dyn Launcher>, settings);
    let running = until(&server, &path, "JOB_STATE_RUNNING").await;
    assert!(running["startTime"].is_string() && running["endTime"].is_null(), "{running}");
    assert_eq!(
        (&running["metadata"]["attempts"], &running["metadata"]["dataset"], &running["metadata"]["snapshot"]),
        (&json!(1), &json!("made-up"), &json!(1))
    );
    let id = path.strip_prefix("customJobs/").unwrap();
    let log = server.get_ok(&format!("{path}/logs?follow=true&offset=6")).await;
    assert_eq!(log["text"], format!("from default/{id}\n"));
    assert_eq!((&log["offset"], &log["state"]), (&json!("6"), &json!("JOB_STATE_RUNNING")));

    let bundle: PathBuf = server.platform.data_dir().join("jobs/default").join(id).join("bundle");
    copy(&server.bundle, &bundle);
    launcher.tell(Progress::Ended { success: true, how: "exit code 0".to_owned() });
    let done = until(&server, &path, "JOB_STATE_SUCCEEDED").await;
    assert_eq!(done["metadata"]["model"], "projects/default/locations/us-central1/models/tiny");
    assert_eq!((&done["metadata"]["modelVersionId"], done["endTime"].is_string()), (&json!("1"), true));
    assert_eq!(server.get_ok("models/tiny@1").await["labels"]["job"], id);
    let end = server
        .get_ok(&format!("{path}/logs?follow=true&offset={}", log["nextOffset"].as_str().unwrap()))
        .await;
    assert_eq!((&end["text"], &end["state"]), (&json!(""), &json!("JOB_STATE_SUCCEEDED")));

    let gone = server.request(Method::DELETE, &format!("{N}/{path}"), "").await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let operation = gone.json();
    assert_eq!(
        (&operation["done"], &operation["response"]["@type"]),
        (&json!(true), &json!("type.googleapis.com/google.protobuf.Empty"))
    );
    server
        .get_ok(&format!("operations/{}", operation["name"].as_str().unwrap().rsplit('/').next().unwrap()))
        .await;
    server.get(&format!("{N}/{path}")).await.refused(404, "NOT_FOUND");
    runner.stop().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // The manifest must not be there before the rest; nobody looks until the launcher says that it is done.
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_resumed_and_fails_with_a_status() {
    let server = Server::trained().await;
    let launcher = Arc::new(Told(Mutex::new(Progress::Gone)));
    let settings = JobSettings { pause: Duration::from_millis(10), ..JobSettings::default() };
    let runner = server.platform.run_jobs(Arc::clone(&launcher) as Arc<dyn Launcher>, settings);
    let path = tail(&create(&server).await);
    until(&server, &path, "JOB_STATE_RUNNING").await;
    let refused = server.request(Method::DELETE, &format!("{N}/{path}"), "").await;
    assert!(refused.refused(400, "FAILED_PRECONDITION").contains("cancel it before"), "{}", refused.text);
    assert_eq!(server.post_ok(&format!("{path}:cancel"), "{}").await, json!({}));
    let cancelled = until(&server, &path, "JOB_STATE_CANCELLED").await;
    assert!(cancelled["error"].is_null());
    server.post(&format!("{path}:cancel"), "{}").await.refused(400, "FAILED_PRECONDITION");

    let again = server.post_ok(&format!("{path}:resume"), "").await;
    assert_eq!(again["state"], "JOB_STATE_QUEUED");
    until(&server, &path, "JOB_STATE_RUNNING").await;
    launcher.tell(Progress::Ended { success: false, how: "exit code 2".to_owned() });
    let failed = until(&server, &path, "JOB_STATE_FAILED").await;
    assert_eq!((&failed["error"]["code"], &failed["metadata"]["attempts"]), (&json!(13), &json!(2)));
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("exit code 2; ") && message.contains("hello from default/"), "{message}");

    let second = tail(&create(&server).await);
    let listed = server.get_ok("customJobs?pageSize=1").await;
    assert_eq!(tail(&listed["customJobs"][0]), path);
    assert_eq!(listed["customJobs"][0]["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["env"], json!([]));
    let token = listed["nextPageToken"].as_str().unwrap();
    let rest = server.get_ok(&format!("customJobs?pageSize=1&pageToken={token}")).await;
    assert_eq!((tail(&rest["customJobs"][0]), &rest["nextPageToken"]), (second, &Value::Null));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_says_which_version_it_starts_from() {
    let server = Server::trained().await;
    server.post_ok("models:upload", &server.upload_body()).await;
    let body = json!({"pipeline": PIPELINE, "from": "tiny-model"});
    let job = server.post_ok("customJobs", &body.to_string()).await;
    assert_eq!(job["metadata"]["from"], "tiny-model@1");
    let container = &job["jobSpec"]["workerPoolSpecs"][0]["containerSpec"];
    assert_eq!(container["args"], json!(["train", "--from", "tiny-model@1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_is_refused() {
    let server = Server::trained().await;
    let refused = async |body: Value, code, status| {
        server.post("customJobs", &body.to_string()).await.refused(code, status)
    };
    let local = PIPELINE.replace("benchmark =", "source = \"prices.csv\"\nbenchmark =");
    let message = refused(json!({"pipeline": local}), 400, "INVALID_ARGUMENT").await;
    assert!(message.contains("datasets?datasetId=made-up"), "{message}");
    let message = refused(json!({"pipeline": "version = 2"}), 400, "INVALID_ARGUMENT").await;
    assert!(message.starts_with("pipeline:"), "{message}");
    let elsewhere = PIPELINE.replace("\"made-up\"", "\"elsewhere\"");
    refused(json!({"pipeline": elsewhere}), 404, "NOT_FOUND").await;
    let message = refused(json!({"pipeline": PIPELINE, "from": "tiny@9"}), 404, "NOT_FOUND").await;
    assert!(message.starts_with("from: "), "{message}");
    let table = "version = 1\nname = \"rows\"\n[data]\ntable = \"file:///etc/passwd\"\n[label]\ncolumn = \"l\"\n\
                 [split]\ncolumn = \"part\"\n[[model.layers]]\ntype = \"dense\"\nunits = 1\n";
    let message = refused(json!({"pipeline": table}), 403, "PERMISSION_DENIED").await;
    assert!(message.contains("--allow-root"), "{message}");
    server.get(&format!("{N}/customJobs/7")).await.refused(404, "NOT_FOUND");
    server.get(&format!("{N}/customJobs/7/logs")).await.refused(404, "NOT_FOUND");
    server.get(&format!("{N}/customJobs/7/logs?offset=x")).await.refused(400, "INVALID_ARGUMENT");
    server.get(&format!("{N}/customJobs/7/logs?follow=x")).await.refused(400, "INVALID_ARGUMENT");
    assert_eq!(server.get_ok("customJobs").await, json!({"customJobs": []}));
}
