//! One suite for every backend: what a store promises, checked on files and in memory.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use store::{Error, Store};

async fn suite(store: &Store) {
    objects(store).await;
    listings(store).await;
    commits(store).await;
    refusals(store).await;
}

async fn objects(store: &Store) {
    assert!(!store.exists("o/a").await.unwrap());
    assert!(matches!(store.get("o/a").await, Err(Error::NotFound { .. })));
    store.put("o/a", Bytes::from_static(b"one")).await.unwrap();
    store.put("o/a", Bytes::from_static(b"two!")).await.unwrap();
    assert_eq!(store.get("o/a").await.unwrap(), "two!");
    assert!(store.exists("o/a").await.unwrap());
    assert!(!store.exists("o").await.unwrap(), "a directory is not an object");
    let error = store.get_limited("o/a", 3).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 4, limit: 3, .. }), "{error}");
}

async fn listings(store: &Store) {
    for path in ["l/b/2", "l/b/1", "l/a/1", "l/top", "lx/no"] {
        store.put(path, Bytes::from_static(b"x")).await.unwrap();
    }
    let paths: Vec<String> = store.list("l").await.unwrap().into_iter().map(|o| o.path).collect();
    assert_eq!(paths, ["l/a/1", "l/b/1", "l/b/2", "l/top"]);
    assert_eq!(store.list_directories("l").await.unwrap(), ["a", "b"]);
    assert!(store.list("nowhere").await.unwrap().is_empty());
    assert!(store.list_directories("nowhere").await.unwrap().is_empty());
    store.delete_prefix("l").await.unwrap();
    store.delete_prefix("l").await.unwrap();
    assert!(store.list("l").await.unwrap().is_empty());
    assert!(store.exists("lx/no").await.unwrap(), "a prefix is a directory, not a string prefix");
}

fn file(name: &str, text: &'static str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from_static(text.as_bytes()))
}

async fn commits(store: &Store) {
    store.put("c/1/left-over", Bytes::from_static(b"of a writer that died")).await.unwrap();
    let files = vec![file("v/data", "d"), file("index", "i")];
    store.commit_directory("c/1", files.clone(), file("manifest.json", "{}")).await.unwrap();
    let paths: Vec<String> = store.list("c/1").await.unwrap().into_iter().map(|o| o.path).collect();
    assert_eq!(paths, ["c/1/index", "c/1/manifest.json", "c/1/v/data"]);

    let error =
        store.commit_directory("c/1", vec![file("index", "other")], file("manifest.json", "{}")).await;
    assert!(matches!(error, Err(Error::AlreadyExists { .. })));
    assert_eq!(store.get("c/1/index").await.unwrap(), "i");
}

async fn refusals(store: &Store) {
    let escape = vec![file("../2/index", "i")];
    let error = store.commit_directory("c/3", escape, file("manifest.json", "{}")).await.unwrap_err();
    assert!(matches!(error, Error::Path { .. }), "{error}");
    let twice = vec![file("a", "1"), file("a", "2")];
    let error = store.commit_directory("c/3", twice, file("manifest.json", "{}")).await.unwrap_err();
    assert!(error.to_string().contains("occurs twice"), "{error}");
    assert!(store.list("c/3").await.unwrap().is_empty());
    assert!(matches!(store.delete_prefix("").await, Err(Error::Path { .. })));
    assert!(matches!(store.put("/etc/x", Bytes::new()).await, Err(Error::Path { .. })));
}

#[tokio::test]
async fn files_pass_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made by open");
    let uri = url::Url::from_file_path(&root).unwrap();
    let store = Store::open(uri.as_str()).unwrap();
    suite(&store).await;
    assert!(root.join("c/1/v/data").is_file(), "plain file names on disk");
    assert_eq!(store.url_of("c/1"), format!("{}/c/1", store.uri()));
}

#[tokio::test]
async fn memory_passes_the_suite() {
    let store = Store::open("memory://").unwrap();
    suite(&store).await;
    assert_eq!(store.url_of("c/1"), "memory://c/1");
}

#[tokio::test]
async fn a_failed_commit_shows_no_manifest_and_is_repeated_without_clean_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(url::Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
    // The second file cannot be written: its parent is the first file.
    let clash = vec![file("a", "1"), file("a/b", "2"), file("c", "3")];
    assert!(store.commit_directory("p/1", clash, file("manifest.json", "{}")).await.is_err());
    assert!(store.exists("p/1/a").await.unwrap(), "files come in the order given");
    assert!(!store.exists("p/1/manifest.json").await.unwrap());
    store.commit_directory("p/1", vec![file("b", "2")], file("manifest.json", "{}")).await.unwrap();
    assert_eq!(store.list("p/1").await.unwrap().len(), 2);
}

#[test]
fn other_uris_are_refused_with_the_way_out() {
    for (uri, text) in [
        ("s3://bucket/x", "file:// and memory:// only, not s3://"),
        ("data/artifacts", "not a URI; write file:///absolute/folder"),
        ("file://host/x", "with three slashes"),
        ("file:///x?y", "no query"),
    ] {
        let error = Store::open(uri).unwrap_err().to_string();
        assert!(error.contains(text), "{uri}: {error}");
    }
}
