//! A bucket behind a bad network: nothing is lost, nothing is seen by half, and the error says what to do.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Error, Store};

use crate::bucket::{Bucket, SECRET, options, reply};
use crate::server::{Answer, Request};

const SLOW: &str = "<Error><Code>SlowDown</Code><Message>please wait</Message></Error>";

fn text(length: usize) -> Bytes {
    (0..length).map(|i| b'a' + (i % 23) as u8).collect()
}

/// A small file, one that is sent in parts, and the manifest.
fn directory() -> (Vec<(String, Bytes)>, (String, Bytes)) {
    let files = vec![("a".to_owned(), text(10)), ("v/large".to_owned(), text(300))];
    (files, ("manifest.json".to_owned(), Bytes::from_static(b"{\"version\": 1}")))
}

async fn commit(store: &Store) -> Result<(), Error> {
    let (files, manifest) = directory();
    store.commit_directory("d", files, manifest).await
}

/// The first request of each kind goes wrong in the way given.
fn at_first(
    wrong: impl Fn(Answer) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Request, Answer) -> Answer + Send + Sync {
    let seen = Mutex::new(HashMap::<String, usize>::new());
    move |request, answer| {
        // What is left of a range is no other request.
        let end = request.range().map(|range| range.1);
        let what = format!("{} {} {end:?}", request.method, request.target);
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(what).or_default();
        *times += 1;
        if *times == 1 { wrong(answer) } else { answer }
    }
}

/// A directory is written and read back through a fault in every single request.
async fn survives(bucket: Bucket) {
    commit(&bucket.store).await.unwrap();
    let (files, manifest) = directory();
    for (name, bytes) in files.into_iter().chain([manifest]) {
        assert_eq!(bucket.store.get(&format!("d/{name}")).await.unwrap(), bytes, "{name}");
    }
    assert_eq!(bucket.names(), ["root/d/a", "root/d/manifest.json", "root/d/v/large"]);
    let again = commit(&bucket.store).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
    bucket.store.delete_prefix("d").await.unwrap();
    assert!(bucket.names().is_empty());
}

#[tokio::test]
async fn connections_that_are_reset_lose_nothing() {
    survives(Bucket::start(at_first(|_| Answer::Reset))).await;
}

#[tokio::test]
async fn a_service_that_asks_to_wait_is_asked_again() {
    survives(Bucket::start(at_first(|_| reply(503, vec![], SLOW)))).await;
}

#[tokio::test]
async fn replies_that_end_too_early_are_asked_for_again() {
    survives(Bucket::start(at_first(|answer| Answer::Cut(1, Box::new(answer))))).await;
}

#[tokio::test]
async fn a_service_that_falls_silent_is_asked_again() {
    let late = at_first(|answer| Answer::Late(Duration::from_millis(600), Box::new(answer)));
    survives(Bucket::start(late).with_patience(Duration::from_millis(300))).await;
}

#[tokio::test]
async fn the_reply_to_an_upload_in_parts_may_be_lost_for_good() {
    // The service forgets the id of an upload that is complete.
    let bucket = Bucket::start({
        let completed = AtomicUsize::new(0);
        move |request, answer| {
            let completes = request.method == "POST" && request.query("uploadId").is_some();
            if completes && completed.fetch_add(1, Ordering::Relaxed) == 0 { Answer::Reset } else { answer }
        }
    });
    bucket.store.put("x", text(500)).await.unwrap();
    assert_eq!(bucket.store.get("x").await.unwrap(), text(500));
    assert_eq!(bucket.names(), ["root/x"]);
    assert!(bucket.content.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn a_commit_that_fails_shows_no_manifest_and_leaves_no_upload() {
    let broken = Mutex::new(true);
    let broken = std::sync::Arc::new(broken);
    let switch = broken.clone();
    let bucket = Bucket::start(move |request, answer| {
        let is_third_part = request.query("partNumber") == Some("3");
        if is_third_part && *switch.lock().unwrap() { reply(503, vec![], SLOW) } else { answer }
    });
    let begin = Instant::now();
    let error = commit(&bucket.store).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("SlowDown: please wait (status 503)") && shown.contains("AWS_ENDPOINT_URL"),
        "{shown}"
    );
    assert!(!shown.contains(SECRET) && !shown.contains("AKIDEXAMPLE"), "{shown}");
    assert!(begin.elapsed() < Duration::from_secs(20), "it ends within its limit");
    assert!(!bucket.names().iter().any(|name| name.contains("manifest") || name.contains("uploading")));
    assert!(bucket.content.lock().unwrap().uploads.is_empty(), "the upload was ended");
    let tries = bucket.server.lines().iter().filter(|line| line.contains("partNumber=3")).count();
    assert_eq!(tries, 5, "one mechanism tries again, and only one");

    *broken.lock().unwrap() = false;
    commit(&bucket.store).await.unwrap();
    assert_eq!(bucket.names(), ["root/d/a", "root/d/manifest.json", "root/d/v/large"]);
}

#[tokio::test]
async fn a_writer_that_was_killed_leaves_nothing_that_the_next_does_not_clear() {
    let bucket = Bucket::start(|request, answer| match request.query("partNumber") {
        Some("2") => Answer::Late(Duration::from_secs(3600), Box::new(answer)),
        _ => answer,
    });
    let store = bucket.store.clone();
    let writer = tokio::spawn(async move { commit(&store).await });
    while !bucket.server.lines().iter().any(|line| line.contains("partNumber=2")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Dropped in the middle of an upload, as a kill does.
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    assert_eq!(bucket.content.lock().unwrap().uploads.len(), 1, "the service keeps what it got");
    assert!(!bucket.store.exists("d/manifest.json").await.unwrap());
    assert!(bucket.names().contains(&"root/d/v/large.uploading".to_owned()), "{:?}", bucket.names());

    bucket.store.commit_directory("d", vec![("b".to_owned(), text(5))], directory().1).await.unwrap();
    assert_eq!(bucket.names(), ["root/d/b", "root/d/manifest.json"]);
    assert!(bucket.content.lock().unwrap().uploads.is_empty(), "and pays for nothing any more");
}

#[tokio::test]
async fn a_manifest_whose_reply_was_lost_is_our_own_and_another_one_is_not() {
    let bucket = Bucket::start({
        let lost = AtomicUsize::new(0);
        move |request, answer| {
            let creates = request.headers.contains_key("if-none-match");
            if creates && lost.fetch_add(1, Ordering::Relaxed) == 0 { Answer::Reset } else { answer }
        }
    });
    commit(&bucket.store).await.unwrap();
    let created = bucket.server.requests().iter().filter(|r| r.headers.contains_key("if-none-match")).count();
    assert_eq!(created, 2);

    // Another writer was faster, between the look and the write.
    let bucket = Bucket::start(|request, answer| match request.method.as_str() {
        "HEAD" => reply(404, vec![], ""),
        "GET" if request.query("list-type").is_some() => {
            reply(200, vec![], "<ListBucketResult></ListBucketResult>")
        }
        _ => answer,
    });
    let others = b"{\"version\": 2}".to_vec();
    bucket.content.lock().unwrap().objects.insert("root/d/manifest.json".to_owned(), others.clone());
    let error = commit(&bucket.store).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(bucket.content.lock().unwrap().objects["root/d/manifest.json"], others);
}

#[tokio::test]
async fn a_range_that_breaks_goes_on_where_it_broke() {
    let bucket = Bucket::start(|request, answer| match request.range() {
        // Of the second of the parts, only 10 bytes.
        Some((64, 128)) => Answer::Cut(10, Box::new(answer)),
        _ => answer,
    });
    bucket.store.put("x", text(300)).await.unwrap();
    assert_eq!(bucket.store.get("x").await.unwrap(), text(300));
    let ranges: Vec<_> = bucket.server.requests().iter().filter_map(Request::range).collect();
    assert!(ranges.contains(&(74, 128)), "{ranges:?}");
    assert_eq!(ranges.len(), 6, "five parts, and one twice: {ranges:?}");
    let tagged = bucket.server.requests().into_iter().filter(|request| request.range().is_some());
    assert!(tagged.into_iter().all(|request| request.headers.contains_key("if-match")));
}

#[tokio::test]
async fn an_object_that_changes_between_its_parts_is_not_mixed() {
    let bucket = Bucket::start(|request, answer| match request.range() {
        Some((128, _)) => reply(412, vec![], "<Error><Code>PreconditionFailed</Code></Error>"),
        _ => answer,
    });
    bucket.store.put("x", text(300)).await.unwrap();
    let error = bucket.store.get("x").await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert!(error.to_string().contains("read it again"));
}

#[tokio::test]
async fn refusals_of_the_service_say_which_settings_to_look_at() {
    let denied = "<Error><Code>SignatureDoesNotMatch</Code><Message>key AKIDEXAMPLE</Message></Error>";
    let bucket = Bucket::start(move |_, _| reply(403, vec![], denied));
    let error = bucket.store.get("x").await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("AWS_PROFILE") && !shown.contains("AKIDEXAMPLE"), "{shown}");
    assert_eq!(bucket.server.lines().len(), 1, "a refusal is not asked for again");

    let bucket = Bucket::start(|_, _| reply(404, vec![], "<Error><Code>NoSuchBucket</Code></Error>"));
    let error = bucket.store.put("x", text(1)).await.unwrap_err().to_string();
    assert!(error.contains("no such bucket") && error.contains("make it first"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_within_the_limit() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let store = Store::open_with("s3://bucket/root", &options(&closed)).unwrap();
    let begin = Instant::now();
    let error = store.get("x").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}
