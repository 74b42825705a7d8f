//! Jobs, in any store.

use jiff::Timestamp;
use registry::{Error, JobChange, JobState, MadeVersion, NewJob, Store};
use serde_json::json;

use crate::{P, at, text};

fn new_job(project: &str, id: &str) -> NewJob {
    NewJob {
        project: project.to_owned(),
        id: id.to_owned(),
        kind: "train".to_owned(),
        display_name: "Décile 📈".to_owned(),
        labels: [("team".to_owned(), "équipe".to_owned())].into(),
        spec: json!({"pipeline": "version = 1\n"}),
    }
}

pub(crate) async fn a_job_runs_from_queue_to_version(store: &dyn Store) {
    let queued = store.create_job(new_job(P, "1"), at(0)).await.unwrap();
    let new = new_job(P, "1");
    assert_eq!(
        (&queued.kind, &queued.display_name, &queued.labels),
        (&new.kind, &new.display_name, &new.labels)
    );
    assert_eq!((&queued.spec, &queued.inputs), (&new.spec, &json!(null)));
    assert_eq!((queued.state, queued.attempts, queued.started_at), (JobState::Queued, 0, None));
    assert_eq!(queued.created_at.as_microsecond(), at(0).as_microsecond());
    assert_eq!(store.get_job(P, "1").await.unwrap(), queued);
    assert!(matches!(store.create_job(new_job(P, "1"), at(0)).await, Err(Error::AlreadyExists(_))));

    let change = async |change, second| store.change_job(P, "1", change, at(second)).await.unwrap();
    let pending = change(JobChange::Prepare, 1).await;
    assert_eq!((pending.state, pending.attempts), (JobState::Pending, 1));
    let inputs = json!({"dataset": "us", "snapshot": 3});
    assert_eq!(change(JobChange::Settle { inputs: inputs.clone() }, 2).await.inputs, inputs);
    let running = change(JobChange::Start, 3).await;
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    assert_eq!((running.state, micros(running.started_at)), (JobState::Running, micros(Some(at(3)))));
    change(JobChange::Requeue, 4).await;
    change(JobChange::Prepare, 5).await;
    let again = change(JobChange::Start, 6).await;
    assert_eq!((again.attempts, again.started_at, again.ended_at), (2, running.started_at, None));
    assert_eq!((&again.inputs, store.list_unfinished_jobs().await.unwrap().len()), (&inputs, 1));
    let made = MadeVersion { model: "m".to_owned(), version: 7 };
    let done = change(JobChange::Succeed { model: "m".to_owned(), version: 7 }, 7).await;
    assert_eq!((done.state, done.made.as_ref()), (JobState::Succeeded, Some(&made)));
    assert_eq!(
        (micros(done.ended_at), micros(Some(done.updated_at))),
        (micros(Some(at(7))), micros(Some(at(7))))
    );
    assert_eq!(store.get_job(P, "1").await.unwrap(), done);
    assert_eq!(store.list_unfinished_jobs().await.unwrap(), []);
}

pub(crate) async fn an_illegal_change_leaves_the_job_as_it_was(store: &dyn Store) {
    store.create_job(new_job(P, "1"), at(0)).await.unwrap();
    let change = async |change| store.change_job(P, "1", change, at(1)).await;
    let refused = text(change(JobChange::Start).await);
    assert_eq!(refused, "job \"1\" is queued and cannot be started");
    assert_eq!(text(store.delete_job(P, "1").await), "job \"1\" is queued; cancel it before it is deleted");
    assert_eq!(store.get_job(P, "1").await.unwrap().updated_at.as_microsecond(), at(0).as_microsecond());

    change(JobChange::Prepare).await.unwrap();
    change(JobChange::Start).await.unwrap();
    let failed = change(JobChange::Fail { error: "é".repeat(20_000) }).await.unwrap();
    assert_eq!((failed.state, failed.error.len()), (JobState::Failed, 16 << 10));
    let refused = change(JobChange::Cancel).await;
    assert!(matches!(refused, Err(Error::FailedPrecondition(_))));
    assert_eq!(store.get_job(P, "1").await.unwrap(), failed);
    let again = change(JobChange::Requeue).await.unwrap();
    assert_eq!((again.state, again.error.as_str(), again.ended_at), (JobState::Queued, "", None));
    assert_eq!(change(JobChange::Cancel).await.unwrap().state, JobState::Cancelled);
    store.delete_job(P, "1").await.unwrap();
    assert_eq!(text(store.get_job(P, "1").await), "project \"default\" has no job \"1\"; there are no jobs");
    assert!(matches!(store.delete_job(P, "1").await, Err(Error::NotFound(_))));
    assert!(matches!(change(JobChange::Cancel).await, Err(Error::NotFound(_))));

    let bad = |change: fn(&mut NewJob)| {
        let mut new = new_job(P, "2");
        change(&mut new);
        new
    };
    for new in [
        bad(|new| new.id = "a/b".to_owned()),
        bad(|new| new.id = String::new()),
        bad(|new| new.kind = "Train".to_owned()),
        bad(|new| new.project = "P".to_owned()),
        bad(|new| new.display_name = "x".repeat(129)),
        bad(|new| new.spec = json!("x".repeat(2 << 20))),
    ] {
        assert!(matches!(store.create_job(new, at(0)).await, Err(Error::InvalidArgument { .. })));
    }
}

pub(crate) async fn jobs_are_listed_in_order_and_the_oldest_ended_go(store: &dyn Store) {
    for (project, id, second) in [(P, "3", 3), (P, "1", 9), ("other", "2", 2), (P, "4", 4), (P, "5", 5)] {
        store.create_job(new_job(project, id), at(second)).await.unwrap();
    }
    let ids = |jobs: Vec<registry::Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(store.list_jobs(P, &[], None, 2).await.unwrap()), ["1", "3"]);
    assert_eq!(ids(store.list_jobs(P, &["search", "train"], Some("3"), 9).await.unwrap()), ["4", "5"]);
    assert!(store.list_jobs(P, &["search", "rain"], None, 9).await.unwrap().is_empty());
    assert_eq!(ids(store.list_unfinished_jobs().await.unwrap()), ["2", "3", "4", "5", "1"]);
    for (id, second) in [("4", 10), ("3", 11), ("5", 12)] {
        store.change_job(P, id, JobChange::Cancel, at(second)).await.unwrap();
    }
    assert_eq!(ids(store.list_unfinished_jobs().await.unwrap()), ["2", "1"]);
    assert_eq!(store.forget_jobs(P, 3).await.unwrap(), [""; 0]);
    assert_eq!(store.forget_jobs(P, 1).await.unwrap(), ["3", "4"]);
    assert_eq!(ids(store.list_jobs(P, &[], None, 9).await.unwrap()), ["1", "5"]);
    assert_eq!(store.list_jobs("other", &[], None, 9).await.unwrap().len(), 1);
}
