//! What every store must do. Each case runs over a database file and over one in memory; another store joins by
//! one more line at the end.

#![allow(clippy::unwrap_used)]

mod attempt;
mod job;
mod study;
mod upkeep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use predictor::{DataType, Signature, TensorSpec};
use registry::{
    Deployment, DeploymentLimits, EndpointUpdate, Error, MAX_OPERATIONS, ModelTexts, NewEndpoint,
    NewOperation, NewSnapshot, NewVersion, OperationOutcome, Residence, SqliteStore, Store, TrafficSplit,
    UnfinishedUpload, UploadMode,
};
use serde_json::json;

use attempt::{a_failed_attempt_is_remembered_until_one_succeeds, failed_operations_displace_no_others};
use job::{
    a_job_runs_from_queue_to_version, an_illegal_change_leaves_the_job_as_it_was,
    jobs_are_listed_in_order_and_the_oldest_ended_go,
};
use study::{
    a_trial_ends_once, studies_and_trials_are_listed_and_what_is_missing_is_named,
    trials_are_counted_for_good, trials_are_numbered_as_they_begin,
};

use upkeep::{
    a_deployment_changes_in_its_place, aliases_move_and_the_default_is_never_taken_away,
    keys_are_made_listed_and_revoked, what_is_deleted_is_out_of_sight_and_its_number_is_not_used_again,
    what_is_said_of_a_model_is_said_with_each_of_its_versions,
};

const P: &str = "default";

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 123_456_789).unwrap()
}

fn new_version() -> NewVersion {
    let spec = |name: &str, columns| TensorSpec {
        name: name.to_owned(),
        dtype: DataType::Float32,
        shape: vec![None, Some(columns)],
    };
    NewVersion {
        about: ModelTexts {
            display_name: "Décile \"10\" 📈".to_owned(),
            description: "what it is".to_owned(),
            labels: [("desk".to_owned(), "us".to_owned()), ("team".to_owned(), "all".to_owned())].into(),
        },
        description: "line\nline".to_owned(),
        artifact_uri: "file:///a/default/m/1".to_owned(),
        bundle_digest: "ab".repeat(32),
        signature: Signature { inputs: vec![spec("features", 75)], outputs: vec![spec("probabilities", 10)] },
        summary: json!({"metrics": {"rank_ic": 0.1 + 0.2, "tiny": 5e-324}, "big": u64::MAX, "none": null}),
        aliases: vec![],
        labels: [("team".to_owned(), "équipe".to_owned())].into(),
    }
}

fn with_aliases(aliases: &[&str]) -> NewVersion {
    NewVersion { aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(), ..new_version() }
}

async fn upload(store: &dyn Store, project: &str, model: &str, new: NewVersion) -> u32 {
    let version = store.reserve_version(project, model, UploadMode::Either, at(0)).await.unwrap();
    store.commit_version(project, model, version, new, at(1)).await.unwrap();
    version
}

async fn create_endpoint(store: &dyn Store, project: &str, id: &str) {
    let (project, id) = (project.to_owned(), id.to_owned());
    let new = NewEndpoint {
        project,
        id,
        display_name: "live".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    store.create_endpoint(new, at(2)).await.unwrap();
}

fn deployment(id: &str, version: u32) -> Deployment {
    Deployment {
        id: id.to_owned(),
        model: "m".to_owned(),
        version,
        display_name: "d".to_owned(),
        cpu_cores: 0.1 + 0.2,
        memory_gb: 4.0,
        machine_type: Some("n1-standard-2".to_owned()),
        engine: Some("onnxruntime".to_owned()),
        shadow_percent: Some(20),
        residence: Residence::OnDemand,
        limits: DeploymentLimits {
            max_delay_us: Some(0),
            max_queued_requests: Some(9),
            ..Default::default()
        },
        created_at: Timestamp::from_microsecond(at(3).as_microsecond()).unwrap(),
    }
}

fn split(parts: &[(&str, u8)]) -> Option<TrafficSplit> {
    Some(parts.iter().map(|(id, percent)| ((*id).to_owned(), *percent)).collect())
}

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

async fn a_version_is_returned_as_it_was_registered(store: &dyn Store) {
    let version = store.reserve_version(P, "m", UploadMode::NewModel, at(0)).await.unwrap();
    let registered = store.commit_version(P, "m", version, new_version(), at(1)).await.unwrap();
    let new = new_version();
    assert_eq!((registered.project.as_str(), registered.model.as_str(), registered.version), (P, "m", 1));
    assert_eq!(registered.aliases, ["default"]);
    assert_eq!((&registered.about, &registered.description), (&new.about, &new.description));
    let labels = registered.all_labels();
    assert_eq!((labels["desk"].as_str(), labels["team"].as_str()), ("us", "équipe"), "the version's counts");
    assert_eq!(
        (&registered.artifact_uri, &registered.bundle_digest),
        (&new.artifact_uri, &new.bundle_digest)
    );
    assert_eq!((&registered.signature, &registered.summary), (&new.signature, &new.summary));
    assert_eq!(registered.labels, new.labels);
    let micros = |time: Timestamp| time.as_microsecond();
    assert_eq!(
        (micros(registered.created_at), micros(registered.updated_at)),
        (micros(at(0)), micros(at(1)))
    );
    assert_eq!(store.get_version(P, "m").await.unwrap(), registered);
    assert_eq!(store.list_projects().await.unwrap(), [P]);
}

async fn a_version_being_uploaded_is_not_seen(store: &dyn Store) {
    assert_eq!(store.reserve_version(P, "m", UploadMode::NewModel, at(0)).await.unwrap(), 1);
    assert!(matches!(store.get_version(P, "m").await, Err(Error::NotFound(_))));
    assert!(matches!(store.get_version(P, "m@1").await, Err(Error::NotFound(_))));
    assert!(matches!(store.list_versions(P, "m").await, Err(Error::NotFound(_))));
    assert_eq!(store.list_models(P, None, 10).await.unwrap(), []);
    let unfinished = UnfinishedUpload { project: P.to_owned(), model: "m".to_owned(), version: 1 };
    assert_eq!(store.list_uploading().await.unwrap(), [unfinished]);
    assert_eq!(store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap(), 2);

    store.commit_version(P, "m", 2, new_version(), at(1)).await.unwrap();
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 2);
    store.commit_version(P, "m", 1, new_version(), at(1)).await.unwrap();
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 2);
    assert_eq!(store.list_uploading().await.unwrap(), []);
}

async fn an_abandoned_number_is_given_again_and_a_registered_one_never(store: &dyn Store) {
    assert_eq!(store.reserve_version(P, "m", UploadMode::NewModel, at(0)).await.unwrap(), 1);
    store.abandon_version(P, "m", 1).await.unwrap();
    assert!(store.list_uploading().await.unwrap().is_empty());
    // The model has gone with its only version.
    assert_eq!(store.reserve_version(P, "m", UploadMode::NewModel, at(0)).await.unwrap(), 1);
    store.commit_version(P, "m", 1, new_version(), at(1)).await.unwrap();
    store.abandon_version(P, "m", 1).await.unwrap();
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 1);
    assert_eq!(store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap(), 2);
    store.abandon_version(P, "m", 2).await.unwrap();
    assert_eq!(store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap(), 2);
    for (version, model) in [(3, "m"), (1, "m"), (1, "n")] {
        let refused = store.commit_version(P, model, version, new_version(), at(1)).await;
        assert!(matches!(refused, Err(Error::FailedPrecondition(_))), "{version} {model}");
    }
}

async fn an_upload_belongs_to_the_model_it_names(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    let taken = text(store.reserve_version(P, "m", UploadMode::NewModel, at(0)).await);
    assert_eq!(
        taken,
        "project \"default\" already has a model \"m\"; upload a version of it, or choose another id"
    );
    let unknown = text(store.reserve_version(P, "n", UploadMode::ExistingModel, at(0)).await);
    assert_eq!(unknown, "project \"default\" has no model \"n\"; models: m");
    assert_eq!(store.reserve_version(P, "m", UploadMode::ExistingModel, at(0)).await.unwrap(), 2);
    for (project, model) in [("P", "m"), (P, "../m"), (P, "M"), ("", "m")] {
        let refused = store.reserve_version(project, model, UploadMode::Either, at(0)).await;
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{project} {model}");
    }
}

async fn each_alias_is_on_one_version(store: &dyn Store) {
    upload(store, P, "m", with_aliases(&["champion"])).await;
    upload(store, P, "m", with_aliases(&["challenger"])).await;
    let aliases = async || {
        let versions = store.list_versions(P, "m").await.unwrap();
        versions.into_iter().map(|version| version.aliases.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(aliases().await, ["champion default", "challenger"]);
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 1);
    upload(store, P, "m", with_aliases(&["default", "champion", "champion"])).await;
    assert_eq!(aliases().await, ["", "challenger", "champion default"]);
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 3);
    assert_eq!(store.get_version(P, "m@challenger").await.unwrap().version, 2);
    assert_eq!(store.get_version(P, "m@1").await.unwrap().version, 1);

    let version = store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap();
    let refused = store.commit_version(P, "m", version, with_aliases(&["default", "4"]), at(1)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { field: "versionAliases", .. })));
    assert_eq!(aliases().await, ["", "challenger", "champion default"]);
    assert_eq!(store.list_uploading().await.unwrap().len(), 1);
}

async fn what_is_not_there_is_named_with_what_is(store: &dyn Store) {
    let empty = text(store.get_version(P, "m").await);
    assert_eq!(empty, "project \"default\" has no model \"m\"; there are no models");
    for _ in 0..3 {
        upload(store, P, "m", new_version()).await;
    }
    upload(store, P, "a", new_version()).await;
    let check = async |reference: &str, expected: &str| {
        assert_eq!(text(store.get_version(P, reference).await), expected);
    };
    check("x", "project \"default\" has no model \"x\"; models: a, m").await;
    check("x@1", "project \"default\" has no model \"x\"; models: a, m").await;
    check("m@7", "model \"m\" has no version 7; versions: 3, 2, 1").await;
    check("m@prod", "model \"m\" has no alias \"prod\"; aliases: default (version 1)").await;
    check("m@Prod!", "model \"m\" has no version \"Prod!\": after \"@\" comes a version number or an alias")
        .await;
    let endpoint = text(store.get_endpoint(P, "e").await);
    assert_eq!(endpoint, "project \"default\" has no endpoint \"e\"; there are no endpoints");
    let dataset = text(store.get_dataset(P, "d").await);
    assert_eq!(dataset, "project \"default\" has no data set \"d\"; there are no data sets");
    assert!(matches!(store.get_operation(P, "1").await, Err(Error::NotFound(_))));
}

async fn lists_come_in_pages_in_a_stable_order(store: &dyn Store) {
    for id in ["b", "a", "c", "b-1", "_x", "9"] {
        upload(store, P, id, new_version()).await;
    }
    upload(store, P, "b", with_aliases(&["default"])).await;
    upload(store, "other", "b", new_version()).await;
    for id in ["b", "a", "c", "9"] {
        create_endpoint(store, P, id).await;
    }
    create_endpoint(store, "other", "a").await;
    let models = async |after, limit| {
        let page = store.list_models(P, after, limit).await.unwrap();
        page.iter().map(|version| format!("{}@{}", version.model, version.version)).collect::<Vec<_>>()
    };
    assert_eq!(models(None, 100).await, ["9@1", "_x@1", "a@1", "b@2", "b-1@1", "c@1"]);
    assert_eq!(models(None, 2).await, ["9@1", "_x@1"]);
    assert_eq!(models(Some("_x"), 3).await, ["a@1", "b@2", "b-1@1"]);
    assert_eq!(models(Some("c"), 3).await, [""; 0]);
    assert_eq!(models(Some("not there"), usize::MAX).await.len(), 0);
    let endpoints = async |after, limit| {
        let page = store.list_endpoints(P, after, limit).await.unwrap();
        page.into_iter().map(|endpoint| endpoint.id).collect::<Vec<_>>()
    };
    assert_eq!(endpoints(None, 3).await, ["9", "a", "b"]);
    assert_eq!(endpoints(Some("b"), 3).await, ["c"]);
    assert_eq!(endpoints(None, 0).await, [""; 0]);
    let all = store.list_all_endpoints().await.unwrap();
    let all: Vec<_> = all.iter().map(|endpoint| format!("{}/{}", endpoint.project, endpoint.id)).collect();
    assert_eq!(all, ["default/9", "default/a", "default/b", "default/c", "other/a"]);
}

async fn deployments_come_and_go_with_their_traffic(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    upload(store, P, "m", new_version()).await;
    create_endpoint(store, P, "e").await;
    create_endpoint(store, P, "f").await;
    let first = store.deploy(P, "e", deployment("10", 1), split(&[("0", 100)]), at(4)).await.unwrap();
    assert_eq!(first.deployments, [deployment("10", 1)]);
    assert_eq!(Some(first.traffic_split), split(&[("10", 100)]));
    assert_eq!(first.updated_at.as_microsecond(), at(4).as_microsecond());
    store.deploy(P, "f", deployment("1", 2), None, at(4)).await.unwrap();
    let second =
        store.deploy(P, "e", deployment("9", 2), split(&[("0", 25), ("10", 75)]), at(5)).await.unwrap();
    let ids: Vec<_> = second.deployments.iter().map(|deployment| deployment.id.as_str()).collect();
    assert_eq!(ids, ["9", "10"]);
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), second);
    assert_eq!(store.list_endpoints(P, None, 1).await.unwrap(), std::slice::from_ref(&second));
    let all = store.list_all_endpoints().await.unwrap();
    assert_eq!((&all[0], all[1].deployments.len()), (&second, 1));

    let refused = store.undeploy(P, "e", "10", None, at(6)).await;
    assert!(matches!(refused, Err(Error::FailedPrecondition(_))));
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), second);
    let left = store.undeploy(P, "e", "10", split(&[("9", 100)]), at(6)).await.unwrap();
    assert_eq!((left.deployments.len(), Some(left.traffic_split)), (1, split(&[("9", 100)])));
    let empty = store.undeploy(P, "e", "9", None, at(7)).await.unwrap();
    assert!(empty.deployments.is_empty() && empty.traffic_split.is_empty());
    assert!(matches!(store.undeploy(P, "e", "9", None, at(7)).await, Err(Error::NotFound(_))));
}

async fn an_illegal_deployment_leaves_the_endpoint_as_it_was(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap();
    create_endpoint(store, P, "e").await;
    store.deploy(P, "e", deployment("1", 1), split(&[("0", 100)]), at(4)).await.unwrap();
    let before = store.get_endpoint(P, "e").await.unwrap();
    let deploy = async |endpoint, new, traffic| store.deploy(P, endpoint, new, traffic, at(5)).await;
    assert!(matches!(deploy("e", deployment("1", 1), None).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(deploy("x", deployment("2", 1), None).await, Err(Error::NotFound(_))));
    let uploading = text(deploy("e", deployment("2", 2), split(&[("0", 100)])).await);
    assert_eq!(uploading, "project \"default\" has no model \"m\" with version 2; upload it first");
    let unwhole = deploy("e", deployment("2", 1), split(&[("0", 50)])).await;
    assert!(matches!(unwhole, Err(Error::InvalidArgument { field: "trafficSplit", .. })));
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), before);
    let again = NewEndpoint {
        project: P.to_owned(),
        id: "e".to_owned(),
        display_name: String::new(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    let taken = text(store.create_endpoint(again, at(5)).await);
    assert_eq!(taken, "project \"default\" already has an endpoint \"e\"; use it, or choose another id");
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), before);
}

async fn an_endpoint_can_be_changed(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    create_endpoint(store, P, "e").await;
    store.deploy(P, "e", deployment("1", 1), split(&[("0", 100)]), at(4)).await.unwrap();
    let read = store.get_endpoint(P, "e").await.unwrap().etag();
    let update = EndpointUpdate {
        etag: Some(read.clone()),
        display_name: Some("new".to_owned()),
        description: Some("why".to_owned()),
        labels: Some([("k".to_owned(), "v".to_owned())].into()),
        traffic_split: None,
    };
    let changed = store.update_endpoint(P, "e", update, at(8)).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.labels["k"].as_str()), ("new", "v"));
    assert_eq!(Some(&changed.traffic_split), split(&[("1", 100)]).as_ref());
    assert_eq!(changed.updated_at.as_microsecond(), at(8).as_microsecond());
    let late = EndpointUpdate { etag: Some(read), ..EndpointUpdate::default() };
    let refused = store.update_endpoint(P, "e", late, at(8)).await;
    assert!(matches!(&refused, Err(Error::Aborted(why)) if why.contains(&changed.etag())), "{refused:?}");
    let current = EndpointUpdate { etag: Some(changed.etag()), ..EndpointUpdate::default() };
    let again = store.update_endpoint(P, "e", current, at(8)).await.unwrap();
    assert_ne!(again.etag(), changed.etag(), "also if the clock stands still");
    let update = EndpointUpdate { traffic_split: Some(BTreeMap::new()), ..EndpointUpdate::default() };
    let silent = store.update_endpoint(P, "e", update, at(9)).await.unwrap();
    assert!(silent.traffic_split.is_empty() && silent.display_name == "new");
    assert_eq!(silent.description, "why", "what is not named stays");
    let long = EndpointUpdate { description: Some("x".repeat(1 << 17)), ..EndpointUpdate::default() };
    let refused = store.update_endpoint(P, "e", long, at(9)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { field: "description", .. })));
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), silent);
}

async fn snapshots_of_a_data_set_only_grow(store: &dyn Store) {
    let snapshot = |number, digest: &str| NewSnapshot {
        project: P.to_owned(),
        name: "sp500-20".to_owned(),
        snapshot: number,
        digest: digest.repeat(32),
    };
    let first = store.put_snapshot(snapshot(1, "aa"), at(0)).await.unwrap();
    assert_eq!((first.snapshot, first.digest.len()), (1, 64));
    assert_eq!(store.put_snapshot(snapshot(1, "aa"), at(5)).await.unwrap(), first);
    let third = store.put_snapshot(snapshot(3, "bb"), at(6)).await.unwrap();
    assert_eq!((third.snapshot, third.created_at), (3, first.created_at));
    assert_eq!(third.updated_at.as_microsecond(), at(6).as_microsecond());
    for old in [snapshot(3, "aa"), snapshot(2, "aa")] {
        let refused = store.put_snapshot(old, at(7)).await;
        assert!(matches!(refused, Err(Error::FailedPrecondition(_))));
    }
    for bad in [snapshot(0, "aa"), snapshot(4, "a"), snapshot(4, "XX")] {
        assert!(matches!(store.put_snapshot(bad, at(7)).await, Err(Error::InvalidArgument { .. })));
    }
    assert_eq!(store.get_dataset(P, "sp500-20").await.unwrap(), third);
    assert_eq!(store.list_datasets(P, None, 10).await.unwrap(), [third]);
    assert_eq!(store.list_datasets(P, Some("sp500-20"), 10).await.unwrap(), []);
}

async fn operations_are_kept_up_to_a_limit(store: &dyn Store) {
    let new = |n: usize| NewOperation {
        project: P.to_owned(),
        parent: "models/m".to_owned(),
        kind: "UploadModel".to_owned(),
        outcome: OperationOutcome::Response(json!({"n": n})),
    };
    let extra = 5;
    for n in 0..MAX_OPERATIONS + extra {
        store.put_operation(&n.to_string(), new(n), at(0)).await.unwrap();
    }
    let last = MAX_OPERATIONS + extra - 1;
    let newest = store.list_operations(P, 3).await.unwrap();
    let ids: Vec<_> = newest.iter().map(|operation| operation.id.clone()).collect();
    assert_eq!(ids, [last.to_string(), (last - 1).to_string(), (last - 2).to_string()]);
    assert_eq!(newest[0].outcome, OperationOutcome::Response(json!({"n": last})));
    assert_eq!(store.get_operation(P, &last.to_string()).await.unwrap(), newest[0]);
    assert_eq!(store.list_operations(P, usize::MAX).await.unwrap().len(), MAX_OPERATIONS);
    assert!(matches!(store.get_operation(P, "4").await, Err(Error::NotFound(_))));
    store.delete_operation(P, "6").await.unwrap();
    assert!(matches!(store.get_operation(P, "6").await, Err(Error::NotFound(_))));
    assert!(matches!(store.delete_operation(P, "6").await, Err(Error::NotFound(_))));
    assert!(store.get_operation(P, "5").await.is_ok());
    assert!(matches!(store.put_operation("5", new(5), at(0)).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(store.put_operation("a/b", new(5), at(0)).await, Err(Error::InvalidArgument { .. })));
}

async fn texts_have_limits(store: &dyn Store) {
    let version = store.reserve_version(P, "m", UploadMode::Either, at(0)).await.unwrap();
    let about = ModelTexts { display_name: "x".repeat(129), ..ModelTexts::default() };
    let long = NewVersion { about, ..new_version() };
    let huge = NewVersion { summary: json!("x".repeat(2 << 20)), ..new_version() };
    let many = NewVersion { aliases: vec!["aa".to_owned(); 101], ..new_version() };
    for new in [long, huge, many] {
        let refused = store.commit_version(P, "m", version, new, at(1)).await;
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    }
    store.commit_version(P, "m", version, new_version(), at(1)).await.unwrap();
}

/// Many callers at once: every number is given once, every split stays whole, nobody fails.
async fn callers_do_not_disturb_each_other(store: Arc<dyn Store>) {
    const CALLERS: u32 = 16;
    create_endpoint(&*store, P, "e").await;
    upload(&*store, P, "m", new_version()).await;
    let caller = |n: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let version = upload(&*store, P, "m", new_version()).await;
            let new = deployment(&(n + 1).to_string(), version);
            store.deploy(P, "e", new, split(&[("0", 100)]), at(4)).await.unwrap();
            let endpoint = store.get_endpoint(P, "e").await.unwrap();
            let sum: u32 = endpoint.traffic_split.values().map(|percent| u32::from(*percent)).sum();
            assert_eq!((sum, endpoint.traffic_split.len()), (100, endpoint.deployments.len()));
            version
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    let mut versions = Vec::new();
    for caller in callers {
        versions.push(caller.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..2 + CALLERS).collect::<Vec<_>>());
    assert_eq!(store.get_endpoint(P, "e").await.unwrap().deployments.len(), CALLERS as usize);
}

macro_rules! run_suite {
    ($store:ident, $open:ident, [$($case:ident),* $(,)?]) => {
        mod $store {
            use super::*;

            $(
                #[tokio::test]
                async fn $case() {
                    let directory = tempfile::tempdir().unwrap();
                    let store = $open(directory.path().join("registry.sqlite")).await;
                    super::$case(&store).await;
                    store.close().await;
                }
            )*

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn callers_do_not_disturb_each_other() {
                let directory = tempfile::tempdir().unwrap();
                let store = $open(directory.path().join("registry.sqlite")).await;
                super::callers_do_not_disturb_each_other(Arc::new(store)).await;
            }
        }
    };
}

macro_rules! suite {
    ($store:ident, $open:ident) => {
        run_suite!(
            $store,
            $open,
            [
                a_version_is_returned_as_it_was_registered,
                a_version_being_uploaded_is_not_seen,
                an_abandoned_number_is_given_again_and_a_registered_one_never,
                an_upload_belongs_to_the_model_it_names,
                each_alias_is_on_one_version,
                what_is_not_there_is_named_with_what_is,
                lists_come_in_pages_in_a_stable_order,
                deployments_come_and_go_with_their_traffic,
                an_illegal_deployment_leaves_the_endpoint_as_it_was,
                an_endpoint_can_be_changed,
                snapshots_of_a_data_set_only_grow,
                operations_are_kept_up_to_a_limit,
                failed_operations_displace_no_others,
                a_failed_attempt_is_remembered_until_one_succeeds,
                a_job_runs_from_queue_to_version,
                an_illegal_change_leaves_the_job_as_it_was,
                jobs_are_listed_in_order_and_the_oldest_ended_go,
                trials_are_numbered_as_they_begin,
                a_trial_ends_once,
                trials_are_counted_for_good,
                studies_and_trials_are_listed_and_what_is_missing_is_named,
                texts_have_limits,
                a_deployment_changes_in_its_place,
                keys_are_made_listed_and_revoked,
                aliases_move_and_the_default_is_never_taken_away,
                what_is_said_of_a_model_is_said_with_each_of_its_versions,
                what_is_deleted_is_out_of_sight_and_its_number_is_not_used_again,
            ]
        );
    };
}

async fn open_file(path: PathBuf) -> SqliteStore {
    SqliteStore::open(&path).await.unwrap()
}

async fn open_memory(_path: PathBuf) -> SqliteStore {
    SqliteStore::in_memory().await.unwrap()
}

suite!(sqlite_file, open_file);
suite!(sqlite_memory, open_memory);
