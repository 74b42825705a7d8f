"""The unmodified `tritonclient.http` against `bellwether serve`: what it gets is what TensorFlow gives for the same SavedModel."""

import time
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from program import Server

MODEL = "sp500-deciles"
CLASSES = 10


@pytest.fixture(scope="module")
def client(server: Server):
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> np.ndarray:
    return bundle.random_rows(200, seed=6)


def tensor(rows: np.ndarray, binary: bool = True, name: str = "features", datatype: str = "FP32") -> triton.InferInput:
    given = triton.InferInput(name, list(rows.shape), datatype)
    given.set_data_from_numpy(rows, binary_data=binary)
    return given


def probabilities(binary: bool = True, class_count: int = 0) -> triton.InferRequestedOutput:
    return triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=class_count)


def refused(client, *arguments, **named) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(*arguments, **named)
    return refusal.value


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "bellwether"
    metadata = client.get_model_metadata(MODEL)
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 75]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, CLASSES]}]
    (version,) = metadata["versions"]
    assert client.is_model_ready(MODEL, version) and not client.is_model_ready(MODEL, "99")
    config = client.get_model_config(MODEL, version)
    assert config["max_batch_size"] > 0 and config["input"][0]["dims"] == [75]


def test_raw_tensors_are_what_the_client_sends_by_default(client, rows, tensorflow):
    reply = client.infer(MODEL, [tensor(rows)], request_id="r-1")
    assert difference(reply.as_numpy("probabilities"), tensorflow(rows)) <= PROBABILITY_TOLERANCE
    assert reply.get_response()["id"] == "r-1"
    assert reply.get_response()["model_version"] in client.get_model_metadata(MODEL)["versions"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_raw_tensors_in_any_pairing(client, rows, tensorflow, binary_in, binary_out):
    given = rows if binary_in else np.nan_to_num(rows)
    reply = client.infer(MODEL, [tensor(given, binary_in)], outputs=[probabilities(binary_out)])
    assert difference(reply.as_numpy("probabilities"), tensorflow(given)) <= PROBABILITY_TOLERANCE


def test_json_carries_missing_values(client, rows, tensorflow):
    reply = client.infer(MODEL, [tensor(rows, binary=False)], outputs=[probabilities(binary=False)])
    assert difference(reply.as_numpy("probabilities"), tensorflow(rows)) <= PROBABILITY_TOLERANCE


@pytest.mark.parametrize("there", [None, "gzip", "deflate"])
@pytest.mark.parametrize("back", [None, "gzip", "deflate"])
def test_compression_both_ways(client, rows, tensorflow, there, back):
    reply = client.infer(
        MODEL, [tensor(rows)], request_compression_algorithm=there, response_compression_algorithm=back,
    )
    assert difference(reply.as_numpy("probabilities"), tensorflow(rows)) <= PROBABILITY_TOLERANCE


@pytest.mark.parametrize("raw", [True, False])
def test_classification_names_the_largest(client, rows, tensorflow, raw):
    reply = client.infer(MODEL, [tensor(rows)], outputs=[probabilities(raw, class_count=3)])
    found = reply.as_numpy("probabilities")
    assert found.shape == (len(rows), 3)
    for texts, expected in zip(found, tensorflow(rows), strict=True):
        texts = [text.decode() if isinstance(text, bytes) else text for text in texts]
        values, places = zip(*[text.split(":") for text in texts], strict=True)
        values, places = np.array(values, float), np.array(places, int)
        assert np.abs(values - expected[places]).max() <= 2 * PROBABILITY_TOLERANCE
        assert np.abs(values - np.sort(expected)[::-1][:3]).max() <= 2 * PROBABILITY_TOLERANCE


def test_one_raw_row_without_json(server: Server, rows, tensorflow):
    request = urllib.request.Request(
        f"{server.url}/v2/models/{MODEL}/infer", rows[:1].tobytes(), {"Inference-Header-Content-Length": "0"},
    )
    with urllib.request.urlopen(request) as reply:
        length = int(reply.headers["Inference-Header-Content-Length"])
        body = reply.read()
    found = triton.InferResult.from_response_body(body, header_length=length).as_numpy("probabilities")
    assert difference(found, tensorflow(rows[:1])) <= PROBABILITY_TOLERANCE


def test_statistics_count_rows(client, rows):
    def statistics():
        (found,) = client.get_inference_statistics(MODEL)["model_stats"]
        return found

    before = statistics()
    client.infer(MODEL, [tensor(rows)])
    after = statistics()
    assert after["inference_count"] - before["inference_count"] == len(rows)
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    names = {found["name"] for found in client.get_inference_statistics()["model_stats"]}
    assert MODEL in names


def test_the_repository_is_what_is_deployed(client):
    index = client.get_model_repository_index()
    assert {"name": MODEL, "state": "READY"}.items() <= next(found for found in index if found["name"] == MODEL).items()
    client.load_model(MODEL)
    with pytest.raises(InferenceServerException, match="deploy"):
        client.load_model("nobody")
    with pytest.raises(InferenceServerException, match="config"):
        client.load_model(MODEL, config="{}")
    with pytest.raises(InferenceServerException, match="endpoint undeploy sp500-deciles"):
        client.unload_model(MODEL)
    assert client.is_model_ready(MODEL)


def test_what_is_wrong_is_said_in_the_clients_exception(client, rows):
    unknown = refused(client, "nobody", [tensor(rows)])
    assert unknown.status() == "404" and unknown.message().startswith("Request for unknown model: 'nobody' is not found")
    assert refused(client, MODEL, [tensor(rows)], model_version="99").status() == "404"
    for given, words in [
        ([tensor(rows[:, :74])], "unexpected shape for input 'features'"),
        ([tensor(rows.astype(np.float64), datatype="FP64")], "expects 'FP32'"),
        ([tensor(rows, name="nobody")], "unexpected inference input 'nobody'"),
        ([tensor(rows), tensor(rows)], "given twice"),
        ([tensor(np.where(np.isnan(rows), np.inf, rows))], "infinite"),
    ]:
        refusal = refused(client, MODEL, given)
        assert refusal.status() == "400" and words in refusal.message(), refusal
    refusal = refused(client, MODEL, [tensor(rows)], outputs=[triton.InferRequestedOutput("nobody")])
    assert refusal.status() == "400" and "unexpected inference output 'nobody'" in refusal.message()


def test_http_and_grpc_tell_the_same_statistics(client, rows, server: Server):
    client.infer(MODEL, [tensor(rows[:3])])
    client.infer(MODEL, [tensor(rows[:3])])
    (over_http,) = client.get_inference_statistics(MODEL, "2")["model_stats"]
    with triton_grpc.InferenceServerClient(server.url.removeprefix("http://")) as other:
        (over_grpc,) = other.get_inference_statistics(MODEL, "2", as_json=True)["model_stats"]
    assert abs(over_http["last_inference"] / 1000 - time.time()) < 60
    # Google's JSON of 64-bit numbers is text, and leaves zeros out.
    for name in ["inference_count", "execution_count", "last_inference"]:
        assert int(over_grpc[name]) == over_http[name]
    for part in ["success", "queue", "compute_infer"]:
        told = {name: int(text) for name, text in over_grpc["inference_stats"][part].items()}
        assert told == {name: count for name, count in over_http["inference_stats"][part].items() if count}
    assert len(over_grpc["memory_usage"]) == 1 == len(over_http["memory_usage"])
    assert int(over_grpc["memory_usage"][0]["byte_size"]) == over_http["memory_usage"][0]["byte_size"] > 0
    batches = [(int(one["batch_size"]), int(one["compute_infer"]["count"])) for one in over_grpc["batch_stats"]]
    assert batches == [(one["batch_size"], one["compute_infer"]["count"]) for one in over_http["batch_stats"]]
    assert dict(batches)[3] >= 2 and sum(count for _, count in batches) == over_http["execution_count"]
    assert sum(rows * count for rows, count in batches) == over_http["inference_count"]
