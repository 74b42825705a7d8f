//! Keys, and what happens to versions and endpoints after they were made.

use std::collections::BTreeMap;

use registry::{
    AliasChange, Deployment, DeploymentLimits, Error, ModelTexts, ModelUpdate, NewEndpoint, NewKey,
    NewVersion, Residence, Scope, Store, UnfinishedUpload, UploadMode, VersionUpdate,
};

use crate::{P, at, create_endpoint, deployment, new_version, split, upload, with_aliases};

fn key(id: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        project: Some(P.to_owned()),
        display_name: "desk".to_owned(),
        scope: Scope::Train,
        secret_digest: "cd".repeat(32),
        expires_at: Some(at(100)),
    }
}

pub(crate) async fn keys_are_made_listed_and_revoked(store: &dyn Store) {
    assert_eq!(store.list_keys().await.unwrap(), []);
    let made = store.create_key(key("ff00ff00ff00"), at(1)).await.unwrap();
    let everywhere = NewKey { project: None, expires_at: None, scope: Scope::Admin, ..key("00ff00ff00ff") };
    store.create_key(everywhere, at(1)).await.unwrap();
    let listed = store.list_keys().await.unwrap();
    assert_eq!(listed[0], made);
    assert_eq!((listed[1].project.as_deref(), listed[1].scope), (None, Scope::Admin));
    let revoked = store.revoke_key(&made.id, at(2)).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(store.revoke_key(&made.id, at(3)).await.unwrap(), revoked, "the first time stays");
    assert!(matches!(store.revoke_key("none", at(3)).await, Err(Error::NotFound(_))));
    assert!(matches!(store.create_key(key("ff00ff00ff00"), at(4)).await, Err(Error::AlreadyExists(_))));
    for wrong in [
        key("short"),
        NewKey { secret_digest: "plain".to_owned(), ..key("aa00ff00ff00") },
        NewKey { expires_at: Some(at(4)), ..key("aa00ff00ff00") },
        NewKey { project: Some("P".to_owned()), ..key("aa00ff00ff00") },
    ] {
        assert!(matches!(store.create_key(wrong, at(4)).await, Err(Error::InvalidArgument { .. })));
    }
}

pub(crate) async fn aliases_move_and_the_default_is_never_taken_away(store: &dyn Store) {
    upload(store, P, "m", with_aliases(&["old"])).await;
    upload(store, P, "m", new_version()).await;
    let change = |add: &[&str], remove: &[&str]| AliasChange {
        add: add.iter().map(|alias| (*alias).to_owned()).collect(),
        remove: remove.iter().map(|alias| (*alias).to_owned()).collect(),
    };
    let moved = store.change_aliases(P, "m", 2, change(&["default", "old"], &[]), at(5)).await.unwrap();
    assert_eq!(moved.aliases, ["default", "old"]);
    assert_eq!(store.get_version(P, "m@1").await.unwrap().aliases, Vec::<String>::new());
    assert_eq!(store.get_version(P, "m").await.unwrap().version, 2);
    store.change_aliases(P, "m", 2, change(&[], &["old"]), at(6)).await.unwrap();
    assert!(matches!(
        store.change_aliases(P, "m", 2, change(&[], &["old"]), at(6)).await,
        Err(Error::NotFound(_))
    ));
    let refused = store.change_aliases(P, "m", 2, change(&[], &["default"]), at(6)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
}

pub(crate) async fn what_is_said_of_a_model_is_said_with_each_of_its_versions(store: &dyn Store) {
    let later = ModelTexts { display_name: "later".to_owned(), ..ModelTexts::default() };
    upload(store, P, "m", new_version()).await;
    upload(
        store,
        P,
        "m",
        NewVersion { about: later.clone(), description: "second".to_owned(), ..new_version() },
    )
    .await;
    let version = async |number: u32| store.get_version(P, &format!("m@{number}")).await.unwrap();
    assert_eq!(
        (version(2).await.about, version(2).await.description.as_str()),
        (new_version().about, "second")
    );
    assert_eq!(version(2).await.model_created_at, version(1).await.created_at);

    // A change of the model, which whoever has read any of its versions may make.
    let (first, second) = (version(1).await, version(2).await);
    let rename = |etag: Option<String>| ModelUpdate {
        display_name: Some("new".to_owned()),
        labels: Some(BTreeMap::new()),
        etag,
        ..ModelUpdate::default()
    };
    let shown = store.update_model(P, "m", rename(Some(second.etag())), at(7)).await.unwrap();
    assert_eq!(
        (shown.version, shown.about.description.as_str()),
        (1, new_version().about.description.as_str())
    );
    for number in [1, 2] {
        let version = version(number).await;
        assert_eq!((version.about.display_name.as_str(), version.about.labels.len()), ("new", 0));
        assert_eq!(version.labels, new_version().labels, "its own stay");
        assert_eq!(version.last_updated_at().as_microsecond(), at(7).as_microsecond());
    }
    assert_eq!(version(1).await.updated_at, first.updated_at);
    for late in [first.etag(), second.etag(), "0000".to_owned()] {
        let refused = store.update_model(P, "m", rename(Some(late)), at(8)).await;
        assert!(matches!(&refused, Err(Error::Aborted(why)) if why.contains("model \"m\"")), "{refused:?}");
    }

    // A change of a version, which none of the other's or of the model's is.
    let better = |etag: Option<String>| VersionUpdate {
        description: Some("better".to_owned()),
        labels: Some(BTreeMap::new()),
        etag,
    };
    let updated = store.update_version(P, "m", 1, better(Some(first.etag())), at(7)).await.unwrap();
    assert_eq!((updated.description.as_str(), updated.labels.len()), ("better", 0));
    assert_eq!((&updated.about, updated.model_updated_at), (&shown.about, shown.model_updated_at));
    assert_eq!(version(2).await.description, "second");
    for late in [first.etag(), second.etag(), version(2).await.etag(), "0000".to_owned()] {
        let refused = store.update_version(P, "m", 1, better(Some(late)), at(8)).await;
        assert!(matches!(&refused, Err(Error::Aborted(why)) if why.contains("version 1")), "{refused:?}");
    }
    assert_ne!(updated.etag(), store.update_version(P, "m", 1, better(None), at(7)).await.unwrap().etag());
    let change = AliasChange { add: vec!["default".to_owned()], remove: Vec::new() };
    let moved = store.change_aliases(P, "m", 2, change, at(9)).await.unwrap();
    assert_eq!((&moved.about, moved.model_created_at), (&shown.about, shown.model_created_at));
    let long = ModelUpdate { description: Some("x".repeat(1 << 20)), ..ModelUpdate::default() };
    assert!(matches!(store.update_model(P, "m", long, at(9)).await, Err(Error::InvalidArgument { .. })));
    assert!(matches!(store.update_model(P, "none", rename(None), at(9)).await, Err(Error::NotFound(_))));

    // A model of the same id that is made anew is another one.
    for number in store.withdraw_model(P, "m").await.unwrap() {
        store.abandon_version(P, "m", number).await.unwrap();
    }
    assert!(matches!(store.update_model(P, "m", rename(None), at(9)).await, Err(Error::NotFound(_))));
    assert_eq!(store.reserve_version(P, "m", UploadMode::NewModel, at(20)).await.unwrap(), 3);
    let new = NewVersion { about: later.clone(), ..new_version() };
    let anew = store.commit_version(P, "m", 3, new, at(21)).await.unwrap();
    assert_eq!((&anew.about, anew.model_created_at.as_microsecond()), (&later, at(20).as_microsecond()));
}

pub(crate) async fn what_is_deleted_is_out_of_sight_and_its_number_is_not_used_again(store: &dyn Store) {
    for _ in 0..3 {
        upload(store, P, "m", new_version()).await;
    }
    let endpoint = NewEndpoint {
        project: P.to_owned(),
        id: "e".to_owned(),
        display_name: "E".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    store.create_endpoint(endpoint, at(2)).await.unwrap();
    store.deploy(P, "e", deployment("1", 3), None, at(3)).await.unwrap();
    for (version, part) in [(1, "default"), (3, "deployed on e")] {
        let Err(Error::FailedPrecondition(why)) = store.withdraw_version(P, "m", version).await else {
            panic!()
        };
        assert!(why.contains(part), "{why}");
    }
    store.withdraw_version(P, "m", 2).await.unwrap();
    assert!(store.get_version(P, "m@2").await.is_err());
    let left = UnfinishedUpload { project: P.to_owned(), model: "m".to_owned(), version: 2 };
    assert_eq!(store.list_uploading().await.unwrap(), [left], "until its files are gone");
    store.abandon_version(P, "m", 2).await.unwrap();
    assert_eq!(store.list_uploading().await.unwrap(), []);
    assert!(matches!(store.withdraw_model(P, "m").await, Err(Error::FailedPrecondition(_))));
    assert_eq!(store.list_versions(P, "m").await.unwrap().len(), 2, "all or none");
    assert!(matches!(store.delete_endpoint(P, "e").await, Err(Error::FailedPrecondition(_))));
    store.undeploy(P, "e", "1", None, at(4)).await.unwrap();
    store.delete_endpoint(P, "e").await.unwrap();
    assert!(matches!(store.get_endpoint(P, "e").await, Err(Error::NotFound(_))));
    assert_eq!(store.withdraw_model(P, "m").await.unwrap(), [1, 3]);
    for version in [1, 3] {
        store.abandon_version(P, "m", version).await.unwrap();
    }
    assert!(matches!(store.withdraw_model(P, "m").await, Err(Error::NotFound(_))));
    assert_eq!(store.list_models(P, None, 9).await.unwrap(), []);
    assert_eq!(store.reserve_version(P, "m", UploadMode::NewModel, at(5)).await.unwrap(), 4);
}

pub(crate) async fn a_deployment_changes_in_its_place(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    create_endpoint(store, P, "e").await;
    store.deploy(P, "e", deployment("1", 1), split(&[("0", 100)]), at(4)).await.unwrap();
    let before = store.deploy(P, "e", deployment("2", 1), None, at(5)).await.unwrap();
    let changed = Deployment {
        cpu_cores: 4.0,
        memory_gb: 0.5,
        machine_type: None,
        engine: None,
        shadow_percent: None,
        residence: Residence::Pinned,
        limits: DeploymentLimits { max_batch_rows: Some(64), ..Default::default() },
        ..deployment("1", 1)
    };
    let after = store.redeploy(P, "e", changed.clone(), at(6)).await.unwrap();
    assert_eq!(after.deployments, [changed, deployment("2", 1)]);
    assert_eq!(after.traffic_split, before.traffic_split);
    assert!(after.updated_at > before.updated_at);
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), after);
    let refused = store.redeploy(P, "e", Deployment { version: 2, ..deployment("1", 1) }, at(7)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    let refused = store.redeploy(P, "e", deployment("9", 1), at(7)).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
    assert_eq!(store.get_endpoint(P, "e").await.unwrap(), after);
}
