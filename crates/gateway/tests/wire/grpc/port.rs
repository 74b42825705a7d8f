//! One port: HTTP/1.1 and gRPC at the same address.

use axum::http::{Uri, uri::PathAndQuery};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use protos::serving::inference::{ServerReadyRequest, ServerReadyResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use crate::fixture::Server;

#[tokio::test(flavor = "multi_thread")]
async fn http_and_grpc_share_a_port() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(gateway::serve(listener, server.router.clone(), None, shutdown));

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
