"""`.keras` files that Keras 3 saved, converted by the binary without Keras, against Keras itself.

The models are those of `keras_models.py`: each is saved, converted to ONNX by `bellwether convert`, and run by onnxruntime and by
rten at three batch sizes from one file.
"""

import json
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import onnxruntime
import pytest

from bundle import tf  # First, because it says how TensorFlow is loaded.
import h5py
import keras
from keras import layers as L

import keras_models
from program import Program
from saved_model_converter import Converter
from test_saved_models import BATCHES, NOT_ON_RTEN, difference, TOLERANCE

# What is not read from .keras files, and what the refusal says of it; all of it is read from a SavedModel.
REFUSED = {
    "activation_threshold": "Python code, which is not run",
    "gelu_tanh": "Python code, which is not run",
    "net_transformer_encoder": "keras_models.Positions is Python code",
    "rnn_stacked_cells": "RNN",
    "rnn_of_cells": "RNN",
    "conv_lstm1d": "ConvLSTM1D",
    "conv_lstm2d": "ConvLSTM2D",
    "adaptive_average_pooling1d": "AdaptiveAveragePooling1D",
    "operations": "Argmax",
}
MODELS = [name for name in keras_models.MODELS if not name.startswith(("module_", "tensorflow_")) and not name.endswith("_tensorflow")]


@pytest.fixture(scope="session")
def converter() -> Converter:
    return Converter.build()


def saved(name: str, file: Path) -> keras.Model:
    keras.utils.clear_session()
    keras.utils.set_random_seed(keras_models.SEED)
    model = keras_models.randomised(keras_models.MODELS[name].build())
    model.save(file)
    return model


def convert(program: Program, source: Path) -> Path:
    out = source.with_suffix(".onnx")
    program.succeed("convert", source, out)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    return out


def expected(model: keras.Model, call: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """What Keras predicts: outputs by key, else numbered in order."""
    outputs = model.predict([call[tensor.name] for tensor in model.inputs], verbose=0)
    if isinstance(outputs, dict):
        return outputs
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    return dict(zip(names, outputs, strict=True))


def worst(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    assert ours.keys() == theirs.keys()
    return max(difference(ours[name], theirs[name]) for name in theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED])
def test_a_keras_file_computes_what_keras_computes(name: str, program: Program, converter: Converter, tmp_path: Path):
    model = saved(name, tmp_path / "model.keras")
    file = tmp_path / "model.onnx"
    if name in NOT_ON_RTEN:  # The binary takes what an engine of this machine computes; the converter does not ask.
        converter.convert(tmp_path / "model.keras", file, "serving_default")
    else:
        convert(program, tmp_path / "model.keras")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    calls = [keras_models.batch(keras_models.MODELS[name], rows) for rows in BATCHES]
    theirs = [expected(model, call, names) for call in calls]
    for call, answer in zip(calls, theirs):
        assert worst(dict(zip(names, session.run(names, call))), answer) <= TOLERANCE, "onnxruntime"
    if name in NOT_ON_RTEN:
        return
    for ours, answer in zip(converter.run(file, calls), theirs):
        assert worst(ours, answer) <= TOLERANCE, "rten"


def test_most_layers_are_read():
    assert REFUSED.keys() <= set(MODELS)
    assert len(MODELS) - len(REFUSED) >= 135


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_the_way_out(name: str, program: Program, tmp_path: Path):
    saved(name, tmp_path / "model.keras")
    error = refusal(program, tmp_path / "model.keras")
    assert REFUSED[name] in error and 'model.export("folder")' in error, error


def refusal(program: Program, file: Path) -> str:
    outcome = program.run("convert", file, file.with_suffix(".onnx"), "--json")
    assert outcome.status != 0, outcome.stdout
    assert outcome.error["kind"] == "INVALID_ARGUMENT", outcome.error
    return outcome.error["message"]


def shared() -> keras.Model:
    """Layers and a network used twice, a chain within, ops between, states passed on."""
    series, facts = keras.Input((6, 3), name="series"), keras.Input((4,), name="facts")
    tower = keras.Sequential([keras.Input((4,)), L.Dense(5, activation="mish"), L.Dense(3)], name="tower")
    tail = keras.Model(inner := keras.Input((3,)), L.Dense(2, activation="tanh")(L.Dense(4)(inner)), name="tail")
    walk = L.GRU(3, return_state=True, return_sequences=True)
    sequence, state = walk(series)
    again, _ = walk(sequence, initial_state=state)
    x = again[:, 1:, :][:, -1] + tower(facts) * 2 - tower(facts / 3)
    return keras.Model([series, facts], [tail(x), tail(x * 0.5), x])


def adapted() -> keras.Model:
    """Statistics that were found in data are weights."""
    normalization = L.Normalization()
    normalization.adapt(np.random.default_rng(4).normal(3, 2, (100, 5)).astype(np.float32))
    return keras.Sequential([keras.Input((5,)), normalization, L.Dense(2)])


def halved() -> keras.Model:
    """Kept in half precision."""
    return keras.Sequential([keras.Input((5,), dtype="float32"), L.Dense(4, dtype="float16"), L.Dense(1, dtype="float16")])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [shared, adapted])
def test_networks_within_and_weights_used_twice(build, program: Program, tmp_path: Path):
    keras.utils.clear_session()
    keras.utils.set_random_seed(keras_models.SEED)
    model = build()
    model.save(tmp_path / "model.keras")
    session = onnxruntime.InferenceSession(convert(program, tmp_path / "model.keras"))
    random = np.random.default_rng(8)
    for rows in BATCHES:
        call = {tensor.name: random.normal(size=(rows, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs}
        call = {given.name: values for given, values in zip(session.get_inputs(), call.values(), strict=True)}
        outputs = model.predict(list(call.values()), verbose=0)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for ours, theirs in zip(session.run(None, call), outputs, strict=True):
            assert difference(ours, theirs) <= TOLERANCE


def masked(steps: int | None) -> keras.Model:
    """Every layer that uses a mask or passes it on, one behind the other."""
    series = keras.Input((steps, 4), name="series")
    x = L.Masking(-1.0)(series)
    x = L.LayerNormalization()(L.LSTM(5, return_sequences=True)(x))
    y = L.Bidirectional(L.GRU(3, return_sequences=True))(L.Dense(4, activation="tanh")(x))
    z = L.SimpleRNN(4, go_backwards=True)(L.Dropout(0.2)(y))
    return keras.Model(series, [L.GlobalAveragePooling1D()(y), z, L.Bidirectional(L.LSTM(2), merge_mode="sum")(x), y])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [9, 130, None], ids=["written out", "long", "open"])
@pytest.mark.parametrize("form", ["model.keras", "model"])
def test_masked_steps_are_left_out(form: str, steps: int | None, program: Program, converter: Converter, tmp_path: Path):
    keras.utils.clear_session()
    keras.utils.set_random_seed(keras_models.SEED)
    model = keras_models.randomised(masked(steps))
    model.save(tmp_path / form) if form.endswith(".keras") else model.export(tmp_path / form, verbose=False)
    file = convert(program, tmp_path / form)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    random = np.random.default_rng(9)
    for rows in BATCHES:
        x = random.normal(size=(rows, steps or 7, 4)).astype(np.float32)
        is_masked = random.random(x.shape[:2]) < 0.4
        is_masked[:, rows % x.shape[1]] = False
        is_masked[: rows // 3, 0] = is_masked[rows // 4 :, -1] = True
        is_masked[:, 3] = False
        x[is_masked] = -1
        answer = expected(model, {"series": x}, names)
        assert worst(dict(zip(names, session.run(names, {"series": x}))), answer) <= TOLERANCE, "onnxruntime"
        (ours,) = converter.run(file, [{"series": x}])
        assert worst(ours, answer) <= TOLERANCE, "rten"
        x[is_masked] = 0.5
        assert worst(dict(zip(names, session.run(names, {"series": x}))), answer) > 0.01, "masks matter"


def test_a_mask_before_any_other_layer_is_refused(program: Program, tmp_path: Path):
    model = keras.Sequential([keras.Input((6, 3)), L.Masking(), L.Conv1D(2, 2)])
    model.save(tmp_path / "model.keras")
    message = refusal(program, tmp_path / "model.keras")
    assert "Conv1D" in message and "masked steps" in message and 'model.export("folder")' in message


def test_half_precision_is_computed_in_single_and_noted(program: Program, tmp_path: Path):
    model = halved()
    model.save(tmp_path / "model.keras")
    document = program.succeed("convert", tmp_path / "model.keras", tmp_path / "model.onnx")
    assert any("half precision" in note for note in document["notes"])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    x = np.random.default_rng(8).normal(size=(5, 5)).astype(np.float32)
    (ours,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.abs(ours - model.predict(x, verbose=0)).max() <= 0.01


def repacked(source: Path, out: Path, change) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out


def test_a_changed_weight_is_a_difference(program: Program, tmp_path: Path):
    model = saved("dense", tmp_path / "model.keras")

    def change(name: str, content: bytes) -> bytes:
        if name != "model.weights.h5":
            return content
        (tmp_path / name).write_bytes(content)
        with h5py.File(tmp_path / name, "r+") as file:
            file["layers/dense/vars/0"][...] *= 1.001
        return (tmp_path / name).read_bytes()

    file = convert(program, repacked(tmp_path / "model.keras", tmp_path / "changed.keras", change))
    session = onnxruntime.InferenceSession(file)
    call = keras_models.batch(keras_models.MODELS["dense"], 5)
    (ours,) = session.run(None, call)
    assert difference(ours, model.predict(call["x"], verbose=0)) > TOLERANCE


def test_a_network_of_another_shape_is_refused(program: Program, tmp_path: Path):
    saved("dense", tmp_path / "model.keras")

    def change(name: str, content: bytes) -> bytes:
        if name != "config.json":
            return content
        config = json.loads(content)
        config["config"]["layers"][1]["config"]["units"] = 7
        return json.dumps(config).encode()

    message = refusal(program, repacked(tmp_path / "model.keras", tmp_path / "changed.keras", change))
    assert "layers/dense/vars/0 has the shape [8, 4] in place of [8, 7]" in message


class Subclassed(keras.Model):
    def build(self, shape):
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_model_is_refused(program: Program, tmp_path: Path):
    model = Subclassed()
    model(np.zeros((1, 3), np.float32))
    model.save(tmp_path / "model.keras")
    message = refusal(program, tmp_path / "model.keras")
    assert "Subclassed is Python code" in message and 'model.export("folder")' in message


@pytest.fixture
def website(tmp_path: Path):
    """A web server on a folder: its URL, and the folder."""
    folder = tmp_path / "website"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def test_a_version_made_of_a_keras_file_answers(program: Program, website, tmp_path: Path):
    url, folder = website
    model = saved("net_mlp", folder / "net.keras")
    uploaded = program.succeed("model", "upload", f"{url}/net.keras")
    assert uploaded["model"] == "net" and uploaded["summary"]["origin"]["format"] == "keras"
    program.succeed("endpoint", "create", "e")
    program.succeed("endpoint", "deploy", "e", "--model", "net")
    shown = program.succeed("engines")
    pinned = shown["deployments"]
    assert [(each["endpoint"], each["model"], each["engine"]) for each in pinned] == [("e", "net@1", "rten")]
    assert "note" not in shown
    server = program.serve("--allow-root", f"{url}/")
    try:
        rows = keras_models.batch(keras_models.MODELS["net_mlp"], 3)["features"]
        path = "/v1/projects/default/locations/us-central1"
        reply = server.post(f"{path}/endpoints/e:predict", {"instances": rows.tolist()})
        assert reply.status == 200, reply.text
        ours = np.array(reply.json["predictions"], np.float32)
        assert program.succeed("engines", "--server", server.url)["deployments"] == pinned
        held = program.succeed("engines")
        assert held["deployments"] == [] and server.url in held["note"]
        again = program.succeed("model", "upload", f"{url}/net.keras", "--server", server.url)
        assert again["model"] == "net" and again["version"] == 2
        elsewhere = program.run("model", "upload", "http://127.0.0.1:9/net.keras", "--server", server.url, "--json")
        assert elsewhere.error["kind"] == "PERMISSION_DENIED" and "--allow-root" in elsewhere.error["message"]
    finally:
        server.stop()
    assert difference(ours, model.predict(rows, verbose=0)) <= TOLERANCE
    missing = program.run("model", "upload", f"{url}/none.keras", "--json")
    assert missing.status != 0 and f"{url}/none.keras" in missing.error["message"]
