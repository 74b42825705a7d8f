//! Training as a job of a server: queued and followed over the network, run as a process of its own, found again.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::market::{PIPELINE, prices_csv};
use support::table::{table_pipeline, write_table};
use support::{Bellwether, Serving};

const DAYS: usize = 380;
const SECONDS_MAX: u64 = 120;

/// A folder with a data set, a pipeline over it, and one that trains for minutes.
fn with_data() -> Bellwether {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(DAYS));
    bellwether.file("local.toml", PIPELINE);
    let registered = PIPELINE.replace("source = [\"prices.csv\"]\n", "");
    assert_ne!(registered, PIPELINE);
    bellwether.file("tiny.toml", &registered);
    bellwether.file("long.toml", &registered.replace("epochs = 2", "epochs = 100000"));
    bellwether.ok(&["data", "import", "prices.csv", "--name", "tiny"]);
    bellwether
}

struct At<'a> {
    bellwether: &'a Bellwether,
    server: Serving,
}

impl<'a> At<'a> {
    fn new(bellwether: &'a Bellwether) -> Self {
        Self { bellwether, server: bellwether.serve(&[]) }
    }

    fn ok(&self, args: &[&str]) -> Value {
        self.bellwether.ok(&[args, &["--server", &self.server.url]].concat())
    }

    fn fails(&self, args: &[&str], code: i32, parts: &[&str]) -> String {
        self.bellwether.fails(&[args, &["--server", &self.server.url]].concat(), code, parts)
    }

    fn queue(&self, pipeline: &str) -> String {
        let job = self.ok(&["train", pipeline]);
        assert_eq!(job["state"], "queued");
        job["job"].as_str().unwrap().to_owned()
    }

    fn until(&self, job: &str, right: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let shown = self.ok(&["job", "show", job]);
            if right(&shown) {
                return shown;
            }
            assert!(start.elapsed().as_secs() < SECONDS_MAX, "{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a job is in the middle of its training, and gives its process.
    fn until_it_trains(&self, job: &str) -> String {
        let start = Instant::now();
        while !self.ok(&["job", "logs", job])["text"].as_str().unwrap().contains("epoch") {
            assert!(start.elapsed().as_secs() < SECONDS_MAX, "{}", self.ok(&["job", "logs", job]));
            std::thread::sleep(Duration::from_millis(50));
        }
        self.until(job, |job| job["state"] == "running");
        pid(self.bellwether, job)
    }
}

fn pid(bellwether: &Bellwether, job: &str) -> String {
    let path = bellwether.data_dir().join("jobs/default").join(job).join("pid");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Whether a process runs; one that nobody has waited for does not.
fn is_alive(pid: &str) -> bool {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(ps.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Waits until a process is gone: what it had locked is free a moment before.
fn until_gone(pid: &str) {
    let start = Instant::now();
    while is_alive(pid) {
        assert!(start.elapsed().as_secs() < SECONDS_MAX, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[test]
fn a_pipeline_is_queued_followed_and_becomes_a_version() {
    let bellwether = with_data();
    let at = At::new(&bellwether);
    assert_eq!(at.ok(&["job", "list"])["jobs"].as_array().unwrap().len(), 0);
    at.fails(&["train", "local.toml"], 2, &["prices.csv", "datasets?datasetId=tiny"]);
    at.fails(&["train", "tiny.toml", "--out", "bundle"], 2, &["--out"]);
    let job = at.queue("tiny.toml");

    let follow = ["job", "logs", &job, "--follow", "--server", &at.server.url];
    let run = bellwether.run(&follow);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in ["data      tiny", "epoch  2/2", "verdict", "bundle"] {
        assert!(run.stdout.contains(part), "\"{part}\" is not in: {}", run.stdout);
    }
    assert!(run.stderr.contains(&format!("job {job} succeeded")), "{}", run.stderr);
    let shown = at.ok(&["job", "show", &job]);
    assert_eq!((&shown["state"], &shown["attempts"]), (&"succeeded".into(), &1.into()));
    assert_eq!((&shown["model"], &shown["version"]), (&"tiny".into(), &"1".into()));
    assert_eq!((&shown["dataset"], &shown["snapshot"]), (&"tiny".into(), &1.into()));
    let model = at.ok(&["model", "show", "tiny@1"]);

    // The server trained what this process trains, beside the server that holds the directory.
    bellwether.ok(&["train", "tiny.toml", "--out", "here", "--read-only", "--snapshot", "1"]);
    let bundles = [bellwether.data_dir().join("artifacts/default/tiny/1"), bellwether.dir().join("here")];
    let [there, here] = bundles.map(|bundle| std::fs::read(bundle.join("model.onnx")).unwrap());
    assert_eq!(there, here);
    bellwether.fails(&["train", "tiny.toml", "--out", "here"], 4, &["bellwether serve", "held by"]);
    bellwether.fails(&["train", "tiny.toml", "--snapshot", "1"], 2, &["--read-only"]);

    assert_eq!(at.server.terminate(), 0);
    let local = bellwether.ok(&["job", "show", &job]);
    assert_eq!(local, shown, "a server gives the same answers as the data directory");
    assert_eq!(bellwether.ok(&["model", "show", "tiny@1"])["bundle_digest"], model["bundle_digest"]);
    assert!(bellwether.ok(&["job", "logs", &job])["text"].as_str().unwrap().contains("verdict"));
    bellwether.fails(&["job", "logs", &job, "--follow"], 2, &["--server"]);
    bellwether.ok(&["job", "delete", &job]);
    bellwether.fails(&["job", "show", &job], 3, &[&job, "no jobs"]);
}

#[test]
fn a_job_trains_on_a_table_and_from_a_version_what_this_process_would() {
    let bellwether = with_data();
    let table = bellwether.dir().join("rows.parquet");
    write_table(&table, 400);
    let uri = format!("file://{}", table.canonicalize().unwrap().display());
    bellwether.file("rows.toml", &table_pipeline(&uri));
    bellwether.file("beside.toml", &table_pipeline("rows.parquet"));
    let root = format!("file://{}", bellwether.dir().canonicalize().unwrap().display());
    let at = At { bellwether: &bellwether, server: bellwether.serve(&["--allow-root", &root]) };
    let bytes = |path: &str| std::fs::read(bellwether.dir().join(path)).unwrap();
    let model = "model.onnx";

    at.fails(&["train", "beside.toml"], 2, &["rows.parquet", "gs://BUCKET/OBJECT"]);
    let first = at.queue("rows.toml");
    let first = at.until(&first, |job| job["state"] == "succeeded");
    assert_eq!((&first["table"], &first["dataset"]), (&uri.as_str().into(), &Value::Null));
    bellwether.ok(&["train", "beside.toml", "--out", "here", "--read-only"]);
    assert_eq!(bytes("data/artifacts/default/rows/1/model.onnx"), bytes(&format!("here/{model}")));

    for (more, part) in [
        (vec!["--from", "here"], "model upload"),
        (vec!["--threads", "2"], "--threads"),
        (vec!["--dry-run"], "dry run"),
        (vec!["--resume"], "job resume"),
        (vec!["--device", "gpu"], "BELLWETHER_DEVICE"),
    ] {
        at.fails(&[&["train", "rows.toml"], &more[..]].concat(), 2, &[part]);
    }
    at.fails(&["train", "rows.toml", "--from", "gone@1"], 3, &["gone"]);
    at.fails(&["train", "tiny.toml", "--from", "rows@1"], 2, &["cannot start from rows@1"]);
    let second = at.ok(&["train", "rows.toml", "--from", "rows"]);
    assert_eq!(second["from"], "rows@1");
    let second = at.until(second["job"].as_str().unwrap(), |job| job["state"] == "succeeded");
    assert_eq!((&second["version"], &second["from"]), (&"2".into(), &"rows@1".into()));
    bellwether.ok(&["train", "beside.toml", "--out", "on", "--read-only", "--from", "here"]);
    let there = bytes("data/artifacts/default/rows/2/model.onnx");
    assert_eq!(there, bytes(&format!("on/{model}")));
    assert_ne!(there, bytes(&format!("here/{model}")), "it learned on");

    let other = [&"0".repeat(64)[..]].concat();
    let pinned = ["train", "beside.toml", "--read-only", "--table", "rows.parquet", "--table-sha256", &other];
    bellwether.fails(&pinned, 4, &["another one", &other]);
    bellwether.fails(&["train", "tiny.toml", "--read-only", "--table", "rows.parquet"], 2, &["--table"]);
    assert_eq!(at.server.terminate(), 0);
    bellwether.ok(&["train", "rows.toml", "--out", "by-uri"]);
    assert_eq!(bytes("by-uri/model.onnx"), bytes(&format!("here/{model}")));
}

/// A pipeline whose learning rate is searched, in so many trials of so many epochs.
fn search(trials: usize, epochs: usize) -> String {
    let registered = PIPELINE.replace("source = [\"prices.csv\"]\n", "");
    let fit = format!("epochs = {epochs}\noptimizer = {{ name = \"adam\", learning_rate = 0.001 }}");
    let longer = registered.replace("epochs = 2", &fit);
    let space = "\"fit.optimizer.learning_rate\" = { log_uniform = [1e-4, 1e-2] }";
    format!("{longer}\n[search]\nmethod = \"random\"\ntrials = {trials}\nseed = 3\n[search.space]\n{space}\n")
}

#[test]
fn a_search_that_was_cut_off_ends_as_one_of_this_process_would() {
    const TRIALS: usize = 5;
    let bellwether = with_data();
    // Long enough that its process is there when this one gets to killing it.
    bellwether.file("search.toml", &search(TRIALS, 250));
    bellwether.ok(&["data", "import", "prices.csv", "--name", "tiny", "--data-dir", "alone"]);
    let alone = bellwether.ok(&["search", "search.toml", "--out", "here", "--data-dir", "alone"]);
    assert_eq!(
        (alone["trials"].as_array().unwrap().len(), &alone["trials_of_model"]),
        (TRIALS, &TRIALS.into())
    );
    assert_eq!(alone["version"]["version"], 1);
    let mut at = At::new(&bellwether);
    at.fails(&["search", "tiny.toml"], 2, &["no [search]"]);
    at.fails(&["search", "search.toml", "--out", "x"], 2, &["--out"]);
    let queued = at.ok(&["search", "search.toml"]);
    assert_eq!((&queued["state"], &queued["kind"]), (&"queued".into(), &"search".into()));
    let job = queued["job"].as_str().unwrap().to_owned();
    let log = |at: &At<'_>| at.ok(&["job", "logs", &job])["text"].as_str().unwrap().to_owned();
    let start = Instant::now();
    let file = bellwether.data_dir().join("jobs/default").join(&job).join("log.txt");
    while !std::fs::read_to_string(&file).unwrap_or_default().contains("trial 3 of 5") {
        assert!(start.elapsed().as_secs() < SECONDS_MAX, "{}", log(&at));
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = pid(&bellwether, &job);
    kill("-9", &at.server.child.id().to_string());
    at.server.child.wait().unwrap();
    kill("-9", &process);

    let at = At::new(&bellwether);
    let done = at.until(&job, |job| job["state"] == "succeeded");
    assert_eq!(
        (&done["attempts"], &done["model"], &done["version"]),
        (&2.into(), &"tiny".into(), &"1".into())
    );
    let said = log(&at);
    assert_eq!(said.matches("trial 1 of 5").count(), 1, "{said}");
    assert_eq!(said.matches("trial 5 of 5").count(), 1, "{said}");
    assert!(said.contains("5 trials of this model on this data so far"), "{said}");
    let [there, here] = ["data/artifacts/default/tiny/1", "here"]
        .map(|bundle| std::fs::read(bellwether.dir().join(bundle).join("model.onnx")).unwrap());
    assert_eq!(there, here);
}

#[test]
fn the_best_of_a_search_is_trained_on_from_its_checkpoint() {
    let bellwether = with_data();
    // As above.
    bellwether.file("search.toml", &search(1, 800));
    bellwether.ok(&["data", "import", "prices.csv", "--name", "tiny", "--data-dir", "alone"]);
    bellwether.ok(&["search", "search.toml", "--out", "here", "--data-dir", "alone"]);
    let at = At::new(&bellwether);
    let job = at.ok(&["search", "search.toml"])["job"].as_str().unwrap().to_owned();
    let start = Instant::now();
    let log = bellwether.data_dir().join("jobs/default").join(&job).join("log.txt");
    // Epochs of trials are not told, those of the best are, each before its checkpoint is written.
    while !std::fs::read_to_string(&log).unwrap_or_default().contains(" 3/800") {
        assert!(start.elapsed().as_secs() < SECONDS_MAX, "{}", at.ok(&["job", "logs", &job]));
        std::thread::sleep(Duration::from_millis(2));
    }
    kill("-9", &pid(&bellwether, &job));
    let failed = at.until(&job, |job| job["state"] == "failed");
    assert!(failed["error"].as_str().unwrap().contains("job resume"), "{failed}");
    at.ok(&["job", "resume", &job]);
    at.until(&job, |job| job["state"] == "succeeded");
    let said = at.ok(&["job", "logs", &job])["text"].as_str().unwrap().to_owned();
    assert!(said.contains("resumed at step"), "{said}");
    assert_eq!(said.matches("trial 1 of 1").count(), 1, "{said}");
    let [there, here] = ["data/artifacts/default/tiny/1", "here"]
        .map(|bundle| std::fs::read(bellwether.dir().join(bundle).join("model.onnx")).unwrap());
    assert_eq!(there, here);
}

#[test]
fn a_killed_job_leaves_the_server_and_a_killed_server_leaves_the_job() {
    let bellwether = with_data();
    let mut at = At::new(&bellwether);
    let job = at.queue("long.toml");
    let process = at.until_it_trains(&job);
    kill("-9", &process);
    let failed = at.until(&job, |job| job["state"] == "failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.starts_with("killed by signal 9") && error.contains("job resume"), "{error}");
    assert_eq!(at.ok(&["model", "list"])["models"].as_array().unwrap().len(), 0);

    assert_eq!(at.ok(&["job", "resume", &job])["state"], "queued");
    at.until(&job, |job| job["state"] == "running" && job["attempts"] == 2);
    let process = pid(&bellwether, &job);
    let waiting = at.queue("tiny.toml");
    kill("-9", &at.server.child.id().to_string());
    at.server.child.wait().unwrap();
    assert!(is_alive(&process), "the job died with its server");

    let at = At::new(&bellwether);
    let found = at.ok(&["job", "show", &job]);
    assert_eq!((&found["state"], &found["attempts"]), (&"running".into(), &2.into()));
    assert_eq!(at.ok(&["job", "show", &waiting])["state"], "queued");
    let cancelled = at.ok(&["job", "cancel", &job]);
    assert!(["cancelling", "cancelled"].contains(&cancelled["state"].as_str().unwrap()), "{cancelled}");
    at.until(&job, |job| job["state"] == "cancelled");
    until_gone(&process);
    at.until(&waiting, |job| job["state"] == "succeeded");
}

#[test]
fn a_server_that_stops_takes_its_job_up_again_when_it_starts() {
    let bellwether = with_data();
    let at = At::new(&bellwether);
    let job = at.queue("long.toml");
    let process = at.until_it_trains(&job);
    assert_eq!(at.server.terminate(), 0);
    assert!(!is_alive(&process), "process {process} is there after the server has stopped");
    assert_eq!(bellwether.ok(&["job", "show", &job])["state"], "queued");

    let at = At::new(&bellwether);
    at.until(&job, |job| job["state"] == "running" && job["attempts"] == 2);
    at.ok(&["job", "cancel", &job]);
    at.until(&job, |job| job["state"] == "cancelled");
    at.fails(&["job", "cancel", &job], 4, &["is cancelled"]);
}
