//! The cache: one fetch for many, nothing damaged, the least recently used goes, what is in use stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use store::{Cache, CachedFile, Error, Expected};

use crate::bucket::Bucket;

fn expected(bytes: &[u8]) -> Expected {
    Expected { sha256: hex::encode(Sha256::digest(bytes)), bytes: bytes.len() as u64 }
}

/// A hundred bytes of one letter.
fn hundred(letter: u8) -> Vec<u8> {
    vec![letter; 100]
}

async fn fetched(cache: &Cache, bytes: &[u8], fetches: &AtomicUsize) -> Result<CachedFile, Error> {
    let content = bytes.to_vec();
    let fetch = |to: PathBuf| async move {
        fetches.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::fs::write(to, content).unwrap();
        Ok(())
    };
    cache.get_or_fetch(&expected(bytes), fetch).await
}

/// As if it had been used so many seconds ago.
fn age(file: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_fetch_once_and_a_restart_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 1000).unwrap();
    let fetches = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (cache, fetches) = (cache.clone(), fetches.clone());
            tokio::spawn(async move { fetched(&cache, b"same", &fetches).await.unwrap().bytes().clone() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "same");
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
    let cache = Cache::open(folder.path(), 1000).unwrap();
    assert_eq!(fetched(&cache, b"same", &fetches).await.unwrap().bytes(), "same");
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_least_recently_used_goes_and_what_is_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 250).unwrap();
    let fetches = AtomicUsize::new(0);
    let a = fetched(&cache, &hundred(b'a'), &fetches).await.unwrap();
    let path_of_b = fetched(&cache, &hundred(b'b'), &fetches).await.unwrap().path().to_owned();
    let path_of_a = a.path().to_owned();
    age(&path_of_a, 30);
    age(&path_of_b, 20);
    // The oldest is held, so the next oldest goes.
    let path_of_c = fetched(&cache, &hundred(b'c'), &fetches).await.unwrap().path().to_owned();
    assert!(path_of_a.exists() && !path_of_b.exists() && path_of_c.exists());
    assert_eq!(cache.size_bytes().await.unwrap(), 200);
    drop(a);
    // Using it makes it the newest.
    age(&path_of_a, 30);
    age(&path_of_c, 10);
    fetched(&cache, &hundred(b'a'), &fetches).await.unwrap();
    fetched(&cache, &hundred(b'd'), &fetches).await.unwrap();
    assert!(path_of_a.exists() && !path_of_c.exists());
    assert_eq!(fetches.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn more_than_the_limit_in_use_stays_until_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 50).unwrap();
    let fetches = AtomicUsize::new(0);
    let a = fetched(&cache, &hundred(b'a'), &fetches).await.unwrap();
    assert!(a.path().exists());
    drop(a);
    let b = fetched(&cache, &hundred(b'b'), &fetches).await.unwrap();
    assert_eq!(cache.size_bytes().await.unwrap(), 100, "the one that is used");
    assert!(b.path().exists());
}

#[tokio::test]
async fn damage_is_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 1000).unwrap();
    let fetches = AtomicUsize::new(0);
    let path = fetched(&cache, b"good", &fetches).await.unwrap().path().to_owned();
    std::fs::write(&path, b"goof").unwrap();
    assert_eq!(fetched(&cache, b"good", &fetches).await.unwrap().bytes(), "good");
    assert_eq!(fetches.load(Ordering::Relaxed), 2);

    let other = |to: PathBuf| async move {
        std::fs::write(to, b"other").unwrap();
        Ok(())
    };
    let error = cache.get_or_fetch(&expected(b"right"), other).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(cache.size_bytes().await.unwrap(), 4);
    // A failed fetch is not remembered, and what a killed process left is no object.
    std::fs::write(folder.path().join("v1/unfinished/9"), b"half").unwrap();
    let cache = Cache::open(folder.path(), 1000).unwrap();
    assert!(!folder.path().join("v1/unfinished/9").exists());
    assert_eq!(fetched(&cache, b"right", &fetches).await.unwrap().bytes(), "right");
    let key = Expected { sha256: "../../x".to_owned(), bytes: 1 };
    assert!(matches!(cache.get_or_fetch(&key, other).await, Err(Error::Path { .. })));
}

#[tokio::test]
async fn a_store_reads_by_its_cache_what_it_can_name() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::start(|_, answer| answer);
    let store = bucket.store.clone().with_cache(Cache::open(folder.path(), 1000).unwrap());
    let large = Bytes::from(vec![7; 400]);
    store.put("x", large.clone()).await.unwrap();
    let before = bucket.server.lines().len();
    assert_eq!(store.get_verified("x", &expected(&large)).await.unwrap(), large);
    let fetched = bucket.server.lines().len();
    assert!(fetched > before);
    assert_eq!(store.get_verified("x", &expected(&large)).await.unwrap(), large);
    assert_eq!(bucket.server.lines().len(), fetched, "nothing goes over the wire a second time");

    for store in [&store, &bucket.store] {
        let error = store.get_verified("x", &expected(&[8; 400])).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().starts_with("s3://bucket/root/x is damaged"), "{error}");
    }
}
