"""A peer: a runtime of MLServer, as its documentation shows one."""

import engine
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Perceptron(MLModel):
    """The Open Inference Protocol in and out."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("probabilities", engine.probabilities(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
