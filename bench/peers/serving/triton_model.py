"""A peer: the model of Triton's Python backend, which runs this in a process of its own."""

import engine
import triton_python_backend_utils as triton


class TritonPythonModel:
    """Tensors in and out."""

    def execute(self, requests: list) -> list:
        replies = []
        for request in requests:
            rows = triton.get_input_tensor_by_name(request, "features").as_numpy()
            tensor = triton.Tensor("probabilities", engine.probabilities(rows))
            replies.append(triton.InferenceResponse(output_tensors=[tensor]))
        return replies
