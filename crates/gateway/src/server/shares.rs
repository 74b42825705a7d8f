//! What one address leaves to others, over real sockets with addresses of the loopback network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use platform::{Options, Platform};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::connections::CutOff;
use crate::{GatewayOptions, Service, Stopping};

/// What a busy machine may take.
const SOON: Duration = Duration::from_secs(10);

async fn server(options: GatewayOptions) -> (SocketAddr, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let platform = Options {
        data_dir: dir.path().to_owned(),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    let service = Service::new(Platform::open(platform).await.unwrap(), options, Stopping::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(super::serve(listener, service, None, std::future::pending()));
    (address, dir)
}

/// A connection from 127.0.0.`from`.
async fn line(server: SocketAddr, from: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
    socket.connect(server).await.unwrap()
}

/// The head of the answer to a GET, and what the line says of itself; nothing if the line was closed before.
async fn get(line: &mut TcpStream, path: &str) -> String {
    let mut answer = vec![0; 64 << 10];
    let _ = line.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    let read = tokio::time::timeout(SOON, line.read(&mut answer)).await.expect("it is answered");
    String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned()
}

/// Asks until the answer begins so, and gives it and its line: what ends elsewhere takes a moment, and who is refused and does not ask
/// within one is told nothing.
async fn comes_to(begins: &str, server: SocketAddr, (from, path): (u8, &str)) -> (String, TcpStream) {
    let begun = std::time::Instant::now();
    loop {
        let mut line = line(server, from).await;
        let answer = get(&mut line, path).await;
        if answer.starts_with(begins) {
            return (answer, line);
        }
        assert!(begun.elapsed() < SOON, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_leaves_half_of_the_connections_to_others() {
    let (server, _dir) = server(GatewayOptions { max_connections: 8, ..GatewayOptions::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(line(server, 2).await);
    }
    let (refused, _) = comes_to("HTTP/1.1 503 ", server, (2, "/healthz")).await;
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("\"status\": \"UNAVAILABLE\""), "{refused}");
    // In HTTP/2: settings, and a GOAWAY that says why.
    let mut said = Vec::new();
    for _ in 0..10 {
        let mut multiplexed = line(server, 2).await;
        let _ = multiplexed.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        let end = tokio::time::timeout(SOON, multiplexed.read_to_end(&mut said)).await.expect("it is closed");
        // Who is too late is told nothing.
        if end.is_ok() && !said.is_empty() {
            break;
        }
        said.clear();
    }
    assert_eq!((said.len(), said[3], said[12], said.last()), (26, 4, 7, Some(&11)), "{said:?}");
    // Others are answered until all places are taken.
    for _ in 0..4 {
        let mut other = line(server, 3).await;
        let answer = get(&mut other, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        idle.push(other);
    }
    comes_to("HTTP/1.1 503 ", server, (4, "/healthz")).await;
    idle.remove(0);
    comes_to("HTTP/1.1 200 ", server, (4, "/healthz")).await;
    // Those of other tests too.
    assert!(CutOff::NoPlace.times() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_key_leaves_half_of_the_requests_to_others() {
    let options = GatewayOptions { max_concurrent_requests: 4, ..GatewayOptions::default() };
    let (server, _dir) = server(options).await;
    let half = "POST /v1/projects/p/locations/l/endpoints/e:predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut line = line(server, 2).await;
        line.write_all(half.as_bytes()).await.unwrap();
        // It has begun when its body is asked for; what came before it would have its place.
        let mut said = [0; 64];
        let read = line.read(&mut said).await.unwrap();
        assert!(said[..read].starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&said[..read]));
        held.push(line);
    }
    let (_, mut refused) = comes_to("HTTP/1.1 429 ", server, (2, "/v2")).await;
    let refused = get(&mut refused, "/v2").await;
    assert!(
        refused.contains("retry-after: 1") && refused.contains("2 requests of this address"),
        "{refused}"
    );
    assert!(get(&mut line(server, 2).await, "/healthz").await.starts_with("HTTP/1.1 200 "), "it lives");
    assert!(get(&mut line(server, 3).await, "/v2").await.starts_with("HTTP/1.1 200 "), "others are answered");
    held.clear();
    comes_to("HTTP/1.1 200 ", server, (2, "/v2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_the_time_that_is_said() {
    let options = GatewayOptions { head_timeout: Duration::from_millis(200), ..GatewayOptions::default() };
    let (server, _dir) = server(options).await;
    let mut line = line(server, 2).await;
    let read = tokio::time::timeout(SOON, line.read(&mut [0])).await.expect("it is cut off");
    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(CutOff::NoRequest.times() >= 1);
}
