"""A peer: saves an ONNX model in MLflow's format, for its scoring server.

    mlflow_model.py MODEL.onnx FOLDER
"""

import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

model = onnx.load(sys.argv[1])
(given,) = model.graph.input
width = given.type.tensor_type.shape.dim[1].dim_value
features = Schema([TensorSpec(np.dtype(np.float32), (-1, width), given.name)])
mlflow.onnx.save_model(
    model,
    sys.argv[2],
    signature=ModelSignature(inputs=features),
    onnx_execution_providers=["CPUExecutionProvider"],
    onnx_session_options={"intra_op_num_threads": 1},
    pip_requirements=[],
)
