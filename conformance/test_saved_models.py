"""SavedModels of Keras and TensorFlow, converted by us without TensorFlow, against TensorFlow itself.

Each model of `keras_models.py` is exported, converted to ONNX, and run by rten and by onnxruntime at three batch sizes from one file.
"""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bundle import tf  # First, because it says how TensorFlow is loaded.
import grpc as grpc_library
import keras
import tritonclient.grpc
import tritonclient.http
from keras import layers as L
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import keras_models
from program import Program, Server
from saved_model_converter import Converter

# Largest difference of an element from TensorFlow's, relative to the larger of 1 and TensorFlow's value.
TOLERANCE = 1e-5
BATCHES = [1, 5, 32]

# What rten 0.27 does not run, and why; onnxruntime runs the same files.
NOT_ON_RTEN = {
    "conv3d": "rten convolves along one or two axes",
}


@pytest.fixture(scope="session")
def converter() -> Converter:
    return Converter.build()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """As the tolerance means it; infinite for another shape or type, or NaN on one side only."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return np.inf
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return np.inf
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gaps = np.where(ours == theirs, 0, np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)))
    return float(np.nanmax(gaps, initial=0))


def apart(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """The outputs that differ by more than the tolerance, and by how much."""
    assert ours.keys() == theirs.keys()
    gaps = {name: difference(ours[name], theirs[name]) for name in theirs}
    return {name: gap for name, gap in gaps.items() if gap > TOLERANCE}


@pytest.mark.parametrize("name", keras_models.MODELS)
def test_a_converted_model_computes_what_tensorflow_computes(name: str, converter: Converter, tmp_path: Path):
    folder, file = tmp_path / "model", tmp_path / "model.onnx"
    model = keras_models.export(name, folder)
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[model.signature]
    calls = [keras_models.batch(model, rows) for rows in BATCHES]
    theirs = [{key: value.numpy() for key, value in signature(**constants(call)).items()} for call in calls]
    assert all(np.isfinite(value).all() for value in theirs[0].values())

    document = converter.convert(folder, file, model.signature)
    assert {spec["name"] for spec in document["signature"]["inputs"]} == model.inputs.keys()
    onnx.checker.check_model(onnx.load(file), full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for call, expected in zip(calls, theirs):
        assert apart(dict(zip(names, session.run(names, call))), expected) == {}, "onnxruntime"
    if name in NOT_ON_RTEN:
        return
    for ours, expected in zip(converter.run(file, calls), theirs):
        assert apart(ours, expected) == {}, "rten"


def constants(call: dict[str, np.ndarray]) -> dict:
    return {name: tf.constant(values) for name, values in call.items()}


def test_every_kind_of_layer_is_there():
    networks = [name for name in keras_models.MODELS if name.startswith("net_")]
    assert len(networks) >= 10
    assert len(keras_models.MODELS) - len(networks) >= 100


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_sequences", "lstm_backwards", "bidirectional_lstm", "net_lstm_stack", "lstm_open"])
def test_a_recurrent_layer_becomes_one_operator(name: str, converter: Converter, tmp_path: Path):
    model = keras_models.export(name, tmp_path / "model")
    operators = converter.convert(tmp_path / "model", tmp_path / "model.onnx", model.signature)["operators"]
    recurrent = [operator for operator in operators if operator in ("LSTM", "GRU")]
    assert len(recurrent) == (2 if name in ("bidirectional_lstm", "net_lstm_stack") else 1)
    assert len(operators) < 30, operators


def test_a_dilated_convolution_becomes_one_operator(converter: Converter, tmp_path: Path):
    model = keras_models.export("net_tcn", tmp_path / "model")
    operators = converter.convert(tmp_path / "model", tmp_path / "model.onnx", model.signature)["operators"]
    assert operators.count("Conv") == 4 and operators.count("Reshape") <= 8, operators


def test_a_layer_normalization_becomes_one_operator(converter: Converter, tmp_path: Path):
    model = keras_models.export("layer_normalization", tmp_path / "model")
    document = converter.convert(tmp_path / "model", tmp_path / "model.onnx", model.signature)
    assert document["operators"] == ["LayerNormalization"]


def test_all_signatures_are_listed(converter: Converter, tmp_path: Path):
    keras_models.export("module_score", tmp_path / "model")
    document = converter.convert(tmp_path / "model", tmp_path / "score.onnx", "score")
    assert document["signatures"] == ["classes", "score"]
    assert "no signature \"other\"; it has classes, score" in converter.refusal(tmp_path / "model", "other")


def exported(build, folder: Path) -> Path:
    build().export(folder, verbose=False)
    return folder


def text_model() -> keras.Model:
    inputs = keras.Input((1,), dtype="string", name="sector")
    return keras.Model(inputs, L.Embedding(4, 2)(L.StringLookup(vocabulary=["tech", "energy"])(inputs)))


class Noisy(L.Layer):
    """Draws numbers at inference."""

    def build(self, shape):
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)


def noisy_model() -> keras.Model:
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, Noisy(name="noise")(inputs))


class Python(tf.Module):
    """Calls Python, and two operators that nothing here computes."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        with tf.name_scope("script"):
            y = tf.ensure_shape(tf.py_function(lambda x: x + 1, [x], tf.float32), [None, 4])
        with tf.name_scope("spectrum"):
            z = tf.math.lgamma(x) + tf.math.digamma(y)
        return {"y": z}


class Counting(tf.Module):
    """Keeps a state between calls."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        self.calls.assign_add(1.0)
        return {"y": x + self.calls}


def test_text_is_refused(converter: Converter, tmp_path: Path):
    message = converter.refusal(exported(text_model, tmp_path / "model"))
    assert "\"sector\"" in message and "STRING" in message


def test_random_numbers_become_an_input(converter: Converter, tmp_path: Path):
    file = tmp_path / "model.onnx"
    document = converter.convert(exported(noisy_model, tmp_path / "model"), file, "serving_default")
    assert document["signature"]["inputs"][1] == {"name": "sampler_normal", "dtype": "float32", "shape": [None, 4]}
    assert "standard normal distribution" in document["notes"][0] and "drawn from a seed" in document["notes"][0]
    onnx.checker.check_model(onnx.load(file), full_check=True)
    x, noise = np.random.default_rng(2).normal(size=(2, 5, 4)).astype(np.float32)
    (result,) = converter.run(file, [{"x": x, "sampler_normal": noise}])
    assert difference(result["output_0"], x + noise) <= TOLERANCE


class Sampling(L.Layer):
    """Draws a code from its mean and the logarithm of its variance."""

    def build(self, shape):
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, mean, log_variance):
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seeds)
        return mean + keras.ops.exp(0.5 * log_variance) * noise


def encoder() -> keras.Model:
    inputs = keras.Input((6,), name="x")
    hidden = L.Dense(8, activation="relu")(inputs)
    mean, log_variance = L.Dense(3)(hidden), L.Dense(3)(hidden)
    code = Sampling()(mean, log_variance)
    return keras.Model(inputs, {"code": code, "mean": mean, "log_variance": log_variance})


def test_a_variational_encoder_samples_with_given_numbers(converter: Converter, tmp_path: Path):
    folder, file = exported(encoder, tmp_path / "model"), tmp_path / "model.onnx"
    converter.convert(folder, file, "serving_default")
    x = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
    noise = np.random.default_rng(3).normal(size=(9, 3)).astype(np.float32)
    theirs = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant(x))
    mean, log_variance = theirs["mean"].numpy(), theirs["log_variance"].numpy()
    (ours,) = converter.run(file, [{"x": x, "sampler_normal": noise}])
    expected = {"mean": mean, "log_variance": log_variance, "code": mean + np.exp(0.5 * log_variance) * noise}
    assert apart(ours, expected) == {}


def test_a_sampler_is_drawn_from_its_seed_where_a_caller_gives_nothing(program: Program, tmp_path: Path):
    """The same numbers for every row, by every protocol, at every time; or those of the caller."""
    folder = exported(encoder, tmp_path / "encoder")
    uploaded = program.succeed("model", "upload", folder)
    assert uploaded["summary"]["origin"]["samplers"] == [{"input": "sampler_normal", "distribution": "normal", "seed": 0}]
    program.succeed("endpoint", "create", "e")
    program.succeed("endpoint", "deploy", "e", "--model", "encoder")
    x = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
    theirs = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant(x))
    mean, deviation = theirs["mean"].numpy(), np.exp(0.5 * theirs["log_variance"].numpy())

    codes = []
    for _ in range(2):
        server = program.serve()
        try:
            asks = {
                "vertex": lambda body: server.post("/v1/projects/default/locations/l/endpoints/e:predict", body),
                "tensorflow": lambda body: server.post("/v1/models/encoder:predict", body),
            }
            for ask in asks.values():
                reply = ask({"instances": x.tolist()})
                assert reply.status == 200, reply.text
                codes.append(np.array([row["code"] for row in reply.json["predictions"]]))
                alone = ask({"instances": x[4:5].tolist()}).json["predictions"]
                codes.append(np.concatenate([codes[-1][:4], [alone[0]["code"]], codes[-1][5:]]))
                noise = np.random.default_rng(3).normal(size=(9, 3)).astype(np.float32)
                rows = [{"x": a, "sampler_normal": b} for a, b in zip(x.tolist(), noise.tolist())]
                given = np.array([row["code"] for row in ask({"instances": rows}).json["predictions"]])
                assert difference(given.astype(np.float32), mean + deviation * noise) <= TOLERANCE
                refused = ask({"instances": [{"x": [1, 2]}]})
                assert refused.status == 400, refused.text
            client = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"))
            grpc = tritonclient.grpc.InferenceServerClient(server.url.removeprefix("http://"))
            assert [tensor["name"] for tensor in client.get_model_metadata("encoder")["inputs"]] == ["x"]
            for kind, by in ((tritonclient.http, client), (tritonclient.grpc, grpc)):
                tensors = {"x": x, "sampler_normal": noise}
                inputs = {name: kind.InferInput(name, list(values.shape), "FP32") for name, values in tensors.items()}
                for name, values in tensors.items():
                    inputs[name].set_data_from_numpy(values)
                codes.append(by.infer("encoder", [inputs["x"]]).as_numpy("code"))
                given = by.infer("encoder", list(inputs.values())).as_numpy("code")
                assert difference(given, mean + deviation * noise) <= TOLERANCE
            channel = grpc_channel(server)
            codes.append(tensorflow_predict(channel, {"x": x}))
            given = tensorflow_predict(channel, {"x": x, "sampler_normal": noise})
            assert difference(given, mean + deviation * noise) <= TOLERANCE
        finally:
            server.stop()
    drawn = (codes[0] - mean) / deviation
    assert np.abs(drawn - drawn[0]).max() < 1e-4, "every row is given the same"
    assert 0.01 < np.abs(drawn[0]).max() < 5 and len(np.unique(drawn[0].round(3))) == 3
    for code in codes[1:]:
        assert difference(code.astype(np.float32), codes[0].astype(np.float32)) <= 1e-6


def grpc_channel(server: Server) -> grpc_library.Channel:
    return grpc_library.insecure_channel(server.url.removeprefix("http://"))


def tensorflow_predict(channel: grpc_library.Channel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "encoder"
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)
    return tf.make_ndarray(reply.outputs["code"])


def test_everything_unsupported_is_listed_at_once(converter: Converter, tmp_path: Path):
    module = Python()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    message = converter.refusal(tmp_path / "model")
    assert "3 operators" in message
    for operator, layer in [("EagerPyFunc", "script"), ("Lgamma", "spectrum"), ("Digamma", "spectrum")]:
        assert re.search(rf"{operator} \(.*layer {layer}\)", message), message


def test_a_model_that_keeps_state_is_refused(converter: Converter, tmp_path: Path):
    module = Counting()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    assert "AssignAddVariableOp" in converter.refusal(tmp_path / "model")


def test_a_damaged_weight_is_found(converter: Converter, tmp_path: Path):
    keras_models.export("dense", tmp_path / "model")
    data = tmp_path / "model" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[:] = bytes(byte ^ 1 for byte in content)
    data.write_bytes(content)
    assert "checksum differs" in converter.refusal(tmp_path / "model")


def test_a_changed_weight_is_a_difference(converter: Converter, tmp_path: Path):
    model = keras_models.export("dense", tmp_path / "model")
    converter.convert(tmp_path / "model", tmp_path / "model.onnx", model.signature)
    call = keras_models.batch(model, 5)
    (before,) = converter.run(tmp_path / "model.onnx", [call])
    proto = onnx.load(tmp_path / "model.onnx")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.dims == [8, 4])
    values = onnx.numpy_helper.to_array(weight) * 1.001
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    (after,) = converter.run(tmp_path / "changed.onnx", [call])
    assert apart(after, before) != {}
