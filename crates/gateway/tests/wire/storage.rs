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

#[tokio::test(flavor = "multi_thread")]
async fn names_conditions_and_checksums_are_kept_to() {
    const AT_ONCE: &str = "/upload/storage/v1/b/bucket/o?uploadType=media&name=";
    const PARTS: &str = "/upload/storage/v1/b/bucket/o?uploadType=multipart";
    let server = Server::empty(GatewayOptions::default()).await;
    let send = async |request: axum::http::request::Builder, body: &str| {
        server.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    for name in ["saved", "saved/model.pb", "a/b/c", "a/b"] {
        let answer = send(Request::post(format!("{AT_ONCE}{name}")), name).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        let read = send(Request::get(format!("/storage/v1/b/bucket/o/{name}?alt=media")), "").await;
        assert_eq!(read.text, name);
    }
    let again = format!("{AT_ONCE}saved&ifGenerationMatch=0");
    for request in [Request::post(&again), Request::post(format!("{BEGIN}&ifGenerationMatch=7"))] {
        let answer = send(request, "").await;
        assert_eq!(answer.status, 412, "{}", answer.text);
        assert_eq!(answer.json()["error"]["code"], 412);
        assert_eq!(answer.json()["error"]["errors"][0]["reason"], "conditionNotMet");
    }
    let read = send(Request::get("/storage/v1/b/bucket/o/saved?ifGenerationMatch=1"), "").await;
    assert_eq!(read.status, 412);
    let gone = send(Request::delete("/storage/v1/b/bucket/o/saved?ifGenerationMatch=1"), "").await;
    assert_eq!(gone.status, 412);
    let described = |md5: &str| {
        let object = format!("{{\"name\": \"sum\", \"md5Hash\": \"{md5}\"}}");
        format!("--x\r\n\r\n{object}\r\n--x\r\n\r\nbytes\r\n--x--")
    };
    let multipart = || Request::post(PARTS).header("content-type", "multipart/related; boundary=x");
    let refused = send(multipart(), &described("AAAAAAAAAAAAAAAAAAAAAA==")).await;
    assert!(refused.status == 400 && refused.text.contains("MD5"), "{}", refused.text);
    let taken = send(multipart(), &described("SzpiGLs+OnMD6KFxpg/Pkg==")).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    assert_eq!(taken.json()["md5Hash"], "SzpiGLs+OnMD6KFxpg/Pkg==");
}
