"""Whole networks as `torch.onnx` and others write them: names with dots and colons, shapes computed on the way, loops and branches."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {}
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Network:
    """A graph while it is written."""

    def __init__(self, opset: int = 17):
        self.opset = opset
        self.random = np.random.default_rng(5)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def input(self, name: str, *shape, dtype: int = FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
        return name

    def weight(self, name: str, *shape: int, scale: float = 0.5) -> str:
        return self.constant(name, self.random.normal(scale=scale, size=shape).astype(np.float32))

    def constant(self, name: str, values) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def __call__(self, operator: str, *inputs: str, outputs: int = 1, **attributes):
        count = len(self.nodes)
        names = [f"/model/{operator.lower()}.{count}/{operator}_output_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=f"/model/{operator.lower()}.{count}/{operator}", **attributes))
        return names[0] if outputs == 1 else names

    def output(self, name: str, value: str, *shape, dtype: int = FLOAT) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def network(build: Callable[[Network], None], opset: int = 17) -> Callable[[Network], None]:
    def make() -> onnx.ModelProto:
        net = Network(opset)
        build(net)
        return net.model()

    NETWORKS[build.__name__] = make
    return build


def batch(model: onnx.ModelProto, rows: int, open_axis: int = 6) -> dict[str, np.ndarray]:
    """Numbers for each input; integers are places below 6."""
    random = np.random.default_rng(rows)
    call = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        axes = [axis.dim_value or (rows if at == 0 else open_axis) for at, axis in enumerate(tensor.shape.dim)]
        if tensor.elem_type == INT64:
            call[value.name] = random.integers(0, 6, axes)
        else:
            call[value.name] = random.normal(size=axes).astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return call


@network
def perceptron(n: Network) -> None:
    x = n.input("onnx::Gemm_0", 6)
    x = n("Relu", n("Gemm", x, n.weight("fc1.weight", 8, 6), n.weight("fc1.bias", 8), transB=1))
    x = n("BatchNormalization", x, n.constant("bn.weight", np.linspace(0.5, 2, 8, dtype=np.float32)), n.weight("bn.bias", 8),
          n.weight("bn.running_mean", 8), n.constant("bn.running_var", np.linspace(0.2, 3, 8, dtype=np.float32)))
    x = n("Gemm", x, n.weight("fc2.weight", 3, 8), n.weight("fc2.bias", 3), transB=1, alpha=0.5, beta=2.0)
    n.output("probabilities", n("Softmax", x, axis=1), 3)
    n.output("log.probabilities", n("LogSoftmax", x), 3)


@network
def convolutions(n: Network) -> None:
    x = n.input("input.1", 3, 12, 10)
    x = n("Conv", x, n.weight("conv1.weight", 8, 3, 3, 3), n.weight("conv1.bias", 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
          strides=[1, 1], dilations=[1, 1], group=1)
    x = n("MaxPool", n("Relu", x), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=0)
    depth = n("Conv", x, n.weight("depthwise.weight", 8, 1, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8)
    grouped = n("Conv", x, n.weight("grouped.weight", 4, 4, 3, 2), n.weight("grouped.bias", 4), kernel_shape=[3, 2],
                pads=[2, 0, 1, 1], strides=[2, 1], dilations=[1, 1], group=2)
    dilated = n("Conv", x, n.weight("dilated.weight", 4, 8, 3, 3), kernel_shape=[3, 3], pads=[2, 2, 2, 2], dilations=[2, 2])
    mean = n("AveragePool", depth, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    mean = n("GlobalAveragePool", n("HardSwish", mean))
    n.output("vector", n("Flatten", mean), 8)
    n.output("grouped", grouped, 4, 4, 5)
    n.output("dilated", n("InstanceNormalization", dilated, n.weight("norm.weight", 4), n.weight("norm.bias", 4)), 4, 6, 5)


@network
def series(n: Network) -> None:
    """Causal convolutions along an open axis, and the way back up."""
    x = n.input("series", 3, "steps")
    padded = n("Pad", x, n.constant("pads", np.array([0, 0, 4, 0, 0, 0])), n.constant("zero", np.float32(0)))
    x = n("Conv", padded, n.weight("tcn.weight", 6, 3, 3), n.weight("tcn.bias", 6), kernel_shape=[3], dilations=[2])
    x = n("PRelu", x, n.weight("slope", 6, 1))
    pooled = n("MaxPool", x, kernel_shape=[2], strides=[2])
    up = n("ConvTranspose", pooled, n.weight("up.weight", 6, 2, 3), n.weight("up.bias", 2), kernel_shape=[3], strides=[2], pads=[1, 1],
           output_padding=[1])
    n.output("up", up, 2, None)
    last = n("Slice", x, n.constant("from", [-1]), n.constant("to", [2**63 - 1]), n.constant("axis", [2]))
    n.output("last", n("Squeeze", last, "axis"), 6)


@network
def lstm(n: Network) -> None:
    """Batch first, with states made of the batch's size, as `torch.onnx` writes it."""
    x = n.input("x", 7, 3)
    time = n("Transpose", x, perm=[1, 0, 2])
    rows = n("Gather", n("Shape", x), n.constant("zero", np.array(0)), axis=0)
    sizes = n("Concat", n.constant("two", [2]), n("Unsqueeze", rows, n.constant("at", [0])), n.constant("five", [5]), axis=0)
    state = n("ConstantOfShape", sizes, value=numpy_helper.from_array(np.array([0.25], np.float32)))
    y, h, c = n("LSTM", time, n.weight("W", 2, 20, 3), n.weight("R", 2, 20, 5), n.weight("B", 2, 40), "", state, state,
                n.weight("P", 2, 15), outputs=3, hidden_size=5, direction="bidirectional")
    y = n("Reshape", n("Transpose", y, perm=[2, 0, 1, 3]), n.constant("flat", [0, 0, -1]))
    n.output("y", y, 7, 10)
    n.output("h", n("Transpose", h, perm=[1, 0, 2]), 2, 5)
    n.output("c", n("Transpose", c, perm=[1, 0, 2]), 2, 5)


def gated(n: Network, reset: int) -> None:
    x = n.input("x", "steps", 3)
    time = n("Transpose", x, perm=[1, 0, 2])
    y, h = n("GRU", time, n.weight("W", 1, 15, 3), n.weight("R", 1, 15, 5), n.weight("B", 1, 30), outputs=2, hidden_size=5,
             linear_before_reset=reset, direction="reverse")
    n.output("y", n("Transpose", n("Squeeze", y, n.constant("at", [1])), perm=[1, 0, 2]), None, 5)
    n.output("h", n("Squeeze", h, n.constant("first", [0])), 5)


@network
def gru(n: Network) -> None:
    gated(n, 1)


@network
def gru_before(n: Network) -> None:
    gated(n, 0)


@network
def recurrent(n: Network) -> None:
    """With a length for each row, and no activation that is usual."""
    x, lengths = n.input("x", 6, 3), n.input("lengths", dtype=INT64)
    time = n("Transpose", x, perm=[1, 0, 2])
    y, h = n("RNN", time, n.weight("W", 2, 4, 3), n.weight("R", 2, 4, 4), n.weight("B", 2, 8), n("Cast", lengths, to=TensorProto.INT32),
             outputs=2, hidden_size=4, direction="bidirectional", activations=["LeakyRelu", "Softsign"], activation_alpha=[0.1])
    n.output("y", n("Transpose", y, perm=[2, 0, 1, 3]), 6, 2, 4)
    n.output("h", n("Transpose", h, perm=[1, 0, 2]), 2, 4)


@network
def transformer(n: Network) -> None:
    """Embedded tokens through attention, whose shapes are computed from that of the input."""
    tokens = n.input("tokens", "steps", dtype=INT64)
    x = n("Gather", n.weight("embedding.weight", 6, 8, scale=1), tokens, axis=0)
    shape = n("Shape", x)
    rows, steps = (n("Gather", shape, n.constant(f"at{at}", np.array(at)), axis=0) for at in (0, 1))
    one = n.constant("axis0", [0])
    heads = n("Concat", n("Unsqueeze", rows, one), n("Unsqueeze", steps, one), n.constant("heads", [2, 4]), axis=0)

    def head(role: str) -> str:
        y = n("Add", n("MatMul", x, n.weight(f"{role}.weight", 8, 8)), n.weight(f"{role}.bias", 8))
        return n("Transpose", n("Reshape", y, heads), perm=[0, 2, 1, 3])

    query, key, value = head("query"), n("Transpose", head("key"), perm=[0, 1, 3, 2]), head("value")
    scores = n("Div", n("MatMul", query, key), n.constant("scale", np.float32(2)))
    mask = n("Trilu", n("Expand", n.constant("one", np.ones((1, 1), np.float32)), n("Concat", n("Unsqueeze", steps, one), n("Unsqueeze", steps, one), axis=0)), upper=0)
    scores = n("Where", n("Equal", mask, n.constant("nothing", np.float32(0))), n.constant("low", np.float32(-1e9)), scores)
    mixed = n("Transpose", n("MatMul", n("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    mixed = n("Reshape", mixed, n.constant("joined", [0, 0, 8]))
    x = n("LayerNormalization", n("Add", x, mixed), n.weight("norm.weight", 8), n.weight("norm.bias", 8), axis=-1, epsilon=1e-5)
    gate = n("Mul", n("Erf", n("Div", x, n.constant("root", np.float32(2**0.5)))), n.constant("half", np.float32(0.5)))
    x = n("Mul", x, n("Add", gate, "half"))
    n.output("encoded", x, None, 8)
    n.output("pooled", n("ReduceMean", x, axes=[1], keepdims=0), 8)


@network
def loop(n: Network) -> None:
    """A recurrence written as a loop, which uses a weight and an input from outside and gives a list."""
    x = n.input("x", 5, 3)
    n.weight("W", 3, 3)
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "step"], ["row"], axis=1),
            helper.make_node("MatMul", ["state", "W"], ["product"]),
            helper.make_node("Add", ["row", "product"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["next"]),
            helper.make_node("Identity", ["next"], ["listed"]),
            helper.make_node("Identity", ["goes_on"], ["still"]),
        ],
        "body",
        [helper.make_tensor_value_info("step", INT64, []), helper.make_tensor_value_info("goes_on", BOOL, []),
         helper.make_tensor_value_info("state", FLOAT, [None, 3])],
        [helper.make_tensor_value_info("still", BOOL, []), helper.make_tensor_value_info("next", FLOAT, [None, 3]),
         helper.make_tensor_value_info("listed", FLOAT, [None, 3])],
    )
    begin = n("ReduceMean", x, axes=[1], keepdims=0)
    last, states = n("Loop", n.constant("count", np.array(5)), "", begin, outputs=2, body=body)
    n.output("last", last, 3)
    n.output("states", n("Transpose", states, perm=[1, 0, 2]), 5, 3)


@network
def branch(n: Network) -> None:
    """What is computed depends on the numbers."""
    x = n.input("x", 4)
    n.weight("W", 4, 4)
    value = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["a"])], "then", [], [value("a", FLOAT, None)])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "else", [], [value("b", FLOAT, None)])
    sum_ = n("ReduceSum", n("Abs", x), n.constant("all", [0, 1]), keepdims=0)
    n.output("y", n("If", n("Greater", sum_, n.constant("many", np.float32(20))), then_branch=then, else_branch=other), 4)


@network
def table(n: Network) -> None:
    """Sorting, counting and classes, with integers."""
    x, places = n.input("x", 6), n.input("places", 2, dtype=INT64)
    top, at = n("TopK", x, n.constant("k", [3]), outputs=2, axis=-1, largest=0)
    n.output("top", top, 3)
    n.output("at", at, 3, dtype=INT64)
    n.output("picked", n("GatherElements", x, places, axis=1), 2)
    n.output("cumulated", n("CumSum", x, n.constant("one", np.array(1)), exclusive=1), 6)
    n.output("class", n("ArgMax", x, axis=1, keepdims=0), dtype=INT64)
    hot = n("OneHot", places, n.constant("depth", np.array(6)), n.constant("values", np.array([0, 1], np.float32)))
    n.output("hot", n("ReduceSum", hot, "one_axis", keepdims=0), 6)
    n.constant("one_axis", [1])
    first, second = n("Split", n("Clip", x, n.constant("low", np.float32(-0.5)), n.constant("high", np.float32(0.5))), outputs=2, axis=1)
    n.output("halves", n("Where", n("Greater", first, second), first, n("Pow", second, n.constant("square", np.float32(2)))), 3)
