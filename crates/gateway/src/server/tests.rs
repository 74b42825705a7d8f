//! Connections over a real socket whose clients take their time, with limits of milliseconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use platform::{Options, Platform};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::serve_within;
use super::watch::Limits;
use crate::connections::CutOff;
use crate::pace::Pace;
use crate::{GatewayOptions, Service, Stopping};

const HEAD: Duration = Duration::from_millis(600);
const SILENCE: Duration = Duration::from_millis(400);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(20);
/// How often something is tried that goes wrong if the machine does not get round to a client in time.
const TRIES: usize = 10;
const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
/// Some hundred kilobytes.
const LARGE: &str = "/openapi.json";

struct Server {
    address: SocketAddr,
    _dir: TempDir,
}

/// Milliseconds for a head.
fn short_heads() -> Limits {
    Limits { head: HEAD, look_every: Duration::from_millis(20), ..Limits::default() }
}

/// Milliseconds for who does not read.
fn short_silences() -> Limits {
    let replies = Pace { silence_max: SILENCE, bytes_per_second_min: 1000 };
    Limits { replies, look_every: Duration::from_millis(20), ..Limits::default() }
}

/// With limits that are short only where they are what a test is about: a busy machine may leave a client for seconds.
async fn server(limits: Limits) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().to_owned(),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    let platform = Platform::open(options).await.unwrap();
    let service = Service::new(platform, GatewayOptions::default(), Stopping::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_within(limits, listener, (service, None), std::future::pending()));
    Server { address, _dir: dir }
}

impl Server {
    async fn line(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One that takes few bytes ahead of who reads.
    async fn narrow_line(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// A counter or gauge of `/metrics`.
    async fn metric(&self, name: &str) -> u64 {
        let mut line = self.line().await;
        line.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        line.read_to_string(&mut text).await.unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_default()
    }

    /// A line that was answered so often, each time after half of a head's time, and when it last began to ask.
    async fn answered(&self, times: usize) -> (TcpStream, Instant) {
        'lines: for _ in 0..TRIES {
            let mut line = self.line().await;
            let mut begun = Instant::now();
            for _ in 0..times {
                tokio::time::sleep(HEAD / 2).await;
                begun = Instant::now();
                if !asks(&mut line).await {
                    // The half became a whole.
                    continue 'lines;
                }
            }
            return (line, begun);
        }
        panic!("later heads are not waited for");
    }
}

/// Whether it is answered before the line is cut off.
async fn asks(line: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    let (Ok(()), Ok(read @ 1..)) = (line.write_all(ALIVE).await, line.read(&mut answer).await) else {
        return false;
    };
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
    true
}

/// Waits until one more is than there were. Each reason has but one test here that has it happen.
async fn until_cut_off(why: CutOff, before: u64) {
    let begun = Instant::now();
    while why.times() == before {
        assert!(begun.elapsed() < SLACK, "it is kept for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a byte of a head every so often and no end of it, until it is cut off.
async fn dribbles(line: &mut TcpStream) {
    let begun = Instant::now();
    let mut byte = [0];
    while begun.elapsed() < HEAD + SLACK {
        let _ = line.write_all(b"G").await;
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(50), line.read(&mut byte)).await {
            assert!(matches!(read, Ok(0) | Err(_)), "it is answered");
            return;
        }
    }
    panic!("it is let go on for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_head_has_its_time_but_once() {
    let server = server(short_heads()).await;
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        // Nothing while the protocol is not known, and then slowly.
        let begun = Instant::now();
        let mut line = server.line().await;
        tokio::time::sleep(HEAD * 3 / 4).await;
        dribbles(&mut line).await;
        assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
        least = least.min(begun.elapsed());
        if least < HEAD * 3 / 2 {
            break;
        }
    }
    assert!(least < HEAD * 3 / 2, "{least:?}");
    // The preface of HTTP/2 and no request.
    let begun = Instant::now();
    let mut line = server.line().await;
    line.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(HEAD + SLACK, line.read_to_end(&mut said)).await.expect("it is cut off");
    assert!(begun.elapsed() >= HEAD);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_heads_have_their_time_too() {
    let server = server(short_heads()).await;
    let (mut line, begun) = server.answered(3).await;
    dribbles(&mut line).await;
    assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
    // And one that says nothing more.
    let (mut line, begun) = server.answered(1).await;
    let read = tokio::time::timeout(HEAD + SLACK, line.read(&mut [0])).await.expect("it is cut off");
    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
}

/// How many bytes come of some hundred large replies to a client that begins to read when it has waited so.
async fn late_reader(server: &Server, wait: impl Future<Output = ()>) -> usize {
    let mut line = server.narrow_line().await;
    let request = format!("GET {LARGE} HTTP/1.1\r\nhost: a\r\n\r\n");
    let last = format!("GET {LARGE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    line.write_all((request.repeat(199) + &last).as_bytes()).await.unwrap();
    wait.await;
    let mut read = 0;
    let mut part = vec![0; 1 << 20];
    while let Ok(Ok(more @ 1..)) = tokio::time::timeout(SLACK, line.read(&mut part)).await {
        read += more;
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_not_kept_for_who_does_not_read_them() {
    let patient = server(Limits::default()).await;
    let all = late_reader(&patient, std::future::ready(())).await;
    assert!(all > 199 * 100_000, "{all} bytes of 200 replies");
    // Ids of requests are not all of one length.
    let after_a_pause = late_reader(&patient, tokio::time::sleep(SILENCE)).await;
    assert!(
        after_a_pause.abs_diff(all) < 200 * 20,
        "a short pause harms nobody: {after_a_pause} of {all} bytes"
    );
    let server = server(short_silences()).await;
    let before = CutOff::Unread.times();
    let some = late_reader(&server, until_cut_off(CutOff::Unread, before)).await;
    assert!(some < all / 2, "{some} of {all} bytes came after all");
}

/// A client that takes so many bytes of a reply ahead of who reads it.
fn multiplexed(window: u32) -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_initial_stream_window_size(window)
        .build_http()
}

fn large(server: &Server) -> Request<Body> {
    Request::get(format!("http://{}{LARGE}", server.address)).body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_not_kept_for_who_stops_it_alone() {
    let server = server(short_silences()).await;
    // It reads on for as long as the client lives, but not this reply.
    for window in [1, 1024, 32 << 10] {
        let client = multiplexed(window);
        let before = CutOff::UnreadReply.times();
        let reply = client.request(large(&server)).await;
        until_cut_off(CutOff::UnreadReply, before).await;
        // A client that is late has not even its head.
        if let Ok(reply) = reply {
            assert!(reply.into_body().collect().await.is_err(), "a reply is kept, window {window}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_read_slowly_and_rest_between_requests() {
    let server = server(Limits { head: HEAD, ..short_silences() }).await;
    // At once, from one that waits for slow readers too: a busy machine makes one of anybody.
    let patient = self::server(Limits::default()).await;
    let all = multiplexed(1 << 20).request(large(&patient)).await.unwrap();
    let all = all.into_body().collect().await.unwrap().to_bytes().len();
    assert!(all > 100_000);
    for _ in 0..TRIES {
        let (client, begun) = (multiplexed(8 << 10), Instant::now());
        // The machine may keep it from reading, or from asking, for as long as is too long.
        let Some(read) = slowly(client.request(large(&server)).await).await else { continue };
        assert_eq!(read, all);
        assert!(begun.elapsed() > SILENCE, "{:?}", begun.elapsed());
        tokio::time::sleep(HEAD * 2).await;
        if client.request(large(&server)).await.is_ok() {
            return;
        }
    }
    panic!("it is cut off");
}

/// The bytes of a reply that is read with pauses, if all come.
async fn slowly(
    reply: Result<hyper::Response<Incoming>, hyper_util::client::legacy::Error>,
) -> Option<usize> {
    let mut reply = reply.ok()?.into_body();
    let mut read = 0;
    while let Some(frame) = reply.frame().await {
        read += frame.ok()?.into_data().ok()?.len();
        tokio::time::sleep(SILENCE / 10).await;
    }
    Some(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_one_host_is_written_down_as_any_other() {
    let server = server(Limits::default()).await;
    let counted = "bellwether_http_requests_total{route=\"unmatched\",code=\"400\"}";
    assert_eq!(server.metric(counted).await, 0);
    let mut line = server.line().await;
    line.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\nhost: b\r\nx-request-id: mine\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 4096];
    let read = line.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nx-request-id: mine\r\n"), "{answer}");
    // In the shape of its protocol.
    assert!(
        answer.ends_with("{\"error\":\"a request names its host once, as HOST or HOST:PORT\"}"),
        "{answer}"
    );
    assert_eq!(server.metric(counted).await, 1);
}

/// All that the server says to a request with such headers and such a body till it closes the line; the client would listen on.
async fn said(server: &Server, headers: &str, body: &str) -> String {
    let mut line = server.line().await;
    let request = format!(
        "POST /bellwether/v1/keys HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\n{headers}\r\n\r\n{body}"
    );
    line.write_all(&[request.as_bytes(), ALIVE].concat()).await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(SLACK, line.read_to_end(&mut said)).await.expect("the line is closed");
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none_are_the_fault_of_who_sends_them() {
    let server = server(Limits::default()).await;
    for body in [
        "g\r\n",
        "\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}X0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}",
        "2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
        "2\r\n{}\r\n0\r\na\0: b\r\n\r\n",
    ] {
        let answer = said(&server, "transfer-encoding: chunked", body).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{body:?}: {answer}");
        assert!(answer.contains("x-request-id: mine") && answer.contains("CR LF"), "{body:?}: {answer}");
        assert!(
            answer.contains("\"status\":\"INVALID_ARGUMENT\"") && !answer.contains(" 200 "),
            "{body:?}: {answer}"
        );
    }
    // One that leaves is another matter.
    let mut line = server.line().await;
    line.write_all(b"POST /bellwether/v1/keys HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        .await
        .unwrap();
    line.shutdown().await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 499 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_coding_is_taken_for_chunks() {
    let server = server(Limits::default()).await;
    for (headers, status) in [
        ("transfer-encoding: chunked, chunked", "400 Bad Request"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "400 Bad Request"),
        ("transfer-encoding: gzip, chunked", "501 Not Implemented"),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", "501 Not Implemented"),
        ("transfer-encoding: identity, chunked", "501 Not Implemented"),
    ] {
        let answer = said(&server, headers, "2\r\n{}\r\n0\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{headers}: {answer}");
        assert!(
            answer.contains("connection: close\r\n") && answer.contains("x-request-id: mine"),
            "{headers}: {answer}"
        );
        assert!(answer.contains("transfer-encoding") && !answer.contains(" 200 "), "{headers}: {answer}");
    }
    assert_eq!(server.metric("bellwether_http_requests_total{route=\"unmatched\",code=\"501\"}").await, 3);
}
