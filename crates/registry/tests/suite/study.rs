//! Studies and their trials, in any store.

use registry::{Error, NewStudy, Store, TrialEnd, TrialFilter, TrialState};
use serde_json::json;

use crate::{P, at, text};

fn new_study(project: &str, id: &str, model: &str, dataset: &str) -> NewStudy {
    NewStudy {
        project: project.to_owned(),
        id: id.to_owned(),
        model: model.to_owned(),
        dataset: dataset.to_owned(),
        spec: json!({"fit.learning_rate": [1e-4, 0.1 + 0.2]}),
    }
}

fn good() -> TrialEnd {
    TrialEnd::Succeeded { metrics: json!({"rank_ic": 0.1 + 0.2}), bundle_digest: Some("ab".repeat(32)) }
}

fn bad() -> TrialEnd {
    TrialEnd::Failed { error: "the loss is not finite".to_owned() }
}

pub(crate) async fn trials_are_numbered_as_they_begin(store: &dyn Store) {
    let study = store.create_study(new_study(P, "s", "m", "us"), at(0)).await.unwrap();
    assert_eq!((study.model.as_str(), study.dataset.as_str()), ("m", "us"));
    assert_eq!(study.spec, new_study(P, "s", "m", "us").spec);
    assert_eq!(store.get_study(P, "s").await.unwrap(), study);
    let parameters = json!({"fit.learning_rate": 0.1 + 0.2, "note": "é"});
    let first = store.start_trial(P, "s", parameters.clone(), at(1)).await.unwrap();
    assert_eq!((first.number, first.state, &first.parameters), (1, TrialState::Running, &parameters));
    assert_eq!((first.started_at.as_microsecond(), first.finished_at), (at(1).as_microsecond(), None));
    assert_eq!(store.start_trial(P, "s", json!({}), at(2)).await.unwrap().number, 2);
    let done = store.finish_trial(P, "s", 1, good(), at(3)).await.unwrap();
    assert_eq!((done.state, &done.metrics), (TrialState::Succeeded, &json!({"rank_ic": 0.1 + 0.2})));
    assert_eq!(done.bundle_digest.as_deref(), Some("ab".repeat(32).as_str()));
    assert_eq!(done.finished_at.unwrap().as_microsecond(), at(3).as_microsecond());
    let stopped = TrialEnd::Stopped { metrics: json!({"val_loss": 2.3}) };
    let second = store.finish_trial(P, "s", 2, stopped, at(4)).await.unwrap();
    assert_eq!((second.state, second.bundle_digest.as_ref()), (TrialState::Stopped, None));
    assert_eq!(store.start_trial(P, "s", json!({}), at(5)).await.unwrap().number, 3);
    let failed = store.finish_trial(P, "s", 3, bad(), at(6)).await.unwrap();
    assert_eq!((failed.state, failed.error.as_str()), (TrialState::Failed, "the loss is not finite"));
    assert_eq!(store.list_trials(P, "s", None, 10).await.unwrap(), [done, second, failed]);
}

pub(crate) async fn a_trial_ends_once(store: &dyn Store) {
    store.create_study(new_study(P, "s", "m", "us"), at(0)).await.unwrap();
    assert!(matches!(
        store.create_study(new_study(P, "s", "m", "us"), at(0)).await,
        Err(Error::AlreadyExists(_))
    ));
    store.start_trial(P, "s", json!({}), at(1)).await.unwrap();
    let broken = TrialEnd::Succeeded { metrics: json!({}), bundle_digest: Some("xy".to_owned()) };
    let refused = store.finish_trial(P, "s", 1, broken, at(2)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    let done = store.finish_trial(P, "s", 1, good(), at(2)).await.unwrap();
    let refused = text(store.finish_trial(P, "s", 1, bad(), at(3)).await);
    assert_eq!(refused, "trial 1 of study \"s\" has succeeded already and cannot end again");
    assert_eq!(store.list_trials(P, "s", None, 10).await.unwrap(), [done]);
    let unknown = text(store.finish_trial(P, "s", 2, good(), at(3)).await);
    assert_eq!(unknown, "study \"s\" has no trial 2");
}

pub(crate) async fn trials_are_counted_for_good(store: &dyn Store) {
    for (project, id, model, dataset, trials) in
        [(P, "a", "m", "us", 3), (P, "b", "m", "eu", 2), (P, "c", "n", "us", 4), ("other", "a", "m", "us", 5)]
    {
        store.create_study(new_study(project, id, model, dataset), at(0)).await.unwrap();
        for n in 1..=trials {
            store.start_trial(project, id, json!({"n": n}), at(1)).await.unwrap();
        }
    }
    store.finish_trial(P, "a", 1, good(), at(2)).await.unwrap();
    store.finish_trial(P, "a", 2, bad(), at(2)).await.unwrap();
    let count = async |model: Option<&str>, dataset: Option<&str>| {
        let filter = TrialFilter { model, dataset };
        let count = store.count_trials(P, filter).await.unwrap();
        (count.begun, count.succeeded)
    };
    assert_eq!(count(None, None).await, (9, 1));
    assert_eq!(count(Some("m"), None).await, (5, 1));
    assert_eq!(count(None, Some("us")).await, (7, 1));
    assert_eq!(count(Some("m"), Some("eu")).await, (2, 0));
    assert_eq!(count(Some("x"), None).await, (0, 0));
}

pub(crate) async fn studies_and_trials_are_listed_and_what_is_missing_is_named(store: &dyn Store) {
    let none = text(store.get_study(P, "s").await);
    assert_eq!(none, "project \"default\" has no study \"s\"; there are no studies");
    for id in ["b", "a", "c"] {
        store.create_study(new_study(P, id, "m", "us"), at(0)).await.unwrap();
    }
    let ids = |studies: Vec<registry::Study>| studies.into_iter().map(|study| study.id).collect::<Vec<_>>();
    assert_eq!(ids(store.list_studies(P, None, 2).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(store.list_studies(P, Some("b"), 2).await.unwrap()), ["c"]);
    let unknown = text(store.start_trial(P, "s", json!({}), at(1)).await);
    assert_eq!(unknown, "project \"default\" has no study \"s\"; studies: a, b, c");
    assert!(matches!(store.list_trials(P, "s", None, 9).await, Err(Error::NotFound(_))));
    for _ in 0..12 {
        store.start_trial(P, "a", json!({}), at(1)).await.unwrap();
    }
    let numbers = async |after, limit| {
        let trials = store.list_trials(P, "a", after, limit).await.unwrap();
        trials.into_iter().map(|trial| trial.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 2).await, [1, 2]);
    assert_eq!(numbers(Some(9), 9).await, [10, 11, 12]);
    assert_eq!(store.list_trials(P, "b", None, 9).await.unwrap(), []);
    for new in [
        new_study(P, "a/b", "m", "us"),
        new_study(P, "d", "M", "us"),
        new_study(P, "d", "m", "U S"),
        new_study("P", "d", "m", "us"),
    ] {
        assert!(matches!(store.create_study(new, at(0)).await, Err(Error::InvalidArgument { .. })));
    }
}
