"""Every operator of the graph in real TensorFlow and onnxruntime, on one model that a Rust example writes."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bundle import difference, tf
from program import REPOSITORY

# Largest difference between engines, relative to the larger of 1 and the value.
TOLERANCE = 1e-5


@dataclass
class Operators:
    """The model, a batch of inputs, and what our engine made of it."""

    folder: Path
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    folder = tmp_path_factory.mktemp("operators")
    # With the features of the whole workspace, because so it is built already by `cargo test --workspace`.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--example", "operators"], cwd=REPOSITORY, check=True)
    target = REPOSITORY / (os.environ.get("CARGO_TARGET_DIR") or "target")
    subprocess.run([target / "debug" / "examples" / "operators", folder], check=True)
    sample = json.loads((folder / "sample.json").read_text())
    return Operators(folder, *({k: array(v) for k, v in sample[part].items()} for part in ("inputs", "outputs")))


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
