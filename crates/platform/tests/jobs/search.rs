//! A search as a job: its trials are recorded by the server that owns the registry, whoever dies when.

use platform::jobs::{SubmitJob, Work};
use platform::{JobState, Kind, Platform};
use registry::{SqliteStore, Store, Trial, TrialState};
use serde_json::json;

use crate::crash::kill_group;
use crate::fixture::{
    P, PIPELINE, World, in_a_runtime, log, request, run, run_and_die, until, until_log, until_state,
};
use crate::reads::over;

const SEARCH: &str = "[search]\nmethod = \"grid\"\n[search.space]\n\"fit.seed\" = [1, 2, 3]\n";

fn search(fake: &str) -> SubmitJob {
    let pipeline = format!("# fake: {fake}\n{PIPELINE}{SEARCH}");
    SubmitJob { pipeline, work: Work::Search, ..request("") }
}

/// Shell words that note a trial's beginning.
fn begin(number: u32) -> String {
    note(&json!({"begun": {"number": number, "parameters": {"fit.seed": number}}}))
}

/// Shell words that note a trial's end.
fn end(number: u32, end: &serde_json::Value) -> String {
    note(&json!({"ended": {"number": number, "end": end}}))
}

fn note(line: &serde_json::Value) -> String {
    format!("echo '{line}' >> trials.jsonl")
}

fn succeeded(val_loss: f64) -> serde_json::Value {
    json!({"state": "succeeded", "metrics": {"val_loss": val_loss}})
}

/// The trials of the only study in a data directory, by way of another connection.
async fn trials(world: &World) -> Vec<Trial> {
    let store = SqliteStore::open(&world.path().join("data/registry.sqlite")).await.unwrap();
    let studies = store.list_studies(P, None, 10).await.unwrap();
    assert!(studies.len() <= 1, "{studies:?}");
    let mut trials = Vec::new();
    for study in studies {
        assert_eq!((study.model.as_str(), study.dataset.as_str()), ("tiny", "made-up"));
        assert_eq!(study.spec["method"], "grid");
        trials = store.list_trials(P, &study.id, None, 100).await.unwrap();
    }
    store.close().await;
    trials
}

fn states(trials: &[Trial]) -> Vec<(u32, TrialState)> {
    trials.iter().map(|trial| (trial.number, trial.state)).collect()
}

async fn until_trials(world: &World, expected: &[(u32, TrialState)]) -> Vec<Trial> {
    for _ in 0..1000 {
        let found = trials(world).await;
        if states(&found) == expected {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?}", trials(world).await);
}

async fn labels(platform: &Platform, reference: &str) -> Vec<(String, String)> {
    platform.get_model(P, reference).await.unwrap().labels.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_recorded_while_it_goes_and_its_best_becomes_a_version() {
    let world = World::new();
    let platform = world.open_trained().await;
    let runner = run(&platform);
    let failed = json!({"state": "failed", "error": "the loss is not a number"});
    let fake = [
        "echo \"$@\"; cat trials.jsonl".to_owned(),
        begin(1),
        end(1, &succeeded(0.5)),
        begin(2),
        "while [ ! -e go ]; do sleep 0.02; done".to_owned(),
        end(2, &failed),
        begin(3),
        end(3, &json!({"state": "stopped", "metrics": {"val_loss": 0.75}})),
        world.copy_bundle(),
    ];
    let job = platform.submit_job(search(&fake.join("; "))).await.unwrap();
    assert_eq!((job.kind.as_str(), job.display_name.as_str()), ("search", "tiny"));
    let running = until_trials(&world, &[(1, TrialState::Succeeded), (2, TrialState::Running)]).await;
    assert_eq!(running[0].metrics, json!({"val_loss": 0.5}));
    assert_eq!(running[1].parameters, json!({"fit.seed": 2}));
    assert!(platform.get_model(P, "tiny").await.is_err());

    std::fs::write(world.job_dir(&job.id).join("go"), "").unwrap();
    let done = until_state(&platform, &job.id, JobState::Succeeded).await;
    assert_eq!((&done.inputs["dataset"], &done.inputs["snapshot"]), (&"made-up".into(), &1.into()));
    let recorded = trials(&world).await;
    let expected = [(1, TrialState::Succeeded), (2, TrialState::Failed), (3, TrialState::Stopped)];
    assert_eq!(states(&recorded), expected);
    assert_eq!(recorded[1].error, "the loss is not a number");
    let version = platform.get_model(P, "tiny@1").await.unwrap();
    assert_eq!(version.description, "the best of 3 trials by val_loss");
    let study = recorded[0].study.clone();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        labels(&platform, "tiny@1").await,
        [pair("job", &job.id), pair("study", &study), pair("trials", "3")]
    );

    let said = log(&platform, &job.id).await;
    let dir = world.job_dir(&job.id).canonicalize().unwrap();
    let (line, journal) = said.split_once('\n').unwrap();
    assert_eq!(
        line,
        format!(
            "search {0}/pipeline.toml --out {0}/bundle --resume --data-dir {1} --read-only --snapshot 1 --trials \
             {0}/trials.jsonl",
            dir.display(),
            platform.data_dir().display()
        )
    );
    assert_eq!(
        journal,
        format!("{{\"study\":{{\"version\":1,\"study\":\"{study}\",\"other_trials\":0}}}}\n")
    );
    runner.stop().await;
}

#[test]
fn a_search_that_died_with_its_server_loses_no_trial_and_repeats_none() {
    let world = World::new();
    in_a_runtime(world.open_trained());
    let torn = "printf '{\"begun\":{\"number\":9' >> trials.jsonl";
    let first = [begin(1), end(1, &succeeded(0.5)), begin(2), torn.to_owned()].join("; ");
    let second = ["cat trials.jsonl".to_owned(), end(2, &succeeded(0.25)), begin(3), end(3, &succeeded(1.0))]
        .join("; ");
    let fake = format!(
        "if [ -e half ]; then {second}; {}; else touch half; {first}; echo up; sleep 1000; fi",
        world.copy_bundle()
    );
    let id = run_and_die(&world, search(&fake));
    kill_group(&world.job_dir(&id));
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run(&platform);
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        assert_eq!(done.attempts, 2);
        let recorded = trials(&world).await;
        let expected = [1, 2, 3].map(|number| (number, TrialState::Succeeded));
        assert_eq!(states(&recorded), expected);
        assert_eq!(recorded[1].metrics, json!({"val_loss": 0.25}));
        let said = log(&platform, &id).await;
        let known: Vec<&str> = said.lines().skip_while(|line| !line.contains("\"study\"")).skip(1).collect();
        assert_eq!(
            known,
            [
                r#"{"begun":{"number":1,"parameters":{"fit.seed":1}}}"#,
                r#"{"ended":{"number":1,"end":{"state":"succeeded","metrics":{"val_loss":0.5}}}}"#,
                r#"{"begun":{"number":2,"parameters":{"fit.seed":2}}}"#,
            ],
            "the second attempt knows what the first has tried"
        );
        runner.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_cancelled_or_fails_leaves_its_trials_on_record() {
    let world = World::new();
    let platform = world.open().await;
    let runner = run(&platform);
    let fake = format!("{}; echo up; sleep 1000", begin(1));
    let job = platform.submit_job(search(&fake)).await.unwrap();
    until_log(&platform, &job.id, "up").await;
    platform.cancel_job(P, &job.id).await.unwrap();
    until_state(&platform, &job.id, JobState::Cancelled).await;
    assert_eq!(states(&trials(&world).await), [(1, TrialState::Running)]);
    runner.stop().await;
    drop(platform);

    let world = World::new();
    let platform = world.open().await;
    let runner = run(&platform);
    let fake = format!("{}; {}; exit 2", begin(1), end(1, &succeeded(0.5)));
    let failing = platform.submit_job(search(&fake)).await.unwrap();
    until_state(&platform, &failing.id, JobState::Failed).await;
    assert_eq!(states(&trials(&world).await), [(1, TrialState::Succeeded)]);

    // A journal that nobody of ours wrote is no reason to go on.
    let job = platform.submit_job(search("echo nonsense >> trials.jsonl; exit 0")).await.unwrap();
    let failed = until(&platform, &job.id, |job| job.state.has_ended()).await;
    assert_eq!(failed.state, JobState::Failed);
    assert!(failed.error.contains("is no journal of a search"), "{}", failed.error);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_is_refused_at_once() {
    let world = World::new();
    let platform = world.open().await;
    let refused = async |request: SubmitJob, kind: Kind, part: &str| {
        let error = platform.submit_job(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    let changed = |from: &str, to: &str| {
        let request = search("");
        assert!(request.pipeline.contains(from));
        SubmitJob { pipeline: request.pipeline.replacen(from, to, 1), ..request }
    };
    refused(changed(SEARCH, ""), Kind::InvalidArgument, "no [search]").await;
    refused(changed("\"grid\"", "\"luck\""), Kind::InvalidArgument, "luck").await;
    refused(changed("made-up", "gone"), Kind::NotFound, "must be at the server").await;
    let dates = "train = [\"2020-01-01\", \"2020-06-30\"]\nvalid = [\"2020-07-01\", \"2020-08-31\"]\ntest = [\"2020-09-01\", \"2021-12-31\"]\n";
    refused(changed(dates, "kind = \"purged_k_fold\"\n"), Kind::InvalidArgument, "windows in time").await;
    let table = SubmitJob { work: Work::Search, ..over("file:///x.parquet", "") };
    refused(table, Kind::InvalidArgument, "which a table does not have").await;

    let first = platform.submit_job(search("exit 1")).await.unwrap();
    refused(search("exit 1"), Kind::FailedPrecondition, &format!("job \"{}\" searches this", first.id)).await;
    platform.submit_job(search("exit 2")).await.unwrap();
    platform.cancel_job(P, &first.id).await.unwrap();
    platform.submit_job(search("exit 1")).await.unwrap();
    let error = platform.resume_job(P, &first.id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
}
