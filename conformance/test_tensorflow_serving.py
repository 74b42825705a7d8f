"""TensorFlow Serving's REST API of `bellwether serve`: answers are those of the same SavedModel in TensorFlow, and texts those of its server."""

import json
import math
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from program import Reply, Server

MODEL = "/v1/models/sp500-deciles"


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> np.ndarray:
    return bundle.random_rows(300, seed=7)


def text(value: object) -> bytes:
    """JSON in which NaN is a bare token, as that server takes it."""
    return json.dumps(value).encode()


def ask(server: Server, verb: str, body: object, path: str = MODEL) -> Reply:
    return server.post(f"{path}:{verb}", body if isinstance(body, bytes) else text(body))


def floats(rows: np.ndarray) -> list:
    return rows.astype(float).tolist()


def test_rows_are_answered_as_tensorflow_answers(server, rows, tensorflow):
    reply = ask(server, "predict", {"instances": floats(rows)})
    assert reply.status == 200, reply.text
    assert difference(np.array(reply.json["predictions"]), tensorflow(rows)) <= PROBABILITY_TOLERANCE
    assert reply.headers["x-bellwether-model-version"].startswith("sp500-deciles@")
    assert ask(server, "PREDICT", {"instances": floats(rows)}, MODEL.upper().replace("SP500-DECILES", "sp500-deciles")).json == reply.json
    named = ask(server, "predict", {"instances": [{"features": row} for row in floats(rows)]})
    assert named.json == reply.json


def test_columns_are_answered_as_tensorflow_answers(server, rows, tensorflow):
    for inputs in (floats(rows), {"features": floats(rows)}):
        reply = ask(server, "predict", {"inputs": inputs, "signature_name": "serving_default"})
        assert difference(np.array(reply.json["outputs"]), tensorflow(rows)) <= PROBABILITY_TOLERANCE


def test_every_single_survives_both_ways(server, rows, bundle: Bundle):
    """What is read is the single that was meant, and what is written reads as the single that was computed: the bits of raw tensors say so."""
    bits = np.random.default_rng(3).integers(0, 2**32, (2000, 75), dtype=np.uint32)
    odd = bits.view(np.float32)
    odd = np.where(np.isfinite(odd), odd, np.nan).astype(np.float32)
    reply = ask(server, "predict", {"inputs": floats(odd)})
    assert reply.status == 200, reply.text[:500]
    by_text = np.array(reply.json["outputs"], np.float32)
    head = json.dumps({
        "inputs": [{"name": "features", "shape": list(odd.shape), "datatype": "FP32", "parameters": {"binary_data_size": odd.nbytes}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}],
    }).encode()
    request = urllib.request.Request(
        f"{server.url}/v2/models/sp500-deciles/infer", head + odd.tobytes(), {"inference-header-content-length": str(len(head))},
    )
    with urllib.request.urlopen(request) as answer:
        by_bytes = json.load(answer)["outputs"][0]["data"]
    by_bytes = np.array(by_bytes, np.float32).reshape(by_text.shape)
    assert np.array_equal(by_text, by_bytes, equal_nan=True)


def test_numbers_are_written_as_the_server_writes_them(server, rows):
    """Six digits if they read as the same single, else nine; `.0` after whole numbers."""
    reply = ask(server, "predict", {"inputs": floats(rows)})
    body = reply.text[reply.text.index("["): reply.text.rindex("]") + 1]
    written = body.replace("[", " ").replace("]", " ").replace(",", " ").split()
    assert len(written) == rows.shape[0] * 10
    for number in written:
        value = np.float32(number)
        short = f"{value:.6g}"
        expected = short if np.float32(short) == value else f"{value:.9g}"
        if "." not in expected and "e" not in expected:
            expected += ".0"
        assert number == expected


def test_bare_tokens_are_read(server, bundle: Bundle, tensorflow):
    row = bundle.random_rows(1, seed=8)[0]
    row[3] = math.nan
    body = text({"instances": [row.astype(float).tolist()]})
    assert b"NaN" in body
    reply = ask(server, "predict", body)
    assert difference(np.array(reply.json["predictions"]), tensorflow(row[None])) <= PROBABILITY_TOLERANCE
    refused = ask(server, "predict", body.replace(b"NaN", b"-Infinity"))
    assert refused.status == 400 and "infinite" in refused.json["error"]


def test_examples_by_the_names_of_features(server, bundle: Bundle, rows, tensorflow):
    rows = np.nan_to_num(rows[:20])
    examples = [dict(zip(bundle.feature_names, row, strict=True)) for row in floats(rows)]
    reply = ask(server, "classify", {"examples": examples})
    results = reply.json["results"]
    assert [[label for label, _ in row] for row in results] == [[str(at) for at in range(10)]] * len(rows)
    scores = np.array([[score for _, score in row] for row in results])
    assert difference(scores, tensorflow(rows)) <= PROBABILITY_TOLERANCE
    shared = {name: value for name, value in examples[0].items() if name != bundle.feature_names[0]}
    rest = [{bundle.feature_names[0]: example[bundle.feature_names[0]]} for example in examples[:1]]
    with_context = ask(server, "classify", {"context": shared, "examples": rest})
    assert with_context.json["results"] == results[:1]
    missing = ask(server, "classify", {"examples": rest})
    assert missing.status == 400 and "is required but could not be found." in missing.json["error"]


def test_status_and_metadata(server, bundle: Bundle):
    (version,) = server.get(MODEL).json["model_version_status"]
    assert version["state"] == "AVAILABLE" and version["status"] == {"error_code": "OK", "error_message": ""}
    number = version["version"]
    assert server.get(f"{MODEL}/versions/{number}").json["model_version_status"] == [version]
    assert server.get(f"{MODEL}/labels/nobody").status == 400
    metadata = server.get(f"{MODEL}/versions/{number}/metadata").json
    assert metadata["model_spec"] == {"name": "sp500-deciles", "signature_name": "", "version": number}
    found = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    signature = tf.saved_model.load(str(bundle.folder)).signatures["serving_default"]
    (name, spec), = signature.structured_input_signature[1].items()
    expected = found["inputs"][name]
    assert expected["dtype"] == "DT_FLOAT"
    assert [int(dim["size"]) for dim in expected["tensor_shape"]["dim"]] == [-1, *spec.shape[1:]]
    assert set(found["outputs"]) == set(signature.structured_outputs)
    # The message itself knows the names of tensors.
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(bundle.folder))
    proto = loaded.signature_def["serving_default"]
    assert expected["name"] == proto.inputs[name].name
    assert {key: info["name"] for key, info in found["outputs"].items()} == {key: info.name for key, info in proto.outputs.items()}


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (MODEL, b"", 400, "JSON Parse error: The document is empty"),
        (MODEL, b'{"instances": }', 400, "JSON Parse error: Invalid value. at offset: 14"),
        (MODEL, b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (MODEL, b'{"instances": [["a"]]}', 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"a\" Type: String is not of expected type: float"),
        (MODEL, b'{"instances": [[1, 2], [1, 2, 3]]}', 400,
         "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3"),
        (MODEL, b'{"instances": [1], "signature_name": "foo"}', 400, 'Serving signature name: "foo" not found in signature def'),
        ("/v1/models/half", b'{"instances": [1]}', 404, "Servable not found for request: Latest(half)"),
        ("/v1/models/half/versions/7", b'{"instances": [1]}', 404, "Servable not found for request: Specific(half, 7)"),
        (MODEL + "/labels/nobody", b'{"instances": [1]}', 400, "Unrecognized servable version label: nobody"),
    ],
)
def test_errors_have_the_servers_words(server, path, body, status, error):
    reply = ask(server, "predict", body, path)
    assert (reply.status, reply.json["error"]) == (status, error)


def test_what_is_no_call_is_malformed_but_not_below_projects(server):
    assert server.post("/v1/anything", {}).json == {"error": "Malformed request: POST /v1/anything"}
    assert server.get("/v1/models").json == {"error": "Missing model name in request."}
    assert server.get("/v1/projects/default/locations/us-central1/models/nobody").json["error"]["status"] == "NOT_FOUND"
