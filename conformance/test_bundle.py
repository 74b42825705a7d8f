"""The bundle in real TensorFlow and onnxruntime: the same answers, and a check that can fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

from bundle import PROBABILITY_TOLERANCE, Bundle, difference

ROWS = 1000


def test_every_file_has_its_digest(bundle: Bundle):
    assert {"saved_model.pb", "model.onnx"} <= set(bundle.manifest["files"])
    present = {str(p.relative_to(bundle.folder)) for p in bundle.folder.rglob("*") if p.is_file()}
    assert present == set(bundle.manifest["files"]) | {"bundle.json"}
    assert bundle.wrong_digests() == []


def test_a_changed_file_is_found(bundle: Bundle, tmp_path: Path):
    copy = Bundle(Path(shutil.copytree(bundle.folder, tmp_path / "copy")))
    content = bytearray((copy.folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy.folder / "model.onnx").write_bytes(content)
    assert copy.wrong_digests() == ["model.onnx"]


def test_tensorflow_and_onnxruntime_agree_on_random_rows(bundle: Bundle, tensorflow):
    rows = bundle.random_rows(ROWS, seed=1)
    by_tensorflow, by_onnxruntime = tensorflow(rows), bundle.onnxruntime()(rows)
    assert by_tensorflow.shape == (ROWS, 10) and by_tensorflow.dtype == np.float32
    assert np.abs(by_tensorflow.sum(axis=1) - 1).max() < 1e-5
    assert len(np.unique(by_tensorflow, axis=0)) > ROWS / 2, "the answers hardly depend on the rows"
    assert difference(by_tensorflow, by_onnxruntime) <= PROBABILITY_TOLERANCE


def test_a_perturbed_weight_is_found(bundle: Bundle, tensorflow):
    model = onnx.load(bundle.folder / "model.onnx")
    matrices = [t for t in model.graph.initializer if len(t.dims) == 2]
    weights = max(matrices, key=lambda t: np.prod(t.dims))
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0] *= 1.01
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    rows = bundle.random_rows(ROWS, seed=1)
    perturbed = bundle.onnxruntime(model.SerializeToString())
    assert difference(tensorflow(rows), perturbed(rows)) > PROBABILITY_TOLERANCE


def test_the_recorded_sample_comes_out(bundle: Bundle, tensorflow):
    inputs, outputs = bundle.golden()
    assert len(inputs) >= 20
    assert difference(tensorflow(inputs), outputs) <= PROBABILITY_TOLERANCE
    assert difference(bundle.onnxruntime()(inputs), outputs) <= PROBABILITY_TOLERANCE


def test_any_batch_size_runs(bundle: Bundle, tensorflow):
    rows = bundle.random_rows(257, seed=2)
    whole, onnx_model = tensorflow(rows), bundle.onnxruntime()
    for count in [1, 2, 31, 257]:
        assert difference(tensorflow(rows[:count]), whole[:count]) <= PROBABILITY_TOLERANCE
        assert difference(onnx_model(rows[:count]), whole[:count]) <= PROBABILITY_TOLERANCE


def test_the_onnx_file_is_valid_and_named_as_recorded(bundle: Bundle):
    model = onnx.load(bundle.folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = bundle.manifest["tensor_names"]["onnx"]
    assert [t.name for t in session.get_inputs()] == list(names["inputs"].values()) == ["features"]
    assert [t.name for t in session.get_outputs()] == list(names["outputs"].values()) == ["probabilities"]
    (batch, width) = session.get_inputs()[0].shape
    assert isinstance(batch, str) and width == len(bundle.feature_names) == 75


def test_the_old_tensorflow_loader_finds_the_recorded_tensors(bundle: Bundle, tensorflow):
    names = bundle.manifest["tensor_names"]["saved_model"]
    inputs, _ = bundle.golden()
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.loader.load(session, ["serve"], str(bundle.folder))
        out = session.run(names["outputs"]["probabilities"], {names["inputs"]["features"]: inputs})
    assert difference(out, tensorflow(inputs)) <= PROBABILITY_TOLERANCE


def test_the_processors_are_in_the_graph(bundle: Bundle, tensorflow):
    """What bundle.json says about missing and extreme values is what the graph does."""
    fitted = bundle.manifest["processors"]
    fill, center, scale = (np.array(fitted[key], np.float32) for key in ("fill", "center", "scale"))
    missing = np.full((1, 75), np.nan, np.float32)
    assert difference(tensorflow(missing), tensorflow(fill[None])) <= PROBABILITY_TOLERANCE
    at_limit, beyond = (center + scale * np.float32(k) for k in (fitted["clip"], 10 * fitted["clip"]))
    assert difference(tensorflow(at_limit[None]), tensorflow(beyond[None])) <= PROBABILITY_TOLERANCE


def test_bundle_json_is_tagged_and_whole(bundle: Bundle):
    manifest = json.loads((bundle.folder / "bundle.json").read_text())
    assert manifest["version"] == "1"
    for key in ["signature", "features", "processors", "dataset", "splits", "seed", "metrics", "golden"]:
        assert manifest[key] not in (None, {}, []), key
    assert len(manifest["features"]["expressions"]) == 75
    assert len(manifest["dataset"]["digest"]) == 64
