"""The models that `bench/run serving` serves: multilayer perceptrons with made-up weights, the same on every run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Model:
    """Relu between the layers, softmax at the end; input `features` [batch, first width], output `probabilities`.

    With `table_mb`, a row of a table of that size is added to the features: weights that are loaded and hardly computed with,
    as of a model that knows every instrument.
    """

    name: str
    widths: tuple[int, ...]
    table_mb: int = 0

    @property
    def title(self) -> str:
        return "MLP " + "-".join(map(str, self.widths))

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Matrices [in, out] and biases [out]."""
        random = np.random.default_rng(len(self.widths))
        return [
            ((random.normal(size=(i, o)) / np.sqrt(i)).astype(np.float32), (0.1 * random.normal(size=o)).astype(np.float32))
            for i, o in zip(self.widths, self.widths[1:])
        ]

    def rows(self, count: int) -> np.ndarray:
        """[count, features], written with few digits, as data are."""
        return np.random.default_rng(3).normal(size=(count, self.widths[0])).round(6)

    def write_onnx(self, path: Path) -> None:
        nodes, weights, last = [], [], "features"
        if self.table_mb:
            table = np.random.default_rng(4).normal(size=(self.table_mb * 10**6 // 4 // self.widths[0], self.widths[0]))
            weights.append(numpy_helper.from_array(table.astype(np.float32), "table"))
            nodes += [
                helper.make_node("ArgMax", [last], ["place"], axis=1, keepdims=0),
                helper.make_node("Gather", ["table", "place"], ["known"]),
                helper.make_node("Add", [last, "known"], ["both"]),
            ]
            last = "both"
        for index, (matrix, bias) in enumerate(self.layers()):
            weights += [numpy_helper.from_array(matrix, f"matrix{index}"), numpy_helper.from_array(bias, f"bias{index}")]
            nodes += [
                helper.make_node("MatMul", [last, f"matrix{index}"], [f"product{index}"]),
                helper.make_node("Add", [f"product{index}", f"bias{index}"], [f"sum{index}"]),
                helper.make_node("Relu", [f"sum{index}"], [f"relu{index}"]),
            ]
            last = f"relu{index}"
        nodes[-1] = helper.make_node("Softmax", nodes[-1].input, ["probabilities"], axis=1)
        value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(nodes, self.name, [value("features", self.widths[0])], [value("probabilities", self.widths[-1])], weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)

    def write_weights(self, path: Path) -> None:
        """For a peer that reads no ONNX: matrix and bias, layer by layer, as little-endian `f32`."""
        path.write_bytes(b"".join(part.astype("<f4").tobytes() for layer in self.layers() for part in layer))


A = Model("a", (64, 128, 10))
B = Model("b", (158, 512, 256, 10))
# Model A with 200 MB of weights beside it.
LARGE = Model("large", (64, 128, 10), table_mb=200)
# Little to read and much to compute: its engine is the bottleneck, not the client on the same machine.
HEAVY = Model("heavy", (64, 2048, 2048, 10))
