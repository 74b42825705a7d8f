"""A call of a model in microseconds: our engines beside onnxruntime in Python and TensorFlow on the same files, and our evaluator of
trees beside LightGBM and onnxruntime, each on one thread; what loading a file takes; and what `bellwether convert` takes from a
SavedModel or a `.keras` file to ONNX, beside tf2onnx.

Every engine is measured in turn, several times over, and the best median counts: a busy machine slows them all.
"""

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# Before TensorFlow and what it brings is loaded.
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
warnings.filterwarnings("ignore")

import keras
import lightgbm
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from figures import Figures

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "conformance"))
from onnx_import import Runner

BATCHES = (1, 32, 1024)
ROUNDS, SECONDS = 3, 0.4
OURS = "bellwether"


def networks() -> dict[str, keras.Model]:
    layers = keras.layers
    keras.utils.set_random_seed(1)

    def mlp(*widths: int) -> keras.Model:
        hidden = [layers.Dense(width, activation="relu") for width in widths[1:-1]]
        return keras.Sequential([keras.Input((widths[0],)), *hidden, layers.Dense(widths[-1], activation="softmax")])

    series = keras.Input((20, 16))
    attended = layers.MultiHeadAttention(4, 8)(series, series)
    attended = layers.LayerNormalization()(layers.Add()([series, attended]))
    attended = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(attended))
    return {
        "MLP 64-128-10": mlp(64, 128, 10),
        "MLP 158-512-256-10": mlp(158, 512, 256, 10),
        "LSTM 20x16, 64": keras.Sequential([keras.Input((20, 16)), layers.LSTM(64), layers.Dense(10, activation="softmax")]),
        "attention 20x16": keras.Model(series, attended),
    }


def trees() -> dict[str, tuple[object, onnx.ModelProto, int]]:
    """The model in its own library, as ONNX, and how many features it has."""
    random = np.random.default_rng(2)
    x = random.normal(size=(20_000, 158)).astype(np.float32)
    number = x[:, 0] * 2 + x[:, 1] ** 2 + random.normal(size=len(x))
    classes = np.digitize(number, [-0.5, 1.5])
    kinds = [("input", FloatTensorType([None, 158]))]
    boosted = lightgbm.LGBMRegressor(n_estimators=300, num_leaves=31, verbose=-1, n_jobs=1).fit(x, number)
    wide = lightgbm.LGBMRegressor(n_estimators=300, num_leaves=210, max_depth=8, verbose=-1, n_jobs=1).fit(x, number)
    many = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, verbose=-1, n_jobs=1).fit(x, classes)
    forest = RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=1).fit(x[:4000], classes[:4000])
    return {
        "LightGBM 300 x 31": (boosted, convert_lightgbm(boosted, initial_types=kinds), 158),
        "LightGBM 300 x 210": (wide, convert_lightgbm(wide, initial_types=kinds), 158),
        "LightGBM 3 classes": (many, convert_lightgbm(many, initial_types=kinds, zipmap=False), 158),
        "forest 100 x 12": (forest, to_onnx(forest, x[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3}), 158),
    }


def median(call: Callable[[], object]) -> float:
    """The median of a call in microseconds."""
    took = []
    end = time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end or len(took) < 5:
        call()
        took.append(time.perf_counter() - begin)
    return float(np.median(took)) * 1e6


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measured(figures: Figures, case: str, engines: dict[str, Callable[[np.ndarray], float]], shape: tuple[int, ...]) -> None:
    for batch in BATCHES:
        x = np.random.default_rng(batch).normal(size=(batch, *shape)).astype(np.float32)
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, microseconds in engines.items():
                best[name] = min(best.get(name, np.inf), microseconds(x))
        for name, value in best.items():
            figures.add(case, name, f"batch {batch}", value, "us")


def ours(runner: Runner, path: Path, name: str, engine: str) -> Callable[[np.ndarray], float]:
    def run(x: np.ndarray) -> float:
        answer = runner.run(path, {name: x}, engine, SECONDS)
        if answer.is_refused:
            raise SystemExit(f"{path.name} on {engine}: {answer.error}")
        return answer.microseconds

    return run


def peers(path: Path, name: str) -> Callable[[np.ndarray], float]:
    loaded = session(path)
    outputs = [output.name for output in loaded.get_outputs()]
    return lambda x: median(lambda: loaded.run(outputs, {name: x}))


def seconds(call: Callable[[], object]) -> float:
    """The best of several times."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)


def conversions(figures: Figures, case: str, model: keras.Model, folder: Path) -> None:
    """Whole commands, as a user waits for them (ours runs the result once, too), and tf2onnx in a process that has TensorFlow loaded."""
    exported, saved, out = folder / "saved_model", folder / "network.keras", folder / "converted.onnx"
    model.export(exported, verbose=False)
    model.save(saved)

    def command(*words: str | Path) -> Callable[[], object]:
        def run() -> None:
            out.unlink(missing_ok=True)
            subprocess.run([str(word) for word in words], check=True, capture_output=True)

        return run

    peer = f"tf2onnx {tf2onnx.__version__}"
    binary = os.environ["BELLWETHER"]
    module = [sys.executable, "-m", "tf2onnx.convert", "--opset", "18", "--saved-model", exported, "--output", out]
    inputs = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="x")]
    function = tf.function(lambda x: model(x), input_signature=inputs)
    for engine, metric, call in [
        (OURS, "convert SavedModel", command(binary, "convert", exported, out)),
        (OURS, "convert .keras", command(binary, "convert", saved, out)),
        (peer, "convert SavedModel", command(*module)),
        (f"{peer}, loaded", "convert SavedModel", lambda: tf2onnx.convert.from_function(function, inputs, opset=18)),
    ]:
        figures.add(case, engine, metric, seconds(call), "s")


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    figures = Figures("engines")
    theirs = f"onnxruntime {onnxruntime.__version__}, Python"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runner = Runner(folder, "release")
        for case, model in networks().items():
            spec = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="x")
            function = tf.function(lambda x, model=model: model(x), input_signature=[spec])
            path = folder / "network.onnx"
            tf2onnx.convert.from_function(function, input_signature=[spec], opset=18, output_path=str(path))
            concrete = function.get_concrete_function()
            engines = {
                OURS: ours(runner, path, "x", "rten"),
                f"{OURS}, onnxruntime": ours(runner, path, "x", "onnxruntime"),
                theirs: peers(path, "x"),
                f"tensorflow {tf.__version__}": lambda x: median(lambda t=tf.constant(x): concrete(t).numpy()),
            }
            measured(figures, case, engines, tuple(model.inputs[0].shape[1:]))
            with tempfile.TemporaryDirectory() as converted:
                conversions(figures, case, model, Path(converted))
        for case, (model, exported, width) in trees().items():
            path = folder / "trees.onnx"
            onnx.save(exported, path)
            (input_name,) = [value.name for value in exported.graph.input]
            engines = {
                OURS: ours(runner, path, input_name, "trees"),
                f"{OURS}, onnxruntime": ours(runner, path, input_name, "onnxruntime"),
                theirs: peers(path, input_name),
            }
            if isinstance(model, lightgbm.LGBMModel):
                booster = model.booster_
                library = f"lightgbm {lightgbm.__version__}"
                engines[library] = lambda x, booster=booster: median(lambda: booster.predict(x, num_threads=1))
            measured(figures, case, engines, (width,))
            began = time.perf_counter()
            session(path)
            figures.add(case, theirs, "load", time.perf_counter() - began, "s")
            x = np.zeros((1, width), np.float32)
            figures.add(case, OURS, "load", runner.run(path, {input_name: x}, "trees").load_seconds, "s")
        runner.close()
    figures.show(OURS)


if __name__ == "__main__":
    main()
