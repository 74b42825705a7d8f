//! Changes that are made while a model is being loaded: nobody waits for it, and what it contradicts is refused in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use platform::{AliasChange, EndpointUpdate, Kind, Redeploy, ResourceRequest};

use crate::fixture::{BIG, Busy, Fixture, P, SMALL, deploy, until_loading};

fn split(shares: &[(&str, u8)]) -> EndpointUpdate {
    let split: BTreeMap<String, u8> = shares.iter().map(|(id, share)| ((*id).to_owned(), *share)).collect();
    EndpointUpdate { traffic_split: Some(split), ..EndpointUpdate::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_load() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.upload("m", SMALL).await;
    for endpoint in ["big", "e"] {
        fixture.endpoint(endpoint).await;
    }
    fixture.deploy("e", "1", "m@1").await.unwrap();
    fixture.deploy("e", "2", "m@2").await.unwrap();
    let platform = Arc::clone(&fixture.platform);

    let busy = Busy::begin();
    let deploying = fixture.deploying(("big", "1", "big")).await;
    // Back to what answered before, on another endpoint.
    platform.update_endpoint(P, "e", split(&[("1", 100), ("2", 0)])).await.unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 1);
    let add = vec!["default".to_owned()];
    platform.change_aliases(P, "m@2", AliasChange { add, ..AliasChange::default() }).await.unwrap();
    platform.undeploy(P, "e", "2", None).await.unwrap();
    fixture.upload("m", SMALL).await;
    platform.delete_model_version(P, "m@3").await.unwrap();
    platform.prune_model(P, "m", 0).await.unwrap();
    fixture.endpoint("new").await;
    // And on the endpoint it is for.
    platform.update_endpoint(P, "big", split(&[])).await.unwrap();
    assert!(
        !deploying.is_finished() && fixture.in_service("big").is_empty(),
        "they have waited for the load"
    );
    drop(busy);
    deploying.await.unwrap().unwrap();
    assert_eq!((fixture.in_service("big"), fixture.ask("big").await.unwrap()), (vec!["1".to_owned()], 1));
    assert_eq!(fixture.in_service("e"), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_deployments_of_one_id_one_is_made() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    let deploying = fixture.deploying(("e", "1", "big")).await;
    let other = tokio::spawn({
        let platform = Arc::clone(&fixture.platform);
        async move { platform.deploy(deploy("e", "1", "m")).await }
    });
    let outcomes = [deploying.await.unwrap(), other.await.unwrap()];
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 1));
    let refused = refused.into_iter().next().unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists, "{refused}");
    // What was refused has taken nothing of what is in service.
    let target = fixture.platform.target(P, "e", None).await.unwrap();
    assert_eq!(target.version(), (made[0].as_ref().unwrap().model.as_str(), 1));
    fixture.ask("e").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_deleted_while_it_loads_is_not_deployed() {
    let fixture = Fixture::new().await;
    fixture.upload("m", SMALL).await;
    fixture.upload("m", BIG).await;
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@1").await.unwrap();
    let busy = Busy::begin();
    let deploying = fixture.deploying(("e", "2", "m@2")).await;
    fixture.platform.delete_model_version(P, "m@2").await.unwrap();
    drop(busy);
    assert_eq!(deploying.await.unwrap().unwrap_err().kind(), Kind::NotFound);
    assert_eq!((fixture.in_service("e"), fixture.ask("e").await.unwrap()), (vec!["1".to_owned()], 1));
    let endpoint = fixture.platform.get_endpoint(P, "e").await.unwrap();
    assert_eq!(endpoint.deployments.len(), 1);
    // Its place is free, in memory too.
    fixture.deploy("e", "2", "m@1").await.unwrap();
    fixture.platform.undeploy(P, "e", "1", None).await.unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_deleted_while_a_model_loads_for_it_stays_so() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    // Something answers, which a load gives way to.
    fixture.endpoint("f").await;
    fixture.deploy("f", "1", "m").await.unwrap();
    let busy = Busy::begin();
    let deploying = fixture.deploying(("e", "1", "big")).await;
    fixture.platform.delete_endpoint(P, "e", false).await.unwrap();
    drop(busy);
    assert_eq!(deploying.await.unwrap().unwrap_err().kind(), Kind::NotFound);
    let endpoints = fixture.platform.deployment_statuses().into_iter().map(|(_, status)| status.endpoint);
    assert_eq!(endpoints.collect::<Vec<_>>(), ["f"]);
    fixture.platform.delete_model(P, "big").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_deployment_holds_what_was_changed_meanwhile() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.deploy("e", "2", "m").await.unwrap();
    fixture.deploy("e", "1", "big").await.unwrap();
    let change = |cpu_cores: Option<f64>, memory_gb: Option<f64>| {
        let resources = ResourceRequest { cpu_cores, memory_gb, ..ResourceRequest::default() };
        let platform = Arc::clone(&fixture.platform);
        tokio::spawn(async move {
            platform.redeploy(P, "e", "1", Redeploy { resources, ..Redeploy::default() }).await
        })
    };
    let changes = [change(Some(2.0), None), change(None, Some(3.0))];
    for change in changes {
        change.await.unwrap().unwrap();
    }
    let endpoint = fixture.platform.get_endpoint(P, "e").await.unwrap();
    let changed = endpoint.deployments.iter().find(|one| one.id == "1").unwrap();
    assert_eq!((changed.cpu_cores, changed.memory_gb), (2.0, 3.0));
    let threads = fixture.platform.deployment_status(P, "e", "1").unwrap().threads;
    assert_eq!(threads, 2);

    // Undeployed meanwhile, it does not come back.
    let busy = Busy::begin();
    let changing = change(Some(1.0), None);
    until_loading(&changing).await;
    let others = BTreeMap::from([("2".to_owned(), 100)]);
    fixture.platform.undeploy(P, "e", "1", Some(others)).await.unwrap();
    drop(busy);
    assert_eq!(changing.await.unwrap().unwrap_err().kind(), Kind::NotFound);
    assert_eq!(fixture.in_service("e"), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_fit_alone_and_not_together_are_not_both_deployed() {
    let fixture = Fixture::new().await;
    for model in ["a", "b"] {
        fixture.upload(model, BIG).await;
        fixture.endpoint(model).await;
    }
    fixture.deploy("a", "1", "a").await.unwrap();
    let one = fixture.platform.deployment_status(P, "a", "1").unwrap().memory_bytes;
    fixture.platform.undeploy(P, "a", "1", None).await.unwrap();
    fixture.platform.limit_memory((one as f64) * 1.6 / 1e9).unwrap();
    let deploying = |name: &'static str| {
        let platform = Arc::clone(&fixture.platform);
        tokio::spawn(async move { platform.deploy(deploy(name, "1", name)).await })
    };
    let both = [deploying("a"), deploying("b")];
    let mut refused = Vec::new();
    for outcome in both {
        refused.extend(outcome.await.unwrap().err());
    }
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].kind(), Kind::ResourceExhausted, "{}", refused[0]);
    assert_eq!(fixture.in_service("a").len() + fixture.in_service("b").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_while_deployments_are_brought_back_holds() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.endpoint("f").await;
    fixture.deploy("e", "1", "big").await.unwrap();
    fixture.deploy("e", "2", "m").await.unwrap();
    fixture.deploy("f", "1", "big").await.unwrap();
    let fixture = fixture.reopened().await;
    let platform = Arc::clone(&fixture.platform);
    let restoring = tokio::spawn(async move { platform.restore_deployments().await });
    until_loading(&restoring).await;
    fixture.platform.undeploy(P, "e", "1", None).await.unwrap();
    fixture.platform.delete_endpoint(P, "f", true).await.unwrap();
    fixture.endpoint("g").await;
    fixture.deploy("g", "3", "m").await.unwrap();
    restoring.await.unwrap().unwrap();
    assert_eq!(fixture.in_service("e"), ["2"]);
    assert_eq!(fixture.in_service("g"), ["3"]);
    assert!(fixture.in_service("f").is_empty());
    for endpoint in ["e", "g"] {
        fixture.ask(endpoint).await.unwrap();
    }
    assert!(fixture.platform.readiness().ready);
}
