//! Loads beside each other: what callers wait for does not wait for what gives way, and nothing is loaded that has no room.

use std::sync::Arc;
use std::time::Duration;

use platform::{Kind, ModelName, Platform, Residence, Standing, VersionState};

use crate::fixture::{BIG, Busy, Fixture, LOWEST, P, SMALL, deploy, loading, until_loaded};

/// `inner` of a model with 12 MB of weights.
const SOME: usize = 1732;

impl Fixture {
    /// A model on an endpoint of its name, loaded on demand and not in memory now; what it took.
    async fn on_demand(&self, model: &str, inner: usize) -> u64 {
        self.upload(model, inner).await;
        self.endpoint(model).await;
        let standing = Standing { residence: Residence::OnDemand, ..Standing::default() };
        self.platform.deploy(platform::Deploy { standing, ..deploy(model, "1", model) }).await.unwrap();
        let taken = self.memory_bytes(model);
        self.unload(model);
        taken
    }

    fn unload(&self, model: &str) {
        let name = ModelName { project: P.to_owned(), model: model.to_owned() };
        self.platform.unload_model(&name).unwrap();
    }

    fn memory_bytes(&self, endpoint: &str) -> u64 {
        self.platform.deployment_status(P, endpoint, "1").unwrap().memory_bytes
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_asked_for_does_not_wait_for_a_load_that_gives_way() {
    let fixture = Fixture::new().await;
    fixture.upload("slow", SOME).await;
    fixture.upload("m", SMALL).await;
    for endpoint in ["slow", "m"] {
        fixture.endpoint(endpoint).await;
    }
    fixture.deploy("m", "1", "m").await.unwrap();
    fixture.on_demand("one", SMALL).await;
    fixture.on_demand("two", SMALL).await;

    let busy = Busy::begin();
    let deploying = fixture.deploying(("slow", "1", "slow")).await;
    let (one, two) = tokio::join!(fixture.ask("one"), fixture.ask("two"));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    assert!(!deploying.is_finished() && !loading().is_empty(), "they have waited for the load");
    let giving_way = || loading().into_values().filter(|niceness| *niceness == LOWEST).count();
    // Another that gives way waits, also when nobody waits for the first one any more.
    deploying.abort();
    let second = tokio::spawn({
        let platform = Arc::clone(&fixture.platform);
        async move { platform.deploy(deploy("slow", "2", "m")).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The one that loads, and the one that looks at its memory, which has its name until it first runs.
    assert!(!second.is_finished() && giving_way() <= 2, "{:?}", loading());
    fixture.unload("one");
    assert_eq!(fixture.ask("one").await.unwrap(), 1);
    drop(busy);
    second.await.unwrap().unwrap();
    assert_eq!((fixture.in_service("slow"), fixture.ask("slow").await.unwrap()), (vec!["2".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_does_not_fit_beside_a_load_is_refused_at_once_with_the_numbers() {
    let fixture = Fixture::new().await;
    fixture.upload("slow", SOME).await;
    fixture.upload("m", SMALL).await;
    for endpoint in ["slow", "m"] {
        fixture.endpoint(endpoint).await;
    }
    fixture.deploy("m", "1", "m").await.unwrap();
    let one = fixture.on_demand("a", SOME).await;
    // Room for one of them and half of the other's weights.
    let limit = one + 6_000_000;
    fixture.platform.limit_memory(limit as f64 / 1e9).unwrap();

    let busy = Busy::begin();
    let deploying = fixture.deploying(("slow", "1", "slow")).await;
    let refused = fixture.ask("a").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    let said = refused.to_string();
    assert!(said.contains("cannot be loaded now") && said.contains("the others use 12."), "{said}");
    assert!(said.contains("all together may use") && said.contains("try again later"), "{said}");
    assert!(!deploying.is_finished() && !loading().is_empty());
    drop(busy);
    deploying.await.unwrap().unwrap();
    assert!(fixture.memory_bytes("slow") + fixture.memory_bytes("m") <= limit);
    assert_eq!(fixture.ask("slow").await.unwrap(), 1);
    // As soon as there is room again, it is there.
    fixture.platform.undeploy(P, "slow", "1", None).await.unwrap();
    for _ in 0..100 {
        if fixture.ask("a").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", fixture.ask("a").await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_are_asked_at_once_and_do_not_fit_together_both_answer_all() {
    let fixture = Fixture::new().await;
    let one = fixture.on_demand("a", BIG).await;
    fixture.on_demand("b", BIG).await;
    let limit = one * 16 / 10;
    fixture.platform.limit_memory(limit as f64 / 1e9).unwrap();
    for _ in 0..3 {
        let callers = (0..40).map(|n| {
            let platform = Arc::clone(&fixture.platform);
            let endpoint = if n % 2 == 0 { "a" } else { "b" };
            tokio::spawn(async move { crate::fixture::ask(&platform, endpoint).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            assert_eq!(caller.await.unwrap().unwrap(), 1);
        }
        let loaded = ["a", "b"].map(|endpoint| fixture.memory_bytes(endpoint));
        assert!(loaded.iter().sum::<u64>() <= limit, "{loaded:?}");
        for model in ["a", "b"] {
            fixture.unload(model);
        }
    }
    let loads: u64 =
        ["a", "b"].map(|one| fixture.platform.deployment_status(P, one, "1").unwrap().loads).iter().sum();
    assert!(loads <= 2 + 3 * 4, "{loads} loads: those who waited for one did not get it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_back_has_begun_or_is_to_begin() {
    let fixture = Fixture::new().await;
    for model in ["a", "b"] {
        fixture.upload(model, BIG).await;
        fixture.endpoint(model).await;
        fixture.deploy(model, "1", model).await.unwrap();
    }
    // A machine that is busy elsewhere may have all of it over before anybody looks.
    let mut fixture = fixture;
    for _ in 0..5 {
        fixture = fixture.reopened().await;
        if begins_one_after_the_other(&fixture.platform).await {
            return;
        }
    }
    panic!("nobody is told what has begun");
}

/// Whether one of two is seen to have begun while the other has not. Brings them back.
async fn begins_one_after_the_other(platform: &Arc<Platform>) -> bool {
    // All of one moment.
    let states = || {
        let versions = platform.served_models().into_iter().flat_map(|model| model.versions);
        versions
            .map(|version| match version.state() {
                VersionState::Announced => "announced",
                VersionState::Loading => "loading",
                VersionState::Ready => "ready",
                _ => "another",
            })
            .collect::<Vec<_>>()
    };
    platform.announce_deployments().await.unwrap();
    assert_eq!(states(), ["announced", "announced"]);
    let restoring = tokio::spawn({
        let platform = Arc::clone(platform);
        async move { platform.restore_deployments().await }
    });
    let mut seen = Vec::new();
    while !restoring.is_finished() {
        seen.push(states());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    restoring.await.unwrap().unwrap();
    until_loaded().await;
    assert_eq!(states(), ["ready", "ready"]);
    seen.contains(&vec!["loading", "announced"])
}
