//! A machine whose cores are never free.

use std::time::{Duration, Instant};

use crate::fixture::{BIG, Busy, Fixture, LOWEST, loading};

/// Half a second of computing takes minutes for a thread that runs only when no other does.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_gives_way_comes_into_service_all_the_same() {
    let fixture = Fixture::new().await;
    fixture.upload("m", BIG).await;
    fixture.upload("m", BIG).await;
    fixture.endpoint("e").await;
    fixture.deploy("e", "1", "m@1").await.unwrap();

    let _busy = Busy::begin();
    let begun = Instant::now();
    let deploying = fixture.deploying(("e", "2", "m@2")).await;
    assert_eq!(fixture.ask("e").await.unwrap(), 1, "it goes on meanwhile");
    deploying.await.unwrap().unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 2);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    let gives_way = || loading().values().any(|niceness| *niceness == LOWEST);
    // The first try is at it still, so the next one does not begin with another such.
    assert!(gives_way(), "{:?}", loading());
    let deploying = fixture.deploying(("e", "3", "m@1")).await;
    let pressed = || loading().values().any(|niceness| *niceness < LOWEST);
    while !pressed() {
        assert!(!deploying.is_finished(), "it was never loaded at another priority");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    deploying.await.unwrap().unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 1);
    assert!(gives_way(), "the first one got cores: {:?}", loading());
}
