//! `GET /openapi.json`: what this server answers over HTTP, as an OpenAPI 3.1 document.
//!
//! Vertex AI's calls are taken from the table that answers them, the other protocols' from `routes`; tests ask the router
//! for each of them, and hold every path it takes against the document. What is known and not offered (501), and `HEAD`,
//! which every `GET` but Vertex AI's takes, are left out. Deliberately not here: gRPC, which describes itself.

mod operation;
mod routes;
mod schemas;
#[cfg(test)]
mod tests;
mod vertex;

use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::observe::Route;
use operation::Operation;

/// The document.
pub(crate) async fn answer() -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| document().to_string().into()).clone();
    let mut response = ([(header::CONTENT_TYPE, "application/json")], document).into_response();
    response.extensions_mut().insert(Route("openapi"));
    response
}

/// All that is answered.
fn operations() -> Vec<Operation> {
    let mut all = vertex::operations();
    all.extend(routes::operations());
    all
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut names: Vec<&'static str> = Vec::new();
    for operation in operations() {
        let before = names.iter().filter(|name| **name == operation.route).count();
        names.push(operation.route);
        let path = paths.entry(operation.path.clone()).or_insert_with(|| operation.parameters());
        path[operation.method] = operation.document(before);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bellwether",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models for investing, served: Vertex AI REST, Open Inference v2 with Triton's extensions, TensorFlow Serving REST, \
                            MLflow scoring, SageMaker's runtime, and the part of Cloud Storage's JSON API that stages files. The same port answers gRPC. \
                            Numbers in requests may be the bare tokens NaN and Infinity where a protocol's clients send them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags(),
        "security": [{"bearer": []}, {"apiKey": []}, {"googleApiKey": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key made by `bellwether key create`. Without any key made, none is asked for."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "googleApiKey": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
            },
        },
    })
}

fn tags() -> Value {
    json!([
        {"name": "vertex", "description": "Vertex AI REST v1"},
        {"name": "open_inference", "description": "Open Inference Protocol v2 with Triton's extensions"},
        {"name": "tensorflow_serving", "description": "TensorFlow Serving's REST API"},
        {"name": "mlflow", "description": "MLflow's scoring protocol"},
        {"name": "sagemaker", "description": "SageMaker's runtime"},
        {"name": "storage", "description": "Cloud Storage's JSON API, as far as staging needs it"},
        {"name": "native", "description": "Keys, signs of life, metrics, this document"},
    ])
}
