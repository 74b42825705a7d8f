//! What becomes of jobs when their server stops or dies.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use platform::JobState;
use platform::jobs::JobSettings;

use crate::fixture::{
    P, World, in_a_runtime, log, request, run, run_and_die, run_with, settings, submit, until, until_log,
    until_state,
};

pub(crate) fn kill_group(job_dir: &Path) {
    let pid = std::fs::read_to_string(job_dir.join("pid")).unwrap();
    let group = format!("-{}", pid.trim());
    assert!(Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
}

#[test]
fn a_job_outlives_a_crash_of_the_server_and_is_followed_again() {
    let world = World::new();
    in_a_runtime(world.open_trained());
    let fake = format!("echo up; while [ ! -e go ]; do sleep 0.02; done; echo more; {}", world.copy_bundle());
    let id = run_and_die(&world, request(&fake));
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run(&platform);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let job = platform.get_job(P, &id).await.unwrap();
        assert_eq!((job.state, job.attempts), (JobState::Running, 1));
        std::fs::write(world.job_dir(&id).join("go"), "").unwrap();
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        assert_eq!((done.attempts, done.made.unwrap().version), (1, 1));
        assert_eq!(log(&platform, &id).await, "up\nmore\n", "it ran once");
        runner.stop().await;
    });
}

#[test]
fn a_job_of_a_dead_server_can_be_cancelled() {
    let world = World::new();
    let id = run_and_die(&world, request("echo up; sleep 1000"));
    in_a_runtime(async {
        let platform = world.reopened().await;
        // Before anything runs jobs: the wish is remembered.
        assert_eq!(platform.cancel_job(P, &id).await.unwrap().state, JobState::Cancelling);
        let runner = run(&platform);
        until_state(&platform, &id, JobState::Cancelled).await;
        runner.stop().await;
    });
}

#[test]
fn a_job_that_died_with_its_server_goes_on_in_its_directory() {
    let world = World::new();
    in_a_runtime(world.open_trained());
    let fake = format!(
        "if [ -e half ]; then echo again; {}; else touch half; echo up; sleep 1000; fi",
        world.copy_bundle()
    );
    let id = run_and_die(&world, request(&fake));
    kill_group(&world.job_dir(&id));
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run(&platform);
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        assert_eq!(done.attempts, 2);
        assert_eq!(log(&platform, &id).await, "up\nagain\n");
        runner.stop().await;
    });
}

#[test]
fn a_job_that_ended_while_no_server_ran_is_registered_once() {
    let world = World::new();
    in_a_runtime(world.open_trained());
    let fake = format!("echo up; while [ ! -e go ]; do sleep 0.02; done; {}; echo done", world.copy_bundle());
    let id = run_and_die(&world, request(&fake));
    std::fs::write(world.job_dir(&id).join("go"), "").unwrap();
    let said = || std::fs::read_to_string(world.job_dir(&id).join("log.txt")).unwrap();
    while !said().contains("done") {
        std::thread::sleep(Duration::from_millis(10));
    }
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run(&platform);
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        assert_eq!((done.attempts, done.made.unwrap().version), (1, 1));
        assert_eq!(platform.list_model_versions(P, "tiny").await.unwrap().len(), 1);
        runner.stop().await;
    });
}

#[test]
fn a_job_that_is_cut_off_every_time_has_failed() {
    let world = World::new();
    let id = run_and_die(&world, request("echo up; sleep 1000"));
    kill_group(&world.job_dir(&id));
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run_with(&platform, JobSettings { max_attempts: 1, ..settings() });
        let failed = until_state(&platform, &id, JobState::Failed).await;
        assert!(
            failed.error.starts_with("its process was cut off in each of 1 attempts"),
            "{}",
            failed.error
        );
        runner.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_stops_its_jobs_and_the_next_goes_on_with_them() {
    let world = World::new();
    let platform = world.open_trained().await;
    let runner = run(&platform);
    let fake = format!(
        "if [ -e half ]; then {}; else touch half; trap 'echo saved; exit 130' TERM; echo up; while :; do sleep 0.02; done; fi",
        world.copy_bundle()
    );
    let id = submit(&platform, &fake).await;
    until_log(&platform, &id, "up").await;
    until_state(&platform, &id, JobState::Running).await;
    runner.stop().await;
    let waiting = platform.get_job(P, &id).await.unwrap();
    assert_eq!((waiting.state, waiting.attempts), (JobState::Queued, 1));
    let said = log(&platform, &id).await;
    // The shell may tell in between that what it waited for was terminated.
    assert!(said.starts_with("up\n") && said.ends_with("saved\n"), "{said}");
    drop(platform);

    let platform = world.reopened().await;
    let runner = run(&platform);
    let done = until(&platform, &id, |job| job.state.has_ended()).await;
    assert_eq!((done.state, done.attempts), (JobState::Succeeded, 2));
    runner.stop().await;
}
