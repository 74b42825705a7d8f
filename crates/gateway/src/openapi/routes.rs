//! What is answered beside Vertex AI's calls.

use super::operation::{Content, Operation};
use crate::dialect::Dialect;

const JSON: &[Content] = &[("application/json", Some("Object"))];
const TEXT: &[Content] = &[("text/plain", None)];

pub(super) fn operations() -> Vec<Operation> {
    let mut all = open_inference();
    all.extend(tensorflow_serving());
    all.extend(scoring());
    all.extend(storage());
    all.extend(native());
    all
}

fn open_inference() -> Vec<Operation> {
    let of = |method, path: &str, route| Operation::new(Dialect::OpenInference, method, path, route);
    let mut all = vec![
        of("get", "/v2", "v2.metadata").summary("What the server is").gives(
            "200",
            "Name, version, extensions",
            JSON,
        ),
        of("get", "/v2/health/live", "v2.health.live").summary("The process answers").open().gives(
            "200",
            "It does",
            &[],
        ),
        of("get", "/v2/health/ready", "v2.health.ready")
            .summary("Everything deployed is in service")
            .open()
            .gives("200", "It is", &[])
            .gives("400", "It is not", &[]),
        of("get", "/v2/models/stats", "v2.model.stats").summary("What all models have done").gives(
            "200",
            "Statistics",
            &[("application/json", Some("ModelStatistics"))],
        ),
        of("post", "/v2/repository/index", "v2.repository.index")
            .summary("What is deployed")
            .takes(&[("application/json", Some("RepositoryIndexRequest"))])
            .gives("200", "Versions and their states", &[("application/json", Some("RepositoryIndex"))]),
        of("post", "/v2/repository/models/{model}/load", "v2.repository.load")
            .summary("Whether a model is in service, and why not")
            .takes(JSON)
            .gives("200", "It is", &[]),
        of("post", "/v2/repository/models/{model}/unload", "v2.repository.unload")
            .summary("Refused while a model is deployed")
            .takes(JSON)
            .gives("200", "It is not deployed", &[]),
    ];
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        let at = |rest: &str| format!("{model}{rest}");
        let of = |method, rest, route| Operation::new(Dialect::OpenInference, method, at(rest), route);
        all.extend([
            of("get", "", "v2.model.metadata").summary("What a model takes and gives").gives(
                "200",
                "Inputs and outputs",
                JSON,
            ),
            of("get", "/ready", "v2.model.ready").summary("Whether a model answers").gives(
                "200",
                "It does",
                &[],
            ),
            of("get", "/config", "v2.model.config")
                .summary("A model's configuration, in Triton's words")
                .gives("200", "The configuration", JSON),
            of("get", "/stats", "v2.model.stats").summary("What a model has done").gives(
                "200",
                "Statistics",
                &[("application/json", Some("ModelStatistics"))],
            ),
            of("post", "/infer", "v2.model.infer")
                .summary("Asks a model; raw tensors may follow the JSON (Inference-Header-Content-Length)")
                .asks()
                .takes(&[("application/json", Some("InferRequest")), ("application/octet-stream", None)])
                .gives(
                    "200",
                    "Outputs",
                    &[("application/json", Some("InferResponse")), ("application/octet-stream", None)],
                ),
        ]);
    }
    all
}

fn tensorflow_serving() -> Vec<Operation> {
    let mut all = Vec::new();
    for model in
        ["/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{label}"]
    {
        let of = |method, rest: &str, route| {
            Operation::new(Dialect::TensorFlowServing, method, format!("{model}{rest}"), route)
        };
        all.extend([
            of("get", "", "tensorflow_serving.status")
                .summary("The states of a model's versions")
                .gives("200", "States", JSON),
            of("get", "/metadata", "tensorflow_serving.metadata").summary("A model's signature").gives(
                "200",
                "The signature",
                JSON,
            ),
            of("post", ":predict", "tensorflow_serving.predict")
                .summary("Asks a model, by rows (instances) or columns (inputs)")
                .asks()
                .takes(&[("application/json", Some("TensorFlowPredict"))])
                .gives("200", "Predictions or outputs", JSON),
            of("post", ":classify", "tensorflow_serving.classify")
                .summary("A label and a score for each number of the model's output")
                .asks()
                .takes(&[("application/json", Some("TensorFlowExamples"))])
                .gives("200", "Results", JSON),
            of("post", ":regress", "tensorflow_serving.regress")
                .summary("A number for each example")
                .asks()
                .takes(&[("application/json", Some("TensorFlowExamples"))])
                .gives("200", "Results", JSON),
        ]);
    }
    all
}

const TABLES: &[Content] = &[
    ("application/json", Some("MlflowRequest")),
    ("text/csv", None),
    ("application/vnd.apache.arrow.stream", None),
];
const SCORES: &[Content] =
    &[("application/json", Some("MlflowResponse")), ("application/vnd.apache.arrow.stream", None)];

fn scoring() -> Vec<Operation> {
    let of = |method, path: &str, route| Operation::new(Dialect::MlFlow, method, path, route);
    let health = |path: &str| {
        of("get", path, "mlflow.health")
            .summary("Whether /invocations would be answered")
            .open()
            .gives("200", "It would", &[("application/json", None)])
            .gives("404", "It would not", &[("application/json", None)])
    };
    vec![
        of("post", "/invocations", "mlflow.invocations")
            .summary("Asks the default model, or the only one")
            .asks()
            .takes(TABLES)
            .gives("200", "Predictions", SCORES),
        health("/ping"),
        health("/health"),
        of("get", "/version", "mlflow.version").summary("The server's version").gives(
            "200",
            "The version",
            TEXT,
        ),
        Operation::new(
            Dialect::SageMaker,
            "post",
            "/endpoints/{endpoint}/invocations",
            "sagemaker.invocations",
        )
        .summary("Asks an endpoint of the project default, or a model of that name")
        .asks()
        .takes(TABLES)
        .gives("200", "Predictions", SCORES),
    ]
}

fn storage() -> Vec<Operation> {
    let of = |method, path: String, route| Operation::new(Dialect::Storage, method, path, route);
    let mut all = vec![
        of("post", "/storage/v1/b".to_owned(), "storage.buckets")
            .summary("Every bucket with a valid name is there")
            .takes(JSON)
            .gives("200", "The bucket", JSON),
    ];
    for prefix in ["/storage/v1", "/download/storage/v1"] {
        let object = format!("{prefix}/b/{{bucket}}/o/{{object}}");
        all.extend([
            of("get", format!("{prefix}/b/{{bucket}}"), "storage.bucket").summary("A bucket").gives(
                "200",
                "The bucket",
                JSON,
            ),
            of("get", format!("{prefix}/b/{{bucket}}/o"), "storage.objects")
                .summary("The objects of a bucket")
                .query(&["prefix", "delimiter", "pageToken", "maxResults"])
                .gives("200", "Objects", JSON),
            of("get", object.clone(), "storage.object")
                .summary("An object, or its bytes (alt=media)")
                .query(&["alt"])
                .gives(
                    "200",
                    "The object",
                    &[("application/json", Some("Object")), ("application/octet-stream", None)],
                )
                .gives("206", "A range of its bytes", &[("application/octet-stream", None)]),
            of("delete", object, "storage.object").summary("Deletes an object").gives(
                "204",
                "It is gone",
                &[],
            ),
        ]);
    }
    let upload = |method| of(method, "/upload/storage/v1/b/{bucket}/o".to_owned(), "storage.upload");
    all.extend([
        upload("post")
            .summary("Uploads an object at once, or begins to in parts (uploadType=resumable)")
            .query(&["uploadType", "name"])
            .takes(&[
                ("application/octet-stream", None),
                ("application/json", None),
                ("multipart/related", None),
            ])
            .gives("200", "The object, or where its parts go", JSON),
        upload("put")
            .summary("A part of an object")
            .query(&["upload_id"])
            .takes(&[("application/octet-stream", None)])
            .gives("200", "The object", JSON)
            .gives("308", "More is to come", &[]),
        upload("delete").summary("Gives an upload up").query(&["upload_id"]).gives(
            "499",
            "It is given up",
            &[],
        ),
    ]);
    all
}

fn native() -> Vec<Operation> {
    let of = |method, path: &str, route| Operation::new(Dialect::Native, method, path, route);
    vec![
        of("get", "/bellwether/v1/keys", "native.keys")
            .summary("API keys and what they did")
            .gives("200", "Keys", JSON),
        of("post", "/bellwether/v1/keys", "native.keys")
            .summary("Makes an API key; its secret is in this reply alone")
            .takes(&[("application/json", Some("KeyRequest"))])
            .gives("200", "The key", JSON),
        of("post", "/bellwether/v1/keys/{key}:revoke", "native.keys")
            .summary("Revokes a key at once")
            .gives("200", "The key", JSON),
        of("get", "/healthz", "healthz").summary("The process answers").open().gives("200", "It does", TEXT),
        of("get", "/readyz", "readyz")
            .summary("Everything deployed is in service")
            .open()
            .gives("200", "It is", &[("application/json", Some("Readiness"))])
            .gives("503", "It is not, and why", &[("application/json", Some("Readiness"))]),
        of("get", "/metrics", "metrics").summary("Counters in Prometheus' format").gives(
            "200",
            "The counters",
            TEXT,
        ),
        of("get", "/openapi.json", "openapi").summary("This document").gives("200", "The document", JSON),
    ]
}
