//! How a model is loaded: at which priority, and that a process that is to end does not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::{Kind, ModelName, Residence, Standing};

use crate::fixture::{BIG, Fixture, LOWEST, P, SMALL, deploy, loading, until_loaded};

/// The niceness of the threads that load models while something is done.
async fn while_loading<T>(done: impl Future<Output = T>) -> (T, Vec<i64>) {
    let over = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut seen = Vec::new();
            while !over.load(Ordering::Acquire) {
                seen.extend(loading());
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        }
    });
    let done = done.await;
    over.store(true, Ordering::Release);
    let mut seen = watching.join().unwrap();
    // A thread lowers itself after it has begun.
    seen.sort_unstable();
    let most = seen.get(seen.len() / 2).copied();
    (done, most.into_iter().collect())
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
    // Nothing answers yet.
    let (first, seen) = while_loading(fixture.deploy("a", "1", "a")).await;
    assert_eq!((first.unwrap().id.as_str(), seen), ("1", vec![own]));
    // Beside what answers.
    let (second, seen) = while_loading(fixture.deploy("b", "1", "b")).await;
    assert_eq!((second.unwrap().id.as_str(), seen), ("1", vec![LOWEST]));
    // Callers wait for it.
    let standing = Standing { residence: Residence::OnDemand, ..Standing::default() };
    let on_demand = platform::Deploy { standing, ..deploy("c", "1", "c") };
    let (third, seen) = while_loading(fixture.platform.deploy(on_demand)).await;
    assert_eq!((third.unwrap().id.as_str(), seen), ("1", vec![LOWEST]));
    fixture.platform.unload_model(&ModelName { project: P.to_owned(), model: "c".to_owned() }).unwrap();
    let (answered, seen) = while_loading(fixture.ask("c")).await;
    assert_eq!((answered.unwrap(), seen), (1, vec![own]));
    // All callers do until the process is ready.
    let fixture = fixture.reopened().await;
    let (restored, seen) = while_loading(fixture.platform.restore_deployments()).await;
    assert_eq!((restored.unwrap().len(), seen), (3, vec![own]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_given_up_when_the_process_is_to_end() {
    let fixture = Fixture::new().await;
    fixture.upload("big", BIG).await;
    fixture.upload("m", SMALL).await;
    fixture.endpoint("e").await;
    fixture.endpoint("f").await;
    fixture.deploy("f", "1", "m").await.unwrap();
    let deploying = fixture.deploying(("e", "1", "big")).await;
    fixture.platform.stop_loading();
    let refused = deploying.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    assert!(!loading().is_empty(), "it was waited for");
    assert_eq!(fixture.deploy("e", "2", "m").await.unwrap_err().kind(), Kind::Unavailable);
    // What is in service answers to the end.
    assert_eq!(fixture.ask("f").await.unwrap(), 1);
    let endpoint = fixture.platform.get_endpoint(P, "e").await.unwrap();
    assert!(endpoint.deployments.is_empty());
    // Others look for threads that load.
    until_loaded().await;
}
