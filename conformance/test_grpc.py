"""gRPC on the port of HTTP, by the clients that others wrote: Triton's `tritonclient` and TensorFlow Serving's own stubs.

Answers are held against TensorFlow running the same SavedModel.
"""

import queue
from pathlib import Path

import grpc
import numpy as np
import pytest

from bundle import PROBABILITY_TOLERANCE, Bundle, difference
from program import Program, Server

import tensorflow as tf  # noqa: E402  after bundle, which silences it
import tritonclient.grpc as triton  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tritonclient.utils import InferenceServerException  # noqa: E402

import keras_models  # noqa: E402

MODEL = "sp500-deciles"
VERSION_METADATA = "x-bellwether-model-version"
# Of numbers that no softmax bounds, relative to the largest.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    return server.url.removeprefix("http://")


@pytest.fixture(scope="module")
def client(address: str):
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(scope="module")
def channel(address: str):
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> np.ndarray:
    return bundle.random_rows(200, seed=8)


def features(rows: np.ndarray) -> list[triton.InferInput]:
    given = triton.InferInput("features", rows.shape, "FP32")
    given.set_data_from_numpy(rows)
    return [given]


# Triton's client.


def test_triton_finds_the_server_and_the_model(client: triton.InferenceServerClient, bundle: Bundle):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "2")
    assert not client.is_model_ready(MODEL, "77") and not client.is_model_ready("other")
    assert client.get_server_metadata().name == "bellwether"
    metadata = client.get_model_metadata(MODEL)
    width = len(bundle.feature_names)
    assert [(x.name, x.datatype, list(x.shape)) for x in metadata.inputs] == [("features", "FP32", [-1, width])]
    assert [x.name for x in metadata.outputs] == ["probabilities"] and list(metadata.versions) == ["2"]
    config = client.get_model_config(MODEL, as_json=True)["config"]
    assert config["name"] == MODEL and config["max_batch_size"] > 0
    assert config["input"][0]["dims"] == [str(width)] and config["input"][0]["data_type"] == "TYPE_FP32"
    (entry,) = [model for model in client.get_model_repository_index().models if model.name == MODEL]
    assert (entry.version, entry.state) == ("2", "READY")


def test_triton_is_answered_as_tensorflow_does(client: triton.InferenceServerClient, rows: np.ndarray, tensorflow):
    expected = tensorflow(rows)
    for version in ["", "2", "default"]:
        result = client.infer(MODEL, features(rows), model_version=version, request_id="seven")
        assert difference(result.as_numpy("probabilities"), expected) <= PROBABILITY_TOLERANCE
        reply = result.get_response()
        assert (reply.model_name, reply.model_version, reply.id) == (MODEL, "2", "seven")
    asked = [triton.InferRequestedOutput("probabilities")]
    for encoding in ["gzip", "deflate"]:
        result = client.infer(MODEL, features(rows), outputs=asked, compression_algorithm=encoding)
        assert difference(result.as_numpy("probabilities"), expected) <= PROBABILITY_TOLERANCE


def test_triton_asks_for_classes(client: triton.InferenceServerClient, rows: np.ndarray, tensorflow):
    expected = tensorflow(rows[:5])
    asked = [triton.InferRequestedOutput("probabilities", class_count=3)]
    classes = client.infer(MODEL, features(rows[:5]), outputs=asked).as_numpy("probabilities")
    assert classes.shape == (5, 3)
    for texts, probabilities in zip(classes, expected):
        pairs = [text.decode().split(":") for text in texts]
        values = [float(value) for value, _ in pairs]
        assert values == sorted(values, reverse=True)
        assert abs(values[0] - probabilities.max()) <= PROBABILITY_TOLERANCE
        assert all(abs(probabilities[int(index)] - float(value)) <= PROBABILITY_TOLERANCE for value, index in pairs)


def test_triton_streams_in_order_past_an_error(address: str, rows: np.ndarray, tensorflow):
    expected = tensorflow(rows)
    answers: queue.Queue = queue.Queue()
    # A client of its own: it has one stream at a time.
    with triton.InferenceServerClient(address) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for at in range(50):
            client.async_stream_infer("other" if at == 20 else MODEL, features(rows[at : at + 1]), request_id=str(at))
        got = [answers.get(timeout=30) for _ in range(50)]
        client.stop_stream()
    for at, (result, error) in enumerate(got):
        if at == 20:
            assert "other" in str(error) and "is not deployed" in str(error)
        else:
            reply = result.get_response()
            assert error is None and reply.id == str(at)
            # Metadata come once for the stream, so each reply has them among its parameters.
            assert reply.parameters[VERSION_METADATA].string_param == f"{MODEL}@2"
            assert "compute;dur=" in reply.parameters["server-timing"].string_param
            assert difference(result.as_numpy("probabilities"), expected[at : at + 1]) <= PROBABILITY_TOLERANCE


def test_triton_asks_many_at_once(client: triton.InferenceServerClient, rows: np.ndarray, tensorflow):
    expected = tensorflow(rows)
    answers: queue.Queue = queue.Queue()
    for at in range(100):
        client.async_infer(
            MODEL, features(rows[at : at + 2]), callback=lambda result, error, at=at: answers.put((at, result, error)),
        )
    for _ in range(100):
        at, result, error = answers.get(timeout=30)
        assert error is None
        assert difference(result.as_numpy("probabilities"), expected[at : at + 2]) <= PROBABILITY_TOLERANCE


def test_triton_counts_rows_and_batches(client: triton.InferenceServerClient, rows: np.ndarray):
    def counted():
        (statistics,) = client.get_inference_statistics(MODEL).model_stats
        return statistics.inference_count, statistics.execution_count, statistics.inference_stats.success.count

    before = counted()
    for _ in range(4):
        client.infer(MODEL, features(rows[:25]))
    assert [now - then for now, then in zip(counted(), before)] == [100, 4, 4]


def test_triton_is_told_what_is_wrong(client: triton.InferenceServerClient, rows: np.ndarray):
    def refused(code: str, words: str, **changes) -> None:
        arguments = {"model_name": MODEL, "inputs": features(rows[:1])} | changes
        with pytest.raises(InferenceServerException) as caught:
            client.infer(**arguments)
        assert caught.value.status() == f"StatusCode.{code}" and words in caught.value.message(), caught.value

    wide = triton.InferInput("features", [1, 3], "FP32")
    wide.set_data_from_numpy(np.zeros((1, 3), np.float32))
    double = triton.InferInput("features", rows[:1].shape, "FP64")
    double.set_data_from_numpy(rows[:1].astype(np.float64))
    renamed = triton.InferInput("x", rows[:1].shape, "FP32")
    renamed.set_data_from_numpy(rows[:1])
    refused("NOT_FOUND", "is not deployed; deployed: ", model_name="other")
    refused("NOT_FOUND", "has no version 9", model_version="9")
    refused("INVALID_ARGUMENT", "must have shape", inputs=[wide])
    refused("INVALID_ARGUMENT", "must be FP32, got FP64", inputs=[double])
    refused("INVALID_ARGUMENT", "the model takes features", inputs=[renamed])
    refused("INVALID_ARGUMENT", "the model gives probabilities", outputs=[triton.InferRequestedOutput("x")])
    # A microsecond, which is over before a thread has taken the request.
    refused("DEADLINE_EXCEEDED", "", timeout=1)
    refused("DEADLINE_EXCEEDED", "", headers={"x-bellwether-timeout-ms": "0"})
    refused("INVALID_ARGUMENT", "whole number of milliseconds", headers={"x-bellwether-timeout-ms": "abc"})
    refused("INVALID_ARGUMENT", "requested twice", outputs=[triton.InferRequestedOutput("probabilities")] * 2)
    for call in [
        lambda: client.update_log_settings({"log_verbose_level": 1}),
        lambda: client.update_trace_settings(settings={"trace_level": "OFF"}),
        lambda: client.register_system_shared_memory("region", "/region", 64),
    ]:
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED" and len(caught.value.message()) > 20
    client.load_model(MODEL)
    # It is deployed to stay in memory.
    with pytest.raises(InferenceServerException, match="FAILED_PRECONDITION.*--load on-demand"):
        client.unload_model(MODEL)
    with pytest.raises(InferenceServerException, match="endpoint deploy"):
        client.load_model("other")


# TensorFlow Serving's stubs.


def question(rows: np.ndarray, **spec) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.inputs["features"].CopyFrom(tf.make_tensor_proto(rows))
    return request


def test_predict_is_answered_as_tensorflow_does(channel: grpc.Channel, rows: np.ndarray, tensorflow):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    expected = tensorflow(rows)
    for request in [question(rows), question(rows, version=2), question(rows, label="default")]:
        reply, call = stub.Predict.with_call(request, metadata=[("x-request-id", "mine")], timeout=30)
        assert difference(tf.make_ndarray(reply.outputs["probabilities"]), expected) <= PROBABILITY_TOLERANCE
        assert (reply.model_spec.name, reply.model_spec.version.value) == (MODEL, 2)
        metadata = dict(call.initial_metadata())
        assert metadata[VERSION_METADATA] == f"{MODEL}@2" and metadata["x-request-id"] == "mine"
        assert "compute;dur=" in metadata["server-timing"]
    # One value stands for all after it; a list is as good as the bytes.
    constant = question(np.full((3, rows.shape[1]), 0.5, np.float32))
    constant.inputs["features"].tensor_content = b""
    constant.inputs["features"].float_val[:] = [0.5]
    got = tf.make_ndarray(stub.Predict(constant).outputs["probabilities"])
    assert difference(got, tensorflow(np.full((3, rows.shape[1]), 0.5, np.float32))) <= PROBABILITY_TOLERANCE


def test_examples_are_classified(channel: grpc.Channel, rows: np.ndarray, tensorflow):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    clean = np.nan_to_num(rows[:3])
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = MODEL
    for row in clean:
        request.input.example_list.examples.add().features.feature["features"].float_list.value.extend(row)
    reply = stub.Classify(request)
    scores = np.array([[each.score for each in row.classes] for row in reply.result.classifications], np.float32)
    assert difference(scores, tensorflow(clean)) <= PROBABILITY_TOLERANCE
    assert [each.label for each in reply.result.classifications[0].classes] == [str(n) for n in range(scores.shape[1])]
    several = inference_pb2.MultiInferenceRequest(input=request.input)
    task = several.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.name = MODEL
    assert stub.MultiInference(several).results[0].classification_result == reply.result
    regress = regression_pb2.RegressionRequest(model_spec=request.model_spec, input=request.input)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Regress(regress)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_a_model_says_what_it_takes_and_how_it_is(channel: grpc.Channel, bundle: Bundle):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    given = signature.inputs["features"]
    assert given.dtype == tf.float32.as_datatype_enum and set(signature.outputs) == {"probabilities"}
    assert [dim.size for dim in given.tensor_shape.dim] == [-1, len(bundle.feature_names)]

    models = model_service_pb2_grpc.ModelServiceStub(channel)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = MODEL
    reply, call = models.GetModelStatus.with_call(status)
    (version,) = reply.model_version_status
    assert dict(call.initial_metadata())[VERSION_METADATA] == f"{MODEL}@2"
    assert (version.version, version.state) == (2, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    with pytest.raises(grpc.RpcError) as caught:
        models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_tensorflow_serving_is_told_what_is_wrong(channel: grpc.Channel, rows: np.ndarray):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def refused(request: predict_pb2.PredictRequest, code: str, words: str) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
        assert caught.value.code() == grpc.StatusCode[code] and words in caught.value.details(), caught.value
        said = dict(caught.value.initial_metadata() or ()) | dict(caught.value.trailing_metadata() or ())
        assert said["server-timing"].startswith("total;dur="), said

    unknown, typed, huge, signature = (question(rows[:1]) for _ in range(4))
    unknown.model_spec.name = "half"
    refused(unknown, "NOT_FOUND", "Servable not found for request: Latest(half)")
    refused(question(rows[:1], version=77), "NOT_FOUND", f"Servable not found for request: Specific({MODEL}, 77)")
    refused(question(rows[:1], label="canary"), "INVALID_ARGUMENT", "Unrecognized servable version label: canary")
    typed.inputs["features"].CopyFrom(tf.make_tensor_proto(rows[:1].astype(np.float64)))
    refused(typed, "INVALID_ARGUMENT", "must be DT_FLOAT, got DT_DOUBLE")
    huge.inputs["features"].tensor_shape.dim[0].size = 1 << 62
    refused(huge, "INVALID_ARGUMENT", "more than the")
    signature.model_spec.signature_name = "other"
    refused(signature, "FAILED_PRECONDITION", 'Serving signature key "other" not found')
    refused(predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec")


@pytest.fixture(scope="module")
def foreign(binary: Path, tmp_path_factory: pytest.TempPathFactory):
    """A model of several inputs and outputs that Keras saved, in service, and the call and the answer of TensorFlow."""
    folder = tmp_path_factory.mktemp("foreign")
    model = keras_models.export("net_multi_input", folder / "model")
    program = Program(binary, folder / "data", folder)
    program.succeed("model", "upload", folder / "model", "--model", "several")
    program.succeed("endpoint", "create", "several")
    program.succeed("endpoint", "deploy", "several", "--model", "several")
    call = keras_models.batch(model, 7)
    signature = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    expected = {name: value.numpy() for name, value in signature(**{k: tf.constant(v) for k, v in call.items()}).items()}
    server = program.serve()
    yield server.url.removeprefix("http://"), call, expected
    assert server.stop() == 0, server.log.read_text()


def test_several_inputs_and_outputs(foreign):
    address, call, expected = foreign
    with triton.InferenceServerClient(address) as client:
        given = []
        for name, values in call.items():
            given.append(triton.InferInput(name, values.shape, "INT32" if values.dtype == np.int32 else "FP32"))
            given[-1].set_data_from_numpy(values)
        result = client.infer("several", given)
        for name, values in expected.items():
            assert difference(result.as_numpy(name), values) <= TOLERANCE * max(1, np.abs(values).max())
    with grpc.insecure_channel(address) as channel:
        request = predict_pb2.PredictRequest(output_filter=["risk"])
        request.model_spec.name = "several"
        for name, values in call.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
        assert set(reply.outputs) == {"risk"}
        assert difference(tf.make_ndarray(reply.outputs["risk"]), expected["risk"]) <= TOLERANCE * max(1, expected["risk"].max())


# Health checks; bytes that are no message are in test_hostile_connections.py.


def raw(channel: grpc.Channel, method: str, message: bytes) -> bytes:
    return channel.unary_unary(method, request_serializer=None, response_deserializer=None)(message, timeout=30)


def test_a_probe_is_answered(channel: grpc.Channel):
    assert raw(channel, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=None, response_deserializer=None)
    first = watch(b"", timeout=30)
    assert next(first) == b"\x08\x01"
    first.cancel()


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel):
    for method in ["/inference.GRPCInferenceService/Nothing", "/no.such.Service/Method"]:
        with pytest.raises(grpc.RpcError) as caught:
            raw(channel, method, b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        # gRPC's own words for a reply of HTTP that is none of its own are others.
        assert method.split("/")[1] in caught.value.details(), caught.value


def test_http_answers_on_the_same_port(server: Server, client):
    assert client.is_server_live() and server.get("/healthz").status == 200
