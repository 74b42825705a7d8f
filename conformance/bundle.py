"""A bundle as somebody without Bellwether reads it: bundle.json, TensorFlow, onnxruntime."""

import hashlib
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import tensorflow as tf  # noqa: E402

# Largest difference of a probability between engines.
PROBABILITY_TOLERANCE = 1e-5


class Bundle:
    """One bundle directory."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = json.loads((folder / "bundle.json").read_text())

    @property
    def feature_names(self) -> list[str]:
        return self.manifest["features"]["names"]

    def wrong_digests(self) -> list[str]:
        """Files whose size or SHA-256 is not the recorded one."""
        wrong = []
        for name, entry in self.manifest["files"].items():
            content = (self.folder / name).read_bytes()
            if len(content) != entry["size"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
                wrong.append(name)
        return wrong

    def tensorflow(self):
        """Rows of raw features to probabilities, by the SavedModel."""
        model = tf.saved_model.load(str(self.folder))
        signature = model.signatures["serving_default"]

        def predict(rows: np.ndarray) -> np.ndarray:
            # The model owns the signature's variables: it must live as long as this function.
            assert model is not None
            return signature(features=tf.constant(rows, tf.float32))["probabilities"].numpy()

        return predict

    def onnxruntime(self, model: bytes | None = None):
        """The same by model.onnx, or by another ONNX model."""
        content = model or (self.folder / "model.onnx").read_bytes()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda rows: session.run(["probabilities"], {"features": rows.astype(np.float32)})[0]

    def golden(self) -> tuple[np.ndarray, np.ndarray]:
        """Recorded inputs (NaN where null) and outputs."""
        golden = self.manifest["golden"]
        inputs = [[np.nan if x is None else x for x in row] for row in golden["inputs"]]
        return np.array(inputs, np.float32), np.array(golden["outputs"], np.float32)

    def random_rows(self, count: int, seed: int) -> np.ndarray:
        """Raw features around what was fitted, far enough out to be clipped, with missing values if allowed."""
        random = np.random.default_rng(seed)
        processors = self.manifest["processors"]
        center, scale = (np.array(processors[key]) for key in ("center", "scale"))
        rows = center + scale * 2.5 * random.standard_normal((count, len(center)))
        if self.manifest["features"]["nan_policy"] == "fill":
            rows[random.random(rows.shape) < 0.05] = np.nan
            rows[0] = np.nan
        return rows.astype(np.float32)


def difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest absolute difference; a NaN on either side counts as infinite."""
    assert left.shape == right.shape, f"{left.shape} against {right.shape}"
    gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
    return float(np.where(np.isnan(gap), np.inf, gap).max())
