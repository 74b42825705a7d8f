//! gRPC, by a client of `tonic` that calls the router as a connection would, and over one port with HTTP/1.1.

mod bad_input;
mod health;
pub(crate) mod open_inference;
mod port;
mod stopping;
mod tensorflow_serving;

use axum::Router;
use axum::http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::fixture::{FEATURES, Server};

/// Calls a unary method.
pub(crate) async fn call<Q, R>(server: &Server, path: &'static str, request: Q) -> Result<Response<R>, Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    call_with(client(server), path, Request::new(request)).await
}

/// Calls a unary method with metadata.
pub(crate) async fn call_with<Q, R>(
    mut client: Grpc<Router>,
    path: &'static str,
    request: Request<Q>,
) -> Result<Response<R>, Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    client.ready().await.expect("a router is always ready");
    client.unary(request, PathAndQuery::from_static(path), ProstCodec::default()).await
}

pub(crate) fn client(server: &Server) -> Grpc<Router> {
    Grpc::new(server.service.router())
}

/// Two rows for the model of [`Server::deployed`], and what it answers over HTTP.
pub(crate) async fn rows_and_answers(server: &Server) -> (Vec<f32>, Vec<f32>) {
    let rows: Vec<f32> = server.newest.iter().take(2).flat_map(|row| row.features.clone()).collect();
    assert_eq!(rows.len(), 2 * FEATURES);
    let instances: Vec<&[f32]> = rows.chunks(FEATURES).collect();
    let body = serde_json::json!({ "instances": instances }).to_string();
    let reply = server.post_ok("endpoints/tiny:predict", &body).await;
    let predictions = reply["predictions"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    (rows, predictions.map(|value| value.as_f64().unwrap() as f32).collect())
}

#[track_caller]
pub(crate) fn metadata<'a, T>(response: &'a Response<T>, name: &str) -> &'a str {
    response.metadata().get(name).map_or("", |value| value.to_str().unwrap())
}
