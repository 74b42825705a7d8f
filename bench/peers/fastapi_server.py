"""A peer: onnxruntime behind FastAPI and uvicorn, as a team would write it in an afternoon.

    fastapi_server.py MODEL.onnx PORT
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    """Rows of features."""

    instances: list[list[float]]


options = onnxruntime.SessionOptions()
# One thread: the model is small, and more only wait for each other.
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.get("/readyz")
def ready() -> dict:
    return {}


@app.post("/predict")
async def predict(request: Request) -> dict:
    rows = np.array(request.instances, np.float32)
    return {"predictions": session.run(["probabilities"], {"features": rows})[0].tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
