//! The shapes of bodies. Requests are described as far as a client must know them, replies as far as one may rely on them.

use serde_json::{Value, json};

pub(super) fn all() -> Value {
    let mut all = common();
    for (name, schema) in [open_inference(), scoring(), vertex()].into_iter().flatten() {
        all[name] = schema;
    }
    all
}

fn common() -> Value {
    json!({
        "Object": {"type": "object"},
        "GoogleError": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "status": {"type": "string"},
                    "details": {"type": "array", "items": {"type": "object"}},
                },
            }},
        },
        "PlainError": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
        "CodedError": {
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        },
        "Readiness": {
            "type": "object",
            "required": ["ready", "reasons"],
            "properties": {"ready": {"type": "boolean"}, "reasons": texts()},
        },
        "KeyRequest": {
            "type": "object",
            "required": ["scope"],
            "additionalProperties": false,
            "properties": {
                "scope": {"enum": ["predict", "train", "admin"]},
                "project": {"type": "string"},
                "displayName": {"type": "string"},
                "expireTime": {"type": "string", "format": "date-time"},
            },
        },
    })
}

type Named = (&'static str, Value);

fn open_inference() -> Vec<Named> {
    let sizes = json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
    let tensor = json!({
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": sizes,
            "datatype": {"enum": ["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
    });
    let duration = json!({
        "type": "object",
        "required": ["count", "ns"],
        "properties": {"count": {"type": "integer"}, "ns": {"type": "integer"}},
    });
    let parts = [
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    ];
    let of_requests: serde_json::Map<String, Value> =
        parts.into_iter().map(|part| (part.to_owned(), duration.clone())).collect();
    vec![
        (
            "InferRequest",
            json!({
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "id": {"type": "string"},
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "items": tensor.clone()},
                    "outputs": {"type": "array", "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
                    }},
                },
            }),
        ),
        (
            "InferResponse",
            json!({
                "type": "object",
                "required": ["model_name", "model_version", "outputs"],
                "properties": {
                    "model_name": {"type": "string"},
                    "model_version": {"type": "string"},
                    "id": {"type": "string"},
                    "outputs": {"type": "array", "items": tensor},
                },
            }),
        ),
        ("RepositoryIndexRequest", json!({"type": "object", "properties": {"ready": {"type": "boolean"}}})),
        (
            "RepositoryIndex",
            json!({"type": "array", "items": {
                "type": "object",
                "required": ["name", "version", "state"],
                "properties": {
                    "name": {"type": "string"},
                    "version": {"type": "string"},
                    "state": {"enum": ["READY", "LOADING", "UNAVAILABLE"]},
                    "reason": {"type": "string"},
                },
            }}),
        ),
        (
            "ModelStatistics",
            json!({
                "type": "object",
                "required": ["model_stats"],
                "properties": {"model_stats": {"type": "array", "items": {
                    "type": "object",
                    "required": ["name", "version", "inference_count", "execution_count", "inference_stats"],
                    "properties": {
                        "name": {"type": "string"},
                        "version": {"type": "string"},
                        "last_inference": {"type": "integer"},
                        "inference_count": {"type": "integer"},
                        "execution_count": {"type": "integer"},
                        "inference_stats": {"type": "object", "required": parts, "properties": of_requests},
                        "batch_stats": {"type": "array", "items": {"type": "object"}},
                        "memory_usage": {"type": "array", "items": {"type": "object"}},
                    },
                }}},
            }),
        ),
    ]
}

fn scoring() -> Vec<Named> {
    let examples = json!({"type": "array", "items": {"type": "object"}});
    vec![
        (
            "TensorFlowPredict",
            json!({
                "type": "object",
                "properties": {"signature_name": {"type": "string"}, "instances": {"type": "array"}, "inputs": {}},
            }),
        ),
        (
            "TensorFlowExamples",
            json!({
                "type": "object",
                "required": ["examples"],
                "properties": {
                    "signature_name": {"type": "string"},
                    "context": {"type": "object"},
                    "examples": examples,
                },
            }),
        ),
        (
            "MlflowRequest",
            json!({
                "type": "object",
                "properties": {
                    "dataframe_split": {"type": "object", "properties": {
                        "columns": {"type": "array"},
                        "index": {"type": "array"},
                        "data": {"type": "array", "items": {"type": "array"}},
                    }},
                    "dataframe_records": {"type": "array", "items": {"type": "object"}},
                    "instances": {"type": "array"},
                    "inputs": {},
                    "params": {"type": "object"},
                },
            }),
        ),
        (
            "MlflowResponse",
            json!({"type": "object", "required": ["predictions"], "properties": {"predictions": {"type": "array"}}}),
        ),
    ]
}

fn vertex() -> Vec<Named> {
    let text = || json!({"type": "string"});
    let labels = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let split = || json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 100}});
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let model = || {
        json!({
            "displayName": text(), "description": text(), "versionDescription": text(), "labels": labels(),
            "artifactUri": text(), "versionAliases": texts(),
        })
    };
    vec![
        ("Model", object(model())),
        (
            "UploadModelRequest",
            object(json!({"modelId": text(), "parentModel": text(), "model": object(model())})),
        ),
        (
            "Endpoint",
            object(
                json!({"displayName": text(), "description": text(), "labels": labels(), "trafficSplit": split()}),
            ),
        ),
        (
            "DeployModelRequest",
            object(json!({
                "deployedModel": object(json!({
                    "id": text(), "model": text(), "displayName": text(), "engine": text(),
                    "cpuCores": {"type": "number"}, "memoryGb": {"type": "number"},
                    "dedicatedResources": object(json!({"machineSpec": object(json!({"machineType": text()}))})),
                })),
                "trafficSplit": split(),
            })),
        ),
        ("UndeployModelRequest", object(json!({"deployedModelId": text(), "trafficSplit": split()}))),
        ("MergeVersionAliasesRequest", object(json!({"versionAliases": texts()}))),
        (
            "PredictRequest",
            json!({
                "type": "object",
                "required": ["instances"],
                "properties": {
                    "instances": {"type": "array", "items": {"anyOf": [
                        {"type": "array", "items": {"type": ["number", "null"]}},
                        {"type": "object", "required": ["symbol"], "properties": {"symbol": text()}},
                        {"type": "object", "required": ["features"], "properties": {"features": {"type": "array"}}},
                    ]}},
                    "parameters": object(json!({"as_of": {"type": "string", "format": "date"}})),
                },
            }),
        ),
        (
            "CustomJob",
            object(json!({
                "displayName": text(), "labels": labels(), "pipeline": text(), "from": text(), "kind": text(),
                "jobSpec": object(json!({"workerPoolSpecs": {"type": "array", "items": {"type": "object"}}})),
            })),
        ),
    ]
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}
