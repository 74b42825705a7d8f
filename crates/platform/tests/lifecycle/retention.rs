//! Which versions retention leaves, and which cannot be deleted.

use std::collections::BTreeMap;

use platform::jobs::SubmitBatch;
use platform::{AliasChange, Job, JobState, Kind, RowFormat};

use crate::fixture::{Fixture, P, SMALL};

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_stay_beside_those_that_are_used() {
    let fixture = Fixture::new().await;
    fixture.endpoint("e").await;
    for version in 1..=8 {
        fixture.upload("m", SMALL).await;
        if version <= 2 {
            fixture.deploy("e", &version.to_string(), &format!("m@{version}")).await.unwrap();
        }
    }
    let add = vec!["stable".to_owned()];
    fixture.platform.change_aliases(P, "m@4", AliasChange { add, ..AliasChange::default() }).await.unwrap();
    let pruned = fixture.platform.prune_model(P, "m", 3).await.unwrap();
    assert_eq!((pruned.deleted, pruned.kept), (vec![3, 5], vec![1, 2, 4, 6, 7, 8]));
    let left = fixture.platform.list_model_versions(P, "m").await.unwrap();
    assert_eq!(left.iter().map(|one| one.version).collect::<Vec<_>>(), [1, 2, 4, 6, 7, 8]);
    for (version, there) in [(2, true), (3, false), (5, false), (8, true)] {
        let path = fixture.dir.path().join(format!("data/artifacts/{P}/m/{version}/bundle.json"));
        assert_eq!(path.exists(), there, "{version}");
    }
}

/// A batch prediction by a version; nothing runs it here.
async fn queued(fixture: &Fixture, model: &str) -> platform::Result<Job> {
    let rows = fixture.dir.path().join("rows.jsonl");
    std::fs::write(&rows, "[1.0, 2.0]\n").unwrap();
    let request = SubmitBatch {
        project: P.to_owned(),
        display_name: None,
        labels: BTreeMap::new(),
        model: model.to_owned(),
        sources: vec![format!("file://{}", rows.display())],
        format: RowFormat::Jsonl,
        destination: "gs://bucket/answers".to_owned(),
        as_of: None,
    };
    fixture.platform.submit_batch(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_stays_while_a_job_needs_it() {
    let fixture = Fixture::new().await;
    for _ in 1..=5 {
        fixture.upload("m", SMALL).await;
    }
    let platform = &fixture.platform;
    let (second, third) = (queued(&fixture, "m@2").await.unwrap(), queued(&fixture, "m@3").await.unwrap());
    let refused = platform.delete_model_version(P, "m@2").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::FailedPrecondition);
    let said = format!("version 2 of model \"m\" is needed by job {} (batch_predict, queued)", second.id);
    assert!(refused.to_string().starts_with(&said), "{refused}");
    assert_eq!(platform.delete_model(P, "m").await.unwrap_err().kind(), Kind::FailedPrecondition);
    let pruned = platform.prune_model(P, "m", 1).await.unwrap();
    assert_eq!((pruned.deleted, pruned.kept), (vec![4], vec![1, 2, 3, 5]));

    // By force: those that need it end, and no other.
    let cancelled = platform.force_delete_model_version(P, "m@2").await.unwrap();
    assert_eq!(cancelled, std::slice::from_ref(&second.id));
    assert_eq!(platform.get_job(P, &second.id).await.unwrap().state, JobState::Cancelled);
    assert_eq!(platform.get_job(P, &third.id).await.unwrap().state, JobState::Queued);
    // What cannot go on is told before it is queued again.
    let refused = platform.resume_job(P, &second.id).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound, "{refused}");
    assert!(refused.to_string().contains("cannot go on"), "{refused}");
    assert_eq!(queued(&fixture, "m@2").await.unwrap_err().kind(), Kind::NotFound);
    // One that can does, and holds its version again.
    platform.cancel_job(P, &third.id).await.unwrap();
    platform.resume_job(P, &third.id).await.unwrap();
    assert_eq!(platform.delete_model_version(P, "m@3").await.unwrap_err().kind(), Kind::FailedPrecondition);
    assert_eq!(platform.force_delete_model(P, "m").await.unwrap(), [third.id]);
    assert_eq!(platform.get_model(P, "m").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_deleted_by_force_either_costs_no_job() {
    let fixture = Fixture::new().await;
    for _ in 1..=3 {
        fixture.upload("m", SMALL).await;
    }
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@2").await.unwrap();
    let platform = &fixture.platform;
    let mut jobs = Vec::new();
    for version in ["m@1", "m@2", "m@3"] {
        jobs.push(queued(&fixture, version).await.unwrap().id);
    }
    // Its default, a version that is deployed, a model with one, one that is not there.
    for (refused, part) in [
        (platform.force_delete_model_version(P, "m@1").await, "is its default"),
        (platform.force_delete_model_version(P, "m@2").await, "is deployed on e"),
        (platform.force_delete_model(P, "m").await, "is deployed on e"),
        (platform.force_delete_model_version(P, "m@4").await, "no version 4"),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }
    for id in &jobs {
        assert_eq!(platform.get_job(P, id).await.unwrap().state, JobState::Queued);
    }
    platform.undeploy(P, "e", "1", None).await.unwrap();
    assert_eq!(platform.force_delete_model(P, "m").await.unwrap(), jobs);
}
