"""What every peer in Python computes with: onnxruntime on one thread.

The servers beside this file find the model at $MODEL and listen on $PORT; their working directory is theirs to write to.
"""

import os

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


def probabilities(rows: list[list[float]] | np.ndarray) -> np.ndarray:
    """[rows, features] -> [rows, classes]"""
    return session.run(["probabilities"], {"features": np.asarray(rows, np.float32)})[0]
