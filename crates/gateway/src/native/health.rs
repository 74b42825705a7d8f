//! `GET /healthz`: the process answers. `GET /readyz`: it can answer for everything it should serve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use platform::Readiness;

use crate::observe::Route;
use crate::router::Gateway;

/// 200 as long as the process lives.
pub(crate) async fn alive() -> Response {
    counted("healthz", "ok")
}

/// 200 if all deployments are in service, else 503; the body gives the reasons.
pub(crate) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    counted("readyz", reply(gateway.platform.readiness()))
}

fn reply(readiness: Readiness) -> impl IntoResponse {
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

fn counted(route: &'static str, reply: impl IntoResponse) -> Response {
    let mut response = reply.into_response();
    response.extensions_mut().insert(Route(route));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn not_ready_is_503_with_its_reasons() {
        let response = reply(Readiness { ready: false, reasons: vec!["why".to_owned()] }).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        assert_eq!(&body[..], br#"{"ready":false,"reasons":["why"]}"#);
        let response = reply(Readiness { ready: true, reasons: Vec::new() }).into_response();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
