//! One suite for every backend: what a store promises, checked on files, in memory and in a bucket.

use bytes::Bytes;
use store::{Error, Options, Store};

use crate::bucket::Bucket;

async fn suite(store: &Store) {
    objects(store).await;
    listings(store).await;
    commits(store).await;
    large_objects(store).await;
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

/// Large enough to be sent and fetched in parts, where the store's options say so.
async fn large_objects(store: &Store) {
    let large: Bytes = (0..1000).map(|i| (i % 251) as u8).collect();
    store.put("large/x", large.clone()).await.unwrap();
    assert_eq!(store.get("large/x").await.unwrap(), large);
    assert_eq!(store.list("large").await.unwrap().len(), 1, "nothing is left beside it");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(store.download("large/x", &folder.path().join("x"), 1000).await.unwrap(), 1000);
    assert_eq!(std::fs::read(folder.path().join("x")).unwrap(), large);
    let refused = store.download("large/x", &folder.path().join("y"), 999).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { size: 1000, .. }) && !folder.path().join("y").exists());
    store.put("large/empty", Bytes::new()).await.unwrap();
    assert_eq!(store.get("large/empty").await.unwrap(), "");
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
async fn a_bucket_passes_the_suite() {
    let bucket = Bucket::start(|_, answer| answer);
    suite(&bucket.store).await;
    assert_eq!(bucket.store.url_of("c/1"), "s3://bucket/root/c/1");
    assert!(bucket.names().iter().all(|name| name.starts_with("root/")), "{:?}", bucket.names());
    assert!(bucket.content.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn what_is_only_read_makes_no_folder_and_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let uri = |path: &std::path::Path| url::Url::from_file_path(path).unwrap().to_string();
    let missing = folder.path().join("missing");
    let error = Store::open_read_only(&uri(&missing), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }) && !missing.exists(), "{error}");
    std::fs::write(folder.path().join("x"), "1").unwrap();
    let store = Store::open_read_only(&uri(folder.path()), &Options::default()).unwrap();
    assert_eq!(store.get("x").await.unwrap(), "1");
    for refused in [store.put("y", Bytes::new()).await, store.delete_prefix("x").await] {
        assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    }
    let commit = store.commit_directory("d", Vec::new(), file("m", "{}")).await;
    assert!(matches!(commit, Err(Error::ReadOnly { .. })) && folder.path().join("x").exists());
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
        ("ftp://host/x", "there is no ftp:// store"),
        ("data/artifacts", "not a URI; write file:///absolute/folder"),
        ("file://host/x", "with three slashes"),
        ("file:///x?y", "no query"),
    ] {
        let error = Store::open(uri).unwrap_err().to_string();
        assert!(error.contains(text), "{uri}: {error}");
    }
}
