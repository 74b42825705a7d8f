//! Changes that came to nothing: their operations, and what an endpoint says of the newest.

use jiff::Timestamp;
use registry::{
    EndpointUpdate, Error, FAILURE_CHARS_MAX, FailedAttempt, Failure, MAX_FAILED_OPERATIONS, NewOperation,
    OperationOutcome, Store,
};
use serde_json::json;

use super::{P, at, create_endpoint, deployment, new_version, split, upload};

fn failure(message: &str) -> Failure {
    Failure { kind: "FAILED_PRECONDITION".to_owned(), message: message.to_owned() }
}

fn operation(parent: &str, outcome: OperationOutcome) -> NewOperation {
    NewOperation { project: P.to_owned(), parent: parent.to_owned(), kind: "DeployModel".to_owned(), outcome }
}

fn attempt(kind: &str) -> FailedAttempt {
    FailedAttempt {
        operation: "7".to_owned(),
        kind: kind.to_owned(),
        deployment: "2".to_owned(),
        model: "m".to_owned(),
        version: 1,
        failure: failure("no room"),
        failed_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) async fn failed_operations_displace_no_others(store: &dyn Store) {
    let answered = OperationOutcome::Response(json!({"a": 1}));
    store.put_operation("0", operation("endpoints/e", answered.clone()), at(0)).await.unwrap();
    let other = operation("endpoints/f", OperationOutcome::Failed(failure("of another")));
    store.put_operation("1", other, at(0)).await.unwrap();
    let last = MAX_FAILED_OPERATIONS + 11;
    for n in 2..=last {
        let failed = operation("endpoints/e", OperationOutcome::Failed(failure(&format!("why {n}"))));
        let put = store.put_operation(&n.to_string(), failed, at(1)).await.unwrap();
        assert_eq!(store.get_operation(P, &n.to_string()).await.unwrap(), put);
    }
    let all = store.list_operations(P, usize::MAX).await.unwrap();
    assert_eq!(all.len(), MAX_FAILED_OPERATIONS + 2);
    assert_eq!(all[0].outcome, OperationOutcome::Failed(failure(&format!("why {last}"))));
    let kept: Vec<&str> = all.iter().rev().map(|operation| operation.id.as_str()).take(3).collect();
    assert_eq!(kept, ["0", "1", "12"]);
    assert_eq!(store.get_operation(P, "0").await.unwrap().outcome, answered);
    let long =
        operation("endpoints/e", OperationOutcome::Failed(failure(&"x".repeat(FAILURE_CHARS_MAX + 1))));
    let refused = store.put_operation("99", long, at(1)).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
}

pub(crate) async fn a_failed_attempt_is_remembered_until_one_succeeds(store: &dyn Store) {
    upload(store, P, "m", new_version()).await;
    create_endpoint(store, P, "e").await;
    let before = store.deploy(P, "e", deployment("1", 1), split(&[("0", 100)]), at(4)).await.unwrap();
    let shown = async || store.get_endpoint(P, "e").await.unwrap().failed_attempt.map(|attempt| attempt.kind);
    let fail = async |kind: &str| store.put_failed_attempt(P, "e", attempt(kind)).await.unwrap();
    fail("UpdateEndpoint").await;
    fail("DeployModel").await;
    let after = store.get_endpoint(P, "e").await.unwrap();
    assert_eq!(after.failed_attempt, Some(attempt("DeployModel")), "the newest");
    assert_eq!(after.etag(), before.etag(), "nothing has changed");
    assert_eq!(store.list_endpoints(P, None, 9).await.unwrap(), [after]);
    // What says nothing of it leaves it.
    let renamed = EndpointUpdate { display_name: Some("new".to_owned()), ..EndpointUpdate::default() };
    store.update_endpoint(P, "e", renamed.clone(), at(5)).await.unwrap();
    let moved = EndpointUpdate { traffic_split: split(&[("1", 100)]), ..EndpointUpdate::default() };
    store.update_endpoint(P, "e", moved.clone(), at(5)).await.unwrap();
    assert_eq!(shown().await.as_deref(), Some("DeployModel"));
    store.deploy(P, "e", deployment("2", 1), None, at(6)).await.unwrap();
    assert_eq!(shown().await, None);
    fail("MutateDeployedModel").await;
    store.undeploy(P, "e", "2", None, at(7)).await.unwrap();
    assert_eq!(shown().await.as_deref(), Some("MutateDeployedModel"));
    store.redeploy(P, "e", deployment("1", 1), at(8)).await.unwrap();
    assert_eq!(shown().await, None);
    fail("UpdateEndpoint").await;
    store.update_endpoint(P, "e", renamed, at(9)).await.unwrap();
    assert_eq!(shown().await.as_deref(), Some("UpdateEndpoint"));
    store.update_endpoint(P, "e", moved, at(9)).await.unwrap();
    assert_eq!(shown().await, None);
    // It goes with its endpoint.
    store.put_failed_attempt(P, "none", attempt("DeployModel")).await.unwrap();
    assert!(store.get_endpoint(P, "none").await.is_err());
}
