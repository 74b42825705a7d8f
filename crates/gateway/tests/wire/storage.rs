//! Staging over the wire: where the parts of an upload go. What is staged is `conformance/test_storage.py`'s.

use axum::body::Body;
use axum::http::Request;
use gateway::GatewayOptions;

use crate::fixture::Server;

const BEGIN: &str = "/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a/b";

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_an_upload_go_where_the_client_has_reached_the_server() {
    let server = Server::empty(GatewayOptions::default()).await;
    let tls = server.with(GatewayOptions { tls: true, ..GatewayOptions::default() });
    let of_http_1 = || Request::post(BEGIN).header("host", "here:8443");
    // HTTP/2 names the host in the URI.
    let of_http_2 = |scheme: &str| Request::post(format!("{scheme}://here:8443{BEGIN}"));
    for (server, scheme, request) in [
        (&server, "http", of_http_1()),
        (&server, "http", of_http_2("http")),
        (&tls, "https", of_http_1()),
        (&tls, "https", of_http_2("https")),
    ] {
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let session =
            format!("{scheme}://here:8443/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=");
        assert!(answer.header("location").starts_with(&session), "{}", answer.header("location"));
    }
}
