"""The weights and answers of a bundle, read without Bellwether."""

from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def weights(bundle: Path) -> dict[str, np.ndarray]:
    """The variables of the SavedModel's checkpoint; `/` of a name is `_` there."""
    reader = tf.train.load_checkpoint(str(bundle / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(SUFFIX)]
    return {name.removesuffix(SUFFIX): reader.get_tensor(name) for name in names}


def named(found: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """The same by the names of layers and weights; all must be there, and nothing else."""
    keys = {name: name.replace("/", "_").replace("-", "_").replace(".", "_") for name in names}
    assert sorted(keys.values()) == sorted(found), f"variables are {sorted(found)}, those of Keras {sorted(names)}"
    return {name: found[key] for name, key in keys.items()}


def answers(bundle: Path, rows: np.ndarray) -> np.ndarray:
    """What model.onnx gives for raw features [rows, columns]."""
    session = onnxruntime.InferenceSession((bundle / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": rows.reshape(len(rows), -1).astype(np.float32)})[0]
