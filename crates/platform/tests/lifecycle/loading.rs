//! How a model is loaded: at which priority, and that a process that is to end does not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::{Kind, ModelName, Residence, Standing};

use crate::fixture::{BIG, Busy, Fixture, LOWEST, P, SMALL, deploy, loading, until_loaded};

/// The highest niceness that was seen of a thread that loads a model while something is done, if one was seen.
async fn while_loading<T>(done: impl Future<Output = T>) -> (T, Option<i64>) {
    let over = Arc::new(AtomicBool::new(false));
    // The threads of what was loaded before go a moment later.
    until_loaded().await;
    let watching = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut highest = None;
            while !over.load(Ordering::Acquire) {
                // A thread lowers itself after it has begun.
                highest = highest.max(loading().into_values().max());
                std::thread::sleep(Duration::from_millis(1));
            }
            highest
        }
    });
    let done = done.await;
    over.store(true, Ordering::Release);
    (done, watching.join().unwrap())
}

/// Has something loaded until it was seen to be done at this niceness, and never at a higher one: a machine that is busy elsewhere
/// may let nobody look at a thread, or not after it has lowered itself.
async fn is_loaded_at(niceness: i64, mut done: impl AsyncFnMut()) {
    for _ in 0..10 {
        match while_loading(done()).await {
            ((), Some(seen)) if seen == niceness => return,
            ((), seen) => assert!(seen.is_none_or(|seen| seen < niceness), "{seen:?}, and not {niceness}"),
        }
    }
    panic!("nothing is loaded at {niceness}");
}

fn own_niceness() -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_gives_way_to_what_answers_and_to_nothing_else() {
    let fixture = Fixture::new().await;
    let own = own_niceness();
    for model in ["a", "b", "c"] {
        fixture.upload(model, BIG).await;
        fixture.endpoint(model).await;
    }
    let undeploy = async |endpoint: &str| {
        // The first time there is none.
        let _ = fixture.platform.undeploy(P, endpoint, "1", None).await;
    };
    // Nothing answers yet.
    is_loaded_at(own, async || {
        undeploy("a").await;
        assert_eq!(fixture.deploy("a", "1", "a").await.unwrap().id, "1");
    })
    .await;
    // Beside what answers.
    is_loaded_at(LOWEST, async || {
        undeploy("b").await;
        assert_eq!(fixture.deploy("b", "1", "b").await.unwrap().id, "1");
    })
    .await;
    // Callers wait for it.
    is_loaded_at(LOWEST, async || {
        undeploy("c").await;
        let standing = Standing { residence: Residence::OnDemand, ..Standing::default() };
        let on_demand = platform::Deploy { standing, ..deploy("c", "1", "c") };
        assert_eq!(fixture.platform.deploy(on_demand).await.unwrap().id, "1");
    })
    .await;
    is_loaded_at(own, async || {
        let model = ModelName { project: P.to_owned(), model: "c".to_owned() };
        fixture.platform.unload_model(&model).unwrap();
        assert_eq!(fixture.ask("c").await.unwrap(), 1);
    })
    .await;
    // All callers do until the process is ready.
    let mut fixture = Some(fixture);
    is_loaded_at(own, async || {
        let again = fixture.take().unwrap().reopened().await;
        assert_eq!(again.platform.restore_deployments().await.unwrap().len(), 3);
        fixture = Some(again);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_given_up_when_the_process_is_to_end() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.endpoint("f").await;
    fixture.deploy("f", "1", "m").await.unwrap();
    let busy = Busy::begin();
    let deploying = fixture.deploying(("e", "1", "big")).await;
    fixture.platform.stop_loading();
    let refused = deploying.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    assert!(!loading().is_empty(), "it was waited for");
    drop(busy);
    assert_eq!(fixture.deploy("e", "2", "m").await.unwrap_err().kind(), Kind::Unavailable);
    // What is in service answers to the end.
    assert_eq!(fixture.ask("f").await.unwrap(), 1);
    let endpoint = fixture.platform.get_endpoint(P, "e").await.unwrap();
    assert!(endpoint.deployments.is_empty());
    // Others look for threads that load.
    until_loaded().await;
}
