"""Every operator of the graph in real TensorFlow and onnxruntime, on one model that a Rust example writes.

The example is built with cargo, also where $BELLWETHER names the binary.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bundle import difference, tf  # First, because it says how TensorFlow is loaded.
import keras
from program import REPOSITORY

# Largest difference between engines, relative to the larger of 1 and the value.
TOLERANCE = 1e-5


@dataclass
class Operators:
    """The model, a batch of inputs, and what our engine made of it."""

    folder: Path
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    tensor_names: dict


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    folder = tmp_path_factory.mktemp("operators")
    # With the features of the whole workspace, because so it is built already by `cargo test --workspace`.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--example", "operators"], cwd=REPOSITORY, check=True)
    target = REPOSITORY / (os.environ.get("CARGO_TARGET_DIR") or "target")
    subprocess.run([target / "debug" / "examples" / "operators", folder], check=True)
    sample = json.loads((folder / "sample.json").read_text())
    inputs, outputs = ({k: array(v) for k, v in sample[part].items()} for part in ("inputs", "outputs"))
    return Operators(folder, inputs, outputs, sample["tensor_names"])


def array(document: dict) -> np.ndarray:
    elements = [np.nan if x is None else x for x in document["elements"]]
    return np.array(elements, np.float32).reshape(document["shape"])


def by_tensorflow(operators: Operators, rows: int) -> dict[str, np.ndarray]:
    model = tf.saved_model.load(str(operators.folder))
    inputs = {name: tf.constant(values[:rows]) for name, values in operators.inputs.items()}
    return {name: value.numpy() for name, value in model.signatures["serving_default"](**inputs).items()}


def by_onnxruntime(operators: Operators, rows: int, model: bytes | None = None) -> dict[str, np.ndarray]:
    content = model or (operators.folder / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {k: v[:rows] for k, v in operators.inputs.items()})))


def apart(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> dict[str, float]:
    """What differs by more than the tolerance, and by how much."""
    assert left.keys() == right.keys()
    scale = {name: np.maximum(1, np.abs(value.astype(np.float64))) for name, value in right.items()}
    gaps = {name: difference(left[name] / scale[name], right[name] / scale[name]) for name in left}
    return {name: gap for name, gap in gaps.items() if gap > TOLERANCE}


@pytest.mark.parametrize("rows", [1, 9])
def test_the_engines_agree(operators: Operators, rows: int):
    ours = {name: values[:rows] for name, values in operators.outputs.items()}
    tensorflow, onnx_runtime = by_tensorflow(operators, rows), by_onnxruntime(operators, rows)
    assert len(ours) >= 50
    assert all(np.isfinite(values).all() for values in ours.values())
    assert apart(tensorflow, ours) == {}
    assert apart(onnx_runtime, ours) == {}
    assert apart(tensorflow, onnx_runtime) == {}


def by_keras(operators: Operators) -> dict[str, np.ndarray]:
    """The layers and activations that operators are for, with the model's weights."""
    model = onnx.load(operators.folder / "model.onnx")
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    flat, series = operators.inputs["flat"], operators.inputs["series"]

    def layer(name: str, layer: keras.Layer, *parts: str, x: np.ndarray = series) -> np.ndarray:
        layer.build(x.shape)
        layer.set_weights([weights[f"{name}/{part}"] for part in parts])
        return np.asarray(layer(x))

    def conv(name: str, filters: int, width: int, **form) -> np.ndarray:
        return layer(name, keras.layers.Conv1D(filters, width, use_bias=False, **form), "kernel")

    def activation(function, **form) -> np.ndarray:
        return np.asarray(function(tf.constant(flat), **form))

    layers, activations = keras.layers, keras.activations
    norm = layer("layer_normalization", layers.LayerNormalization(epsilon=1e-3), "gamma", "beta")
    recurrent = ("kernel", "recurrent_kernel", "bias")
    return {
        "conv1d": layer("conv1d", layers.Conv1D(5, 3), "kernel", "bias"),
        "conv1d_strided": conv("conv1d_strided", 3, 2, strides=2),
        "conv1d_same": conv("conv1d_same", 3, 4, padding="same"),
        "conv1d_same_strided": conv("conv1d_same_strided", 3, 4, strides=3, padding="same"),
        "conv1d_causal": conv("conv1d_causal", 5, 3, dilation_rate=2, padding="causal"),
        "conv1d_point": conv("conv1d_point", 6, 1, padding="causal"),
        "conv1d_wide": conv("conv1d_wide", 4, 9, padding="same"),
        "max_pool1d": np.asarray(layers.MaxPooling1D(2)(series)),
        "max_pool1d_same": np.asarray(layers.MaxPooling1D(4, 2, "same")(series - 10)),
        "average_pool1d": np.asarray(layers.AveragePooling1D(3, 1)(series)),
        "average_pool1d_same": np.asarray(layers.AveragePooling1D(4, 1, "same")(series)),
        "average_pool1d_gaps": np.asarray(layers.AveragePooling1D(2, 3, "same")(series)),
        "reduce_mean": np.asarray(layers.GlobalAveragePooling1D()(series)),
        "reduce_max": np.asarray(layers.GlobalMaxPooling1D()(series)),
        "layer_normalization": norm,
        "layer_normalization_parts": norm,
        "lstm": layer("lstm", layers.LSTM(3, return_sequences=True), *recurrent),
        "leaky_relu": activation(activations.leaky_relu, negative_slope=0.3),
        "elu": activation(activations.elu),
        "elu_scaled": activation(activations.elu, alpha=0.7),
        "softplus": activation(activations.softplus),
        "silu": activation(activations.silu),
        "gelu": activation(activations.gelu),
        "gelu_tanh": activation(activations.gelu, approximate=True),
        "softmax": activation(activations.softmax),
    }


def test_keras_gives_the_same(operators: Operators):
    keras_results = by_keras(operators)
    assert apart({name: operators.outputs[name] for name in keras_results}, keras_results) == {}


def test_the_old_tensorflow_loader_finds_every_tensor(operators: Operators):
    names = operators.tensor_names["saved_model"]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.loader.load(session, ["serve"], str(operators.folder))
        inputs = {names["inputs"][name]: values for name, values in operators.inputs.items()}
        outputs = session.run(names["outputs"], inputs)
    assert apart(outputs, operators.outputs) == {}


def test_the_onnx_file_is_valid(operators: Operators):
    onnx.checker.check_model(onnx.load(operators.folder / "model.onnx"), full_check=True)


def test_a_changed_weight_is_found(operators: Operators):
    model = onnx.load(operators.folder / "model.onnx")
    (kernel,) = (t for t in model.graph.initializer if t.name == "conv1d_causal/kernel")
    values = onnx.numpy_helper.to_array(kernel).copy()
    values[0, 0, 0] += 0.01
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    changed = by_onnxruntime(operators, 9, model.SerializeToString())
    assert apart(changed, operators.outputs).keys() == {"conv1d_causal"}
