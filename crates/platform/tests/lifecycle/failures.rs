//! Changes that came to nothing: what served goes on, and why it does is kept.

use std::collections::BTreeMap;

use platform::{
    Deploy, EndpointUpdate, Error, FailedAttempt, Failure, Kind, Operation, OperationOutcome, Redeploy,
    Residence, ResourceRequest, Standing,
};

use crate::fixture::{Fixture, P, SMALL, deploy};

impl Fixture {
    async fn failed_attempt(&self, endpoint: &str) -> Option<FailedAttempt> {
        self.platform.get_endpoint(P, endpoint).await.unwrap().failed_attempt
    }

    async fn operations(&self) -> Vec<Operation> {
        self.platform.list_operations(P).await.unwrap()
    }
}

/// A change by which it may have next to no memory.
fn no_memory() -> Redeploy {
    let resources = ResourceRequest { memory_gb: Some(1e-6), ..ResourceRequest::default() };
    Redeploy { resources, ..Redeploy::default() }
}

fn said(error: &Error) -> Failure {
    Failure { kind: error.kind().word().to_owned(), message: error.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_loaded_leaves_the_old_one_and_says_why() {
    let fixture = Fixture::new().await;
    for _ in 0..2 {
        fixture.upload("m", SMALL).await;
    }
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@1").await.unwrap();
    let before = fixture.platform.get_endpoint(P, "e").await.unwrap();
    let state = |fixture: &Fixture| fixture.platform.deployment_status(P, "e", "1").unwrap().state();
    assert_eq!((state(&fixture).as_str(), &before.failed_attempt), ("in service", &None));

    fixture.damage("m", 2);
    let error = fixture.deploy("e", "2", "m@2").await.unwrap_err();
    let kept = fixture.failed_attempt("e").await.unwrap();
    assert_eq!((kept.kind.as_str(), kept.deployment.as_str()), ("DeployModel", "2"));
    assert_eq!((kept.model.as_str(), kept.version, kept.failed_at), ("m", 2, fixture.platform.now()));
    assert_eq!(kept.failure, said(&error), "what its caller was told");
    let operations = fixture.operations().await;
    assert_eq!(operations.len(), 1);
    let Operation { id, parent, kind, outcome, .. } = &operations[0];
    assert_eq!((id, parent.as_str(), kind.as_str()), (&kept.operation, "endpoints/e", "DeployModel"));
    assert_eq!(outcome, &OperationOutcome::Failed(said(&error)));
    // What served goes on.
    let after = fixture.platform.get_endpoint(P, "e").await.unwrap();
    assert_eq!((&after.deployments, &after.traffic_split), (&before.deployments, &before.traffic_split));
    assert_eq!(after.etag(), before.etag());
    assert_eq!((state(&fixture).as_str(), fixture.ask("e").await.unwrap()), ("in service", 1));
    assert!(fixture.platform.readiness().ready);

    // The newest counts.
    let error = fixture.platform.redeploy(P, "e", "1", no_memory()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    let kept = fixture.failed_attempt("e").await.unwrap();
    assert_eq!((kept.kind.as_str(), kept.deployment.as_str(), kept.version), ("MutateDeployedModel", "1", 1));
    assert_eq!(kept.failure, said(&error));
    assert_eq!((state(&fixture).as_str(), fixture.ask("e").await.unwrap()), ("in service", 1));
    let newest = fixture.operations().await;
    assert_eq!((newest.len(), &newest[1]), (2, &operations[0]));

    // Another process knows it too.
    let fixture = fixture.reopened().await;
    fixture.platform.restore_deployments().await.unwrap();
    assert_eq!(fixture.failed_attempt("e").await, Some(kept.clone()));
    assert_eq!(fixture.platform.get_operation(P, &kept.operation).await.unwrap(), newest[0]);
    assert_eq!((state(&fixture).as_str(), fixture.ask("e").await.unwrap()), ("in service", 1));

    // It is forgotten once a change succeeds; the operations stay.
    fixture.upload("m", SMALL).await;
    fixture.deploy("e", "3", "m@3").await.unwrap();
    assert_eq!((fixture.failed_attempt("e").await, fixture.ask("e").await.unwrap()), (None, 3));
    assert_eq!(fixture.operations().await, newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_a_load_is_told_its_caller_alone() {
    let fixture = Fixture::new().await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@1").await.unwrap();
    let engine = Deploy { engine: Some("none".to_owned()), ..deploy("e", "2", "m") };
    for refused in [deploy("e", "1", "m"), deploy("e", "2", "m@9"), deploy("x", "2", "m"), engine] {
        fixture.platform.deploy(refused).await.unwrap_err();
    }
    fixture.platform.redeploy(P, "e", "9", no_memory()).await.unwrap_err();
    let unwhole = EndpointUpdate {
        traffic_split: Some(BTreeMap::from([("1".to_owned(), 50)])),
        ..EndpointUpdate::default()
    };
    fixture.platform.update_endpoint(P, "e", unwhole).await.unwrap_err();
    assert_eq!((fixture.failed_attempt("e").await, fixture.operations().await), (None, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_again_and_again_fills_nothing() {
    let fixture = Fixture::new().await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.damage("m", 1);
    let mut newest = String::new();
    for n in 1..=30 {
        let id = n.to_string();
        newest = fixture.deploy("e", &id, "m@1").await.unwrap_err().to_string();
        assert_eq!(fixture.failed_attempt("e").await.unwrap().deployment, id);
    }
    let operations = fixture.operations().await;
    assert_eq!(operations.len(), 20);
    assert!(matches!(&operations[0].outcome, OperationOutcome::Failed(failure) if failure.message == newest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_answer_leaves_the_traffic_and_says_why() {
    let fixture = Fixture::new().await;
    for _ in 0..2 {
        fixture.upload("m", SMALL).await;
    }
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@1").await.unwrap();
    let standing = Standing { shadow_percent: Some(10), residence: Residence::Pinned };
    let shadow = Deploy { standing, traffic_split: None, ..deploy("e", "2", "m@2") };
    fixture.platform.deploy(shadow).await.unwrap();
    fixture.damage("m", 2);
    let all = |id: &str| BTreeMap::from([(id.to_owned(), 100)]);
    let promote = || EndpointUpdate { traffic_split: Some(all("2")), ..EndpointUpdate::default() };
    let error = fixture.platform.update_endpoint(P, "e", promote()).await.unwrap_err();
    let kept = fixture.failed_attempt("e").await.unwrap();
    assert_eq!((kept.kind.as_str(), kept.deployment.as_str(), kept.version), ("UpdateEndpoint", "2", 2));
    assert_eq!(kept.failure, said(&error));
    let error = fixture.platform.undeploy(P, "e", "1", Some(all("2"))).await.unwrap_err();
    let kept = fixture.failed_attempt("e").await.unwrap();
    assert_eq!((kept.kind.as_str(), kept.failure), ("UndeployModel", said(&error)));
    assert_eq!((fixture.operations().await.len(), fixture.ask("e").await.unwrap()), (2, 1));
    // What is deployed and names the shadow in its split fails by it, and is kept once.
    let split = Some(BTreeMap::from([("0".to_owned(), 50), ("2".to_owned(), 50)]));
    let deploying = Deploy { traffic_split: split, ..deploy("e", "3", "m@1") };
    let error = fixture.platform.deploy(deploying).await.unwrap_err();
    let kept = fixture.failed_attempt("e").await.unwrap();
    assert_eq!((kept.kind.as_str(), kept.deployment.as_str()), ("DeployModel", "3"));
    assert_eq!((kept.failure, fixture.operations().await.len()), (said(&error), 3));
    assert_eq!(fixture.in_service("e"), ["1", "2"]);
}
