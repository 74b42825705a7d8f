//! Objects of a web server: read only, with and without what makes resuming possible.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use store::{Downloads, Error, Store};

use crate::bucket::{options, reply};
use crate::server::{Answer, Request, Server};

const BODY: &[u8] = b"date,close\n2020-01-02,1.5\n2020-01-03,1.25\n";

fn store(server: &Server, path: &str) -> Store {
    Store::open_with(&format!("http://{}{path}", server.address), &options(&server.address)).unwrap()
}

/// Whole the first time, cut short as the second argument says; ranges are served if there is an ETag.
fn file(tag: Option<&'static str>, first: fn(Answer) -> Answer) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |request: &Request| {
        let headers: Vec<(&'static str, String)> =
            tag.map(|tag| ("etag", tag.to_owned())).into_iter().collect();
        let answer = match request.range() {
            Some((begin, end)) if tag.is_some() => {
                let range = ("content-range", format!("bytes {begin}-{}/{}", end - 1, BODY.len()));
                Answer::Reply(206, [headers, vec![range]].concat(), BODY[begin..end].to_vec())
            }
            _ => Answer::Reply(200, headers, BODY.to_vec()),
        };
        if asked.fetch_add(1, Ordering::Relaxed) == 0 { first(answer) } else { answer }
    })
}

#[tokio::test]
async fn a_file_is_fetched_to_disk_and_deleted_with_its_downloads() {
    let server = file(None, |answer| answer);
    let downloads = Downloads::new().unwrap();
    let path = downloads.fetch(&store(&server, "/data"), "x.csv", 100).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), BODY);
    assert_eq!(server.lines(), ["GET /data/x.csv"]);
    drop(downloads);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_with_an_etag_goes_on_where_it_broke() {
    let server = file(Some("\"1\""), |answer| Answer::Cut(20, Box::new(answer)));
    assert_eq!(store(&server, "").get("x.csv").await.unwrap(), BODY);
    assert_eq!(server.requests()[1].range(), Some((20, BODY.len())));
}

#[tokio::test]
async fn a_file_without_an_etag_is_read_again() {
    let server = file(None, |answer| Answer::Cut(20, Box::new(answer)));
    assert_eq!(store(&server, "").get("x.csv").await.unwrap(), BODY);
    assert!(server.requests().iter().all(|request| request.range().is_none()));
    assert_eq!(server.requests().len(), 2);
    let always = Server::start(|_| Answer::Cut(20, Box::new(Answer::Reply(200, vec![], BODY.to_vec()))));
    let error = store(&always, "").get("x.csv").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(always.requests().len(), 4);
}

#[tokio::test]
async fn nothing_is_written_or_listed_there() {
    let server = Server::start(|_| reply(404, vec![], ""));
    let store = store(&server, "/data/");
    for (refusal, text) in [
        (store.put("x", Bytes::new()).await.unwrap_err(), "write to a bucket or a folder"),
        (store.delete_prefix("x").await.unwrap_err(), "open to read only"),
        (store.list("").await.unwrap_err(), "name each object"),
        (store.list_directories("").await.unwrap_err(), "name each object"),
    ] {
        assert!(refusal.to_string().contains(text), "{refusal}");
    }
    assert!(server.requests().is_empty());
    let missing = store.get("x").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    assert!(!store.exists("x").await.unwrap());
}
