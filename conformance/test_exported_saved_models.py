"""SavedModels that the binary writes of models that were imported as ONNX or `.keras`, in TensorFlow beside onnxruntime."""

import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bundle import tf  # First, because it says how TensorFlow is loaded.
import keras

import keras_models
import onnx_networks
import onnx_trees
from onnx_cases import Case, cases, old_operators
from onnx_import import library
from program import Program, environment
from saved_model_converter import Converter
from test_keras_files import MODELS, REFUSED, saved
from test_onnx_import import differs
from test_saved_models import BATCHES, TOLERANCE, difference

# Operators of the `onnx` package's cases of which not one is written: TensorFlow has no like on CPUs, nobody needed it, or the cases
# give as inputs what must be constant (the axes of Squeeze and Unsqueeze, the sizes of Resize).
NOT_WRITTEN = {
    "AffineGrid", "Attention", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "BlackmanWindow", "CenterCropPad",
    "Col2Im", "Compress", "ConvInteger", "DFT", "DeformConv", "DequantizeLinear", "Det", "DynamicQuantizeLinear", "EyeLike",
    "GridSample", "HammingWindow", "HannWindow", "Hardmax", "ImageDecoder", "LRN", "LpPool", "MatMulInteger", "MaxUnpool",
    "MelWeightMatrix", "NegativeLogLikelihoodLoss", "NonMaxSuppression", "OptionalGetElement", "OptionalHasElement", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear", "Resize", "RoiAlign", "RotaryEmbedding", "STFT", "Scan", "Scatter", "ScatterElements",
    "SoftmaxCrossEntropyLoss", "Squeeze", "TfIdfVectorizer", "TreeEnsemble", "Unique", "Unsqueeze", "Upsample",
}
# Cases in half precision, which TensorFlow rounds after each step.
HALVES = re.compile("fp16")


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    """Reads what ONNX Runtime computes too."""
    patch = pytest.MonkeyPatch()
    patch.setenv("BELLWETHER_ONNXRUNTIME", str(library()))
    yield Converter.build()
    patch.undo()


def written(program: Program, source: Path, folder: Path) -> Path:
    """The SavedModel of a model that anything here computes."""
    done = converted(program, source, folder)
    assert done.returncode == 0, done.stderr
    return folder


def converted(program: Program, source: Path, out: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        program.command("convert", source, out, "--format", "saved-model"), capture_output=True, text=True,
        cwd=program.folder, env=environment() | {"BELLWETHER_ONNXRUNTIME": str(library())},
    )


def by_onnxruntime(model: bytes, call: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, call)))


class Loaded:
    """A SavedModel in TensorFlow 2."""

    def __init__(self, folder: Path):
        self.model = tf.saved_model.load(str(folder))
        self.signature = self.model.signatures["serving_default"]

    def __call__(self, call: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in self.signature(**{k: tf.constant(v) for k, v in call.items()}).items()}


def by_tensorflow_1(folder: Path, call: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By the names of tensors that the signature states, as the C interface and TensorFlow Serving do it."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = meta.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[name].name: values for name, values in call.items()})


def apart(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float = TOLERANCE) -> dict[str, float]:
    assert ours.keys() == theirs.keys()
    gaps = {name: difference(ours[name], theirs[name]) for name in theirs}
    return {name: gap for name, gap in gaps.items() if gap > tolerance}


@pytest.mark.parametrize("name", onnx_networks.NETWORKS)
def test_a_network_of_onnx_computes_the_same_in_tensorflow(name: str, program: Program, tmp_path: Path):
    model = onnx_networks.NETWORKS[name]()
    onnx.checker.check_model(model, full_check=True)
    source = tmp_path / "model.onnx"
    onnx.save(model, source)
    folder = written(program, source, tmp_path / "saved")
    loaded = Loaded(folder)
    for rows in BATCHES:
        call = onnx_networks.batch(model, rows)
        expected = by_onnxruntime(source.read_bytes(), call)
        assert apart(loaded(call), expected) == {}
        assert apart(by_tensorflow_1(folder, call), expected) == {}
        if len(call) == 1:  # The layer hands one tensor to a signature.
            answer = keras.layers.TFSMLayer(str(folder), call_endpoint="serving_default")(tf.constant(next(iter(call.values()))))
            assert apart({name: value.numpy() for name, value in answer.items()}, expected) == {}


@pytest.mark.parametrize("name", [name for name, model in keras_models.MODELS.items() if model.signature == "serving_default"])
def test_what_became_onnx_goes_back_to_tensorflow(name: str, converter: Converter, tmp_path: Path):
    """SavedModel to ONNX to SavedModel: what was exported first, and what came back, both in TensorFlow."""
    model = keras_models.export(name, tmp_path / "model")
    converter.write(tmp_path / "model", tmp_path / "saved")
    theirs, ours = Loaded(tmp_path / "model"), Loaded(tmp_path / "saved")
    for rows in BATCHES:
        call = keras_models.batch(model, rows)
        assert apart(ours(call), theirs(call), 1e-6) == {}


def test_single_operators_give_the_answers_of_the_onnx_package(converter: Converter, tmp_path: Path, capsys: pytest.CaptureFixture):
    """An operator is refused with its name, or computes what ONNX says."""
    counts, wrong, unwritten = defaultdict(Counter), {}, Counter()
    # An axis without elements cannot be told from one that Reshape takes over.
    for at, case in enumerate(case for case in cases() if all(x.size for x in case.inputs.values())):
        source, folder = tmp_path / "model.onnx", tmp_path / str(at)
        source.write_bytes(case.model)
        done = converter.call("saved-model", source, folder)
        if done.returncode != 0:
            verdict = "not written" if "cannot be written as a SavedModel" in done.stderr else "not imported"
            counts[verdict][case.operator] += 1
            if verdict == "not written":
                unwritten.update(re.findall(r"^  (\w+) \(", done.stderr, re.MULTILINE))
            continue
        problems = problems_of(case, folder)
        counts["wrong" if problems else "right"][case.operator] += 1
        if problems and not HALVES.search(case.name):
            wrong[case.name] = problems
        shutil.rmtree(folder)
    right = set(counts["right"])
    with capsys.disabled():
        print(f"\ncases of the onnx package as SavedModels: { {verdict: sum(each.values()) for verdict, each in counts.items()} }")
        print(f"  not written: {sorted(unwritten)}")
        print(f"  wrong: {wrong}")
    assert wrong == {}
    assert set(counts["not written"]) - right == NOT_WRITTEN
    assert len(right) > 100 and sum(counts["right"].values()) > 500


def problems_of(case: Case, folder: Path) -> list[str]:
    """What is wrong with TensorFlow's answer to a case."""
    try:
        answer = Loaded(folder)(case.inputs)
    except Exception as error:  # Whatever TensorFlow says of it.
        return [f"{type(error).__name__}: {str(error)[:300]}"]
    found = []
    for name, expected in case.expected.items():
        problem = differs(answer[name], expected, max(case.rtol, 1e-3), max(case.atol, 1e-6 * largest(expected)))
        found += [f"{name}: {problem}"] if problem else []
    return found


def largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)].astype(np.float64)).max(initial=1))


def test_old_operators_mean_what_they_meant(converter: Converter, tmp_path: Path):
    x = np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    for at, (name, opset, model) in enumerate(old_operators()):
        source, folder = tmp_path / "model.onnx", tmp_path / str(at)
        onnx.save(model, source)
        converter.write(source, folder)
        assert apart(Loaded(folder)({"x": x}), {"y": by_onnxruntime(source.read_bytes(), {"x": x})["y"]}) == {}, (name, opset)


@pytest.mark.parametrize("name", onnx_trees.pipelines())
def test_a_pipeline_of_scikit_learn_computes_the_same_in_tensorflow(name: str, program: Program, tmp_path: Path):
    model = onnx_trees.pipelines()[name]
    source = tmp_path / "model.onnx"
    onnx.save(model, source)
    program.succeed("convert", source, tmp_path / "imported.onnx")
    loaded = Loaded(written(program, source, tmp_path / "saved"))
    for rows in BATCHES:
        x = onnx_trees.features(rows, seed=7, missing=0.05 if "imputed" in name else 0)
        call = {model.graph.input[0].name: x}
        assert apart(loaded(call), by_onnxruntime((tmp_path / "imported.onnx").read_bytes(), call)) == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("net_") and name not in REFUSED])
def test_a_version_made_of_a_keras_file_is_exported(name: str, program: Program, tmp_path: Path):
    """Uploaded, then `model export`: in TensorFlow beside Keras."""
    model = saved(name, tmp_path / "model.keras")
    program.succeed("model", "upload", tmp_path / "model.keras", "--model", "m")
    document = program.succeed("model", "export", "m", tmp_path / "saved", "--format", "saved-model")
    assert {"saved_model.pb", "variables/variables.index"} <= set(document["files"]) and "model.onnx" not in document["files"]
    loaded = Loaded(tmp_path / "saved")
    assert sum(tf.size(variable).numpy() for variable in loaded.signature.variables) > 0.9 * document["parameters"]
    for rows in BATCHES:
        call = keras_models.batch(keras_models.MODELS[name], rows)
        answer = loaded(call)
        outputs = model.predict([call[tensor.name] for tensor in model.inputs], verbose=0)
        if not isinstance(outputs, dict):
            outputs = dict(zip(sorted(answer), outputs if isinstance(outputs, (list, tuple)) else [outputs], strict=True))
        assert apart(answer, outputs) == {}


def test_a_changed_weight_is_a_difference(program: Program, tmp_path: Path):
    model = onnx_networks.NETWORKS["perceptron"]()
    onnx.save(model, tmp_path / "model.onnx")
    folder = written(program, tmp_path / "model.onnx", tmp_path / "saved")
    call = onnx_networks.batch(model, 5)
    expected = by_onnxruntime((tmp_path / "model.onnx").read_bytes(), call)
    loaded = Loaded(folder)
    assert apart(loaded(call), expected) == {}
    (weight,) = [variable for variable in loaded.signature.variables if variable.shape == [8, 6]]
    weight.assign(weight * 1.001)
    assert apart(loaded(call), expected) != {}, "the variables are what is computed with"
    checkpoint = tmp_path / "again" / "variables"
    tf.train.Checkpoint(loaded.model).write(str(checkpoint))
    assert tf.train.load_checkpoint(str(checkpoint)).get_variable_to_shape_map()


def test_what_has_no_like_is_refused_with_all_of_it(program: Program, tmp_path: Path):
    n = onnx_networks.Network()
    x = n.input("x", 4, 6, 5)
    n.output("y", n("Add", n("LRN", x, size=3), n("Hardmax", n("Hardmax", x))), 4, 6, 5)
    onnx.save(n.model(), tmp_path / "model.onnx")
    refused = converted(program, tmp_path / "model.onnx", tmp_path / "saved")
    assert refused.returncode == 4, refused.stderr
    for part in ["2 operators", "LRN (/model/lrn.0/LRN", "Hardmax (/model/hardmax.1/Hardmax, /model/hardmax.2/Hardmax", "--format onnx"]:
        assert part in refused.stderr, refused.stderr
    assert not (tmp_path / "saved").exists()


def test_trees_stay_onnx(program: Program, tmp_path: Path):
    model, _ = onnx_trees.exported()["lightgbm regression"]
    onnx.save(model, tmp_path / "model.onnx")
    refused = program.run("convert", tmp_path / "model.onnx", tmp_path / "saved", "--format", "saved-model", "--json")
    assert refused.status == 4 and "tree ensemble is exported as ONNX" in refused.error["message"]
