//! One port: HTTP/1.1 and gRPC at the same address.

use std::io;
use std::net::SocketAddr;

use axum::http::{Uri, uri::PathAndQuery};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use protos::serving::inference::{ServerReadyRequest, ServerReadyResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use crate::fixture::Server;

/// A server at a port of this machine.
struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

async fn listen(server: &Server) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(gateway::serve(listener, server.service.clone(), None, shutdown));
    Listening { address, stop, serving }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_grpc_share_a_port() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let Listening { address, stop, serving } = listen(&server).await;

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let origin: Uri = format!("http://{address}").parse().unwrap();
    let mut client = Grpc::with_origin(http2, origin);
    for _ in 0..3 {
        client.ready().await.unwrap();
        let codec: ProstCodec<ServerReadyRequest, ServerReadyResponse> = ProstCodec::default();
        let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ServerReady");
        let reply = client.unary(tonic::Request::new(ServerReadyRequest {}), path, codec).await.unwrap();
        assert!(reply.metadata().get("x-request-id").is_some());
        assert!(reply.into_inner().ready);
    }
    drop(client);
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_after_the_server_is_told_to_stop() {
    let server = Server::deployed().await;
    let Listening { address, stop, serving } = listen(&server).await;

    let idle = TcpStream::connect(address).await.unwrap();
    let body = r#"{"instances": [[0.1, 0.2]]}"#;
    let mut clients = Vec::new();
    // A question is answered on the thread of its connection, anything else elsewhere.
    for path in ["endpoints/tiny:predict", "endpoints/tiny:undeployModel"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!(
            "POST /v1/projects/default/locations/us-central1/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"expect: 100-continue\r\n\r\n").await.unwrap();
        let mut goes_on = [0; 25];
        client.read_exact(&mut goes_on).await.unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        clients.push(client);
    }
    stop.send(()).unwrap();
    for mut client in clients {
        client.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("INVALID_ARGUMENT"), "{answer}");
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), serving).await;
    ended.expect("idle connections do not hold it up").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}
