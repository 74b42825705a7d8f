//! A job's life while its server lives: success, failure, cancellation, the queue, the log.

use std::time::Duration;

use platform::jobs::JobSettings;
use platform::{JobState, Kind, MadeVersion, Page};

use crate::fixture::{
    P, World, log, request, run, run_with, settings, submit, until, until_log, until_state,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_succeeds_becomes_a_version() {
    let world = World::new();
    let platform = world.open_trained().await;
    let id = submit(&platform, &format!("echo \"$@\"; echo nice $(nice); {}", world.copy_bundle())).await;
    let queued = platform.get_job(P, &id).await.unwrap();
    assert_eq!((queued.state, queued.attempts, queued.display_name.as_str()), (JobState::Queued, 0, "tiny"));
    let runner = run(&platform);
    let done = until_state(&platform, &id, JobState::Succeeded).await;
    assert_eq!(done.made, Some(MadeVersion { model: "tiny".to_owned(), version: 1 }));
    assert_eq!((&done.inputs["dataset"], &done.inputs["snapshot"]), (&"made-up".into(), &1.into()));
    assert!(
        done.started_at.unwrap() >= done.created_at && done.ended_at.unwrap() >= done.started_at.unwrap()
    );

    let version = platform.get_model(P, "tiny@1").await.unwrap();
    assert_eq!(version.labels["job"], id);
    let dir = world.job_dir(&id);
    let text = log(&platform, &id).await;
    let line = format!(
        "train {0}/pipeline.toml --out {0}/bundle --resume --data-dir {1} --read-only --snapshot 1\n",
        dir.canonicalize().unwrap().display(),
        platform.data_dir().display()
    );
    assert_eq!(text, format!("{line}nice 10\n"));
    // The artifact store has it now.
    until(&platform, &id, |_| !dir.join("bundle").exists()).await;

    let second = submit(&platform, &world.copy_bundle()).await;
    assert_eq!(until_state(&platform, &second, JobState::Succeeded).await.made.unwrap().version, 2);
    let listed = platform.list_jobs(P, &Page::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|job| &job.id).collect::<Vec<_>>(), [&id, &second]);
    platform.delete_job(P, &id).await.unwrap();
    assert!(!dir.exists());
    assert_eq!(platform.get_job(P, &id).await.unwrap_err().kind(), Kind::NotFound);
    assert!(platform.get_model(P, "tiny@1").await.is_ok());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_says_why_and_can_be_resumed() {
    let world = World::new();
    let platform = world.open_trained().await;
    let runner = run(&platform);
    let fake = format!(
        "if [ -e half ]; then {}; else touch half; echo step 1; echo cannot go on >&2; exit 3; fi",
        world.copy_bundle()
    );
    let id = submit(&platform, &fake).await;
    let failed = until_state(&platform, &id, JobState::Failed).await;
    let expected = format!(
        "exit code 3; `bellwether job resume {id}` goes on with it; the end of its log:\nstep 1\ncannot go on"
    );
    assert_eq!((failed.error, failed.made), (expected, None));
    assert_eq!(platform.get_model(P, "tiny").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(platform.cancel_job(P, &id).await.unwrap_err().kind(), Kind::FailedPrecondition);

    platform.resume_job(P, &id).await.unwrap();
    let done = until_state(&platform, &id, JobState::Succeeded).await;
    assert_eq!((done.attempts, done.error.as_str()), (2, ""));
    let refused = platform.resume_job(P, &id).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::FailedPrecondition);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_killed_or_leaves_nothing_has_failed() {
    let world = World::new();
    let platform = world.open().await;
    let runner = run(&platform);
    let killed = submit(&platform, "kill -9 $$").await;
    let error = until_state(&platform, &killed, JobState::Failed).await.error;
    assert!(
        error.starts_with("killed by signal 9 (if nobody did that, the machine ran out of memory)"),
        "{error}"
    );
    let empty = submit(&platform, "exit 0").await;
    let error = until_state(&platform, &empty, JobState::Failed).await.error;
    assert!(
        error.starts_with("its result cannot be registered: ") && error.contains("no such file or folder"),
        "{error}"
    );
    assert!(platform.list_datasets().await.is_ok(), "the server goes on");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_fails_the_job() {
    let world = World::new();
    let platform = world.open().await;
    let launcher = platform::jobs::LocalLauncher::new(world.path().join("gone"));
    let runner = platform.run_jobs(std::sync::Arc::new(launcher), settings());
    let id = submit(&platform, "true").await;
    let error = until_state(&platform, &id, JobState::Failed).await.error;
    assert!(error.starts_with("cannot start ") && error.contains("gone"), "{error}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_asked_to_stop_and_then_killed() {
    let world = World::new();
    let platform = world.open().await;
    let runner = run(&platform);
    let polite = "trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    let id = submit(&platform, polite).await;
    until_log(&platform, &id, "up").await;
    until_state(&platform, &id, JobState::Running).await;
    assert_eq!(platform.delete_job(P, &id).await.unwrap_err().kind(), Kind::FailedPrecondition);
    let job = platform.cancel_job(P, &id).await.unwrap();
    assert_eq!(job.state, JobState::Cancelling);
    until_state(&platform, &id, JobState::Cancelled).await;
    assert!(log(&platform, &id).await.ends_with("stopping\n"));
    runner.stop().await;

    // One that does not listen, and neither does what it started.
    let runner = run_with(&platform, JobSettings { grace: Duration::from_secs(2), ..settings() });
    let deaf =
        submit(&platform, "trap '' TERM; sh -c 'echo $$ > inner; sleep 1000' & echo up; wait; sleep 1000")
            .await;
    until_log(&platform, &deaf, "up").await;
    until(&platform, &deaf, |job| {
        job.state == JobState::Running && world.job_dir(&deaf).join("inner").exists()
    })
    .await;
    platform.cancel_job(P, &deaf).await.unwrap();
    // Once more changes nothing.
    platform.cancel_job(P, &deaf).await.unwrap();
    until_state(&platform, &deaf, JobState::Cancelled).await;
    let inner = std::fs::read_to_string(world.job_dir(&deaf).join("inner")).unwrap();
    until(&platform, &deaf, |_| !is_alive(inner.trim())).await;
    runner.stop().await;
}

/// Whether a process runs; one that nobody has waited for does not.
fn is_alive(pid: &str) -> bool {
    let ps = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(ps.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_in_order_within_the_limits() {
    let world = World::new();
    let platform = world.open().await;
    let runner = run_with(&platform, JobSettings { max_running: 1, max_queued: 2, ..settings() });
    let wait = "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 1";
    let first = submit(&platform, wait).await;
    until_state(&platform, &first, JobState::Running).await;
    let second = submit(&platform, wait).await;
    let third = submit(&platform, wait).await;
    let refused = platform.submit_job(request(wait)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ResourceExhausted);
    assert!(refused.to_string().contains("2 jobs are queued, and at most 2 may be"), "{refused}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(platform.get_job(P, &second).await.unwrap().state, JobState::Queued);

    // One that waits is out of the queue at once, and leaves its place.
    assert_eq!(platform.cancel_job(P, &second).await.unwrap().state, JobState::Cancelled);
    let fourth = submit(&platform, wait).await;
    std::fs::write(world.job_dir(&first).join("go"), "").unwrap();
    until_state(&platform, &third, JobState::Running).await;
    assert_eq!(platform.get_job(P, &first).await.unwrap().state, JobState::Failed);
    assert_eq!(platform.get_job(P, &fourth).await.unwrap().state, JobState::Queued);
    assert_eq!(platform.get_job(P, &second).await.unwrap().attempts, 0);
    std::fs::write(world.job_dir(&third).join("go"), "").unwrap();
    until_state(&platform, &fourth, JobState::Running).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_to_its_end_and_kept_to_a_size() {
    let world = World::new();
    let platform = world.open().await;
    let runner = run_with(&platform, JobSettings { max_log_bytes: 4000, ..settings() });
    let id = submit(&platform, "i=0; while [ $i -lt 400 ]; do echo line $i is here; i=$((i+1)); [ $((i%40)) = 0 ] && sleep 0.1; done; exit 1").await;
    let (mut offset, mut text) = (0, String::new());
    loop {
        let log = platform.job_log(P, &id, offset, Duration::from_secs(5)).await.unwrap();
        assert!(log.part.offset >= offset, "offsets only grow");
        offset = log.part.next_offset;
        text += &log.part.text;
        if log.part.text.is_empty() && log.state.has_ended() {
            break;
        }
    }
    assert!(text.starts_with("line 0 is here\n") && text.ends_with("line 399 is here\n"), "{text}");
    until_state(&platform, &id, JobState::Failed).await;
    assert!(std::fs::metadata(world.job_dir(&id).join("log.txt")).unwrap().len() <= 4000);
    let whole: usize = (0..400).map(|i| format!("line {i} is here\n").len()).sum();
    assert_eq!(offset as usize, whole);
    runner.stop().await;
}
