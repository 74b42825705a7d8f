"""The cases of single operators inside the `onnx` package, each made a model that a batch of one row can be given to: what
goes in and comes out has one axis more, which the model takes off and puts on.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = range(7, 24)
# What callers of a model give for a type they cannot give, as the import converts it.
WIDER = {np.dtype(a): np.dtype(b) for a, b in {
    "float16": "float32", "uint8": "int32", "int8": "int32", "uint16": "int32", "int16": "int32", "uint32": "int64", "uint64": "int64",
}.items()}
PLAIN = [np.dtype(name) for name in ("float32", "float64", "int32", "int64", "bool")]


@dataclass
class Case:
    name: str
    operator: str
    model: bytes
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    rtol: float
    atol: float


@cache
def collected() -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return collect_testcases(None)


def cases() -> list[Case]:
    """Every case of opset 7 to 23 (a newer one if the operator is valid as it was in 23) whose tensors are numbers or truth
    values, and whose answer is not random."""
    wrapped = (wrap(case) for case in collected() if not is_random(case.model) and not case.name.startswith("test_training_dropout"))
    return [case for case in wrapped if case]


def whole_models(operator: str) -> list[Case]:
    """The cases of an operator whose first axis is a batch, as they are."""
    found = []
    for case in collected():
        graph, (given, wanted) = case.model.graph, case.data_sets[0]
        if [node.op_type for node in graph.node] == [operator]:
            inputs = dict(zip((value.name for value in graph.input), given))
            expected = dict(zip((value.name for value in graph.output), wanted))
            found.append(Case(case.name, operator, case.model.SerializeToString(), inputs, expected, case.rtol, case.atol))
    return found


def is_random(model: onnx.ModelProto) -> bool:
    return any(node.op_type.startswith("Random") or node.op_type in {"Bernoulli", "Multinomial"} for node in model.graph.node)


def wrap(case) -> Case | None:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    versions = {entry.domain: entry for entry in model.opset_import}
    if "ai.onnx.preview" in versions or "ai.onnx.preview.training" in versions:
        return None
    if "" not in versions:
        model.opset_import.append(helper.make_opsetid("", 18))
    elif versions[""].version > OPSETS[-1]:
        versions[""].version = OPSETS[-1]
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception:
            return None
    elif versions[""].version not in OPSETS:
        return None
    given, wanted = case.data_sets[0]
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constants]
    if not names or len(names) != len(given) or not all(isinstance(x, np.ndarray | np.generic) for x in [*given, *wanted]):
        return None
    given, wanted = [np.asarray(x) for x in given], [np.asarray(x) for x in wanted]
    if any(x.dtype not in PLAIN and x.dtype not in WIDER for x in [*given, *wanted]):
        return None
    outputs = [value.name for value in graph.output]
    renamed = {name: f"{name}__inner" for name in [*names, *outputs]}
    if set(names) & set(outputs):
        return None
    rename(graph, renamed)
    before, after = [], []
    for name, x in zip(names, given):
        graph.initializer.append(numpy_helper.from_array(np.array(x.shape, np.int64), f"{name}__shape"))
        before.append(helper.make_node("Reshape", [name, f"{name}__shape"], [renamed[name]]))
    # The rows of the batch, and not just the number 1, go before the shape of what comes out.
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first__inner"))
    before += [helper.make_node("Shape", [names[0]], ["given__inner"]),
               helper.make_node("Gather", ["given__inner", "first__inner"], ["rows__inner"])]
    for name in outputs:
        after += [helper.make_node("Shape", [renamed[name]], [f"{name}__shape"]),
                  helper.make_node("Concat", ["rows__inner", f"{name}__shape"], [f"{name}__with_rows"], axis=0),
                  helper.make_node("Reshape", [renamed[name], f"{name}__with_rows"], [name])]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.extend(value(name, x) for name, x in zip(names, given))
    graph.output.extend(value(name, x) for name, x in zip(outputs, wanted))
    batch = {name: x.astype(WIDER.get(x.dtype, x.dtype))[None] for name, x in zip(names, given)}
    expected = {name: x[None] for name, x in zip(outputs, wanted)}
    operator = next(iter(case.model.graph.node)).op_type
    return Case(case.name, operator, model.SerializeToString(), batch, expected, case.rtol, case.atol)


def value(name: str, x: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), ["batch", *x.shape])


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for at, name in enumerate(values):
                values[at] = names.get(name, name)
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else [])]:
                rename(inner, names)
                for output in inner.output:
                    output.name = names.get(output.name, output.name)


def old_operators() -> list[tuple[str, int, onnx.ModelProto]]:
    """Operators whose old versions are written or meant differently: name, opset, model of `x [batch, 3, 4]`."""
    def model(opset: int, *nodes: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
        initializers = [numpy_helper.from_array(x, name) for name, x in (constants or {}).items()]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(list(nodes), "g", [x], [y], initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    node = helper.make_node
    found = []
    for opset in (7, 9, 11, 12, 13, 18):
        for operator in ("Softmax", "LogSoftmax"):
            found.append((f"{operator}_default", opset, model(opset, node(operator, ["x"], ["y"]))))
            found.append((f"{operator}_2", opset, model(opset, node(operator, ["x"], ["y"], axis=2))))
    for opset in (7, 9, 11):
        found += [
            ("Unsqueeze", opset, model(opset, node("Unsqueeze", ["x"], ["y"], axes=[1]))),
            ("Squeeze", opset, model(opset, node("Unsqueeze", ["x"], ["a"], axes=[1]), node("Squeeze", ["a"], ["y"], axes=[1]))),
            ("ReduceSum", opset, model(opset, node("ReduceSum", ["x"], ["y"], axes=[2], keepdims=0))),
            ("ReduceMean", opset, model(opset, node("ReduceMean", ["x"], ["y"], axes=[1]))),
            ("Split", opset, model(opset, node("Split", ["x"], ["y", "z"], axis=2, split=[1, 3]))),
            ("Dropout", opset, model(opset, node("Dropout", ["x"], ["y"], ratio=0.4))),
            ("Flatten", opset, model(opset, node("Flatten", ["x"], ["y"]))),
        ]
    for opset in (7, 9):
        found += [
            ("Clip", opset, model(opset, node("Clip", ["x"], ["y"], min=-0.5, max=0.25))),
            ("Slice", opset, model(opset, node("Slice", ["x"], ["y"], axes=[1, 2], starts=[0, -3], ends=[2, 9]))),
            ("TopK", opset, model(opset, node("TopK", ["x"], ["y", "i"], axis=2, k=2))),
            ("Pad", opset, model(opset, node("Pad", ["x"], ["y"], pads=[0, 1, 0, 0, 0, 2], value=1.5))),
        ]
    scales = {"scales": np.array([1, 1, 2], np.float32)}
    found += [
        ("Upsample", 7, model(7, node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0], mode="nearest"))),
        ("Upsample", 9, model(9, node("Upsample", ["x", "scales"], ["y"], mode="nearest"), constants=scales)),
        ("Resize", 10, model(10, node("Resize", ["x", "scales"], ["y"], mode="nearest"), constants=scales)),
        ("ReduceMean", 18, model(18, node("ReduceMean", ["x", "axes"], ["y"], keepdims=0), constants={"axes": np.array([1])})),
        ("Clip", 12, model(12, node("Clip", ["x", "low"], ["y"]), constants={"low": np.float32(0.1)})),
        ("BatchNormalization", 7, model(7, node("BatchNormalization", ["x", "a", "b", "a", "c"], ["y"], spatial=1), constants={
            "a": np.array([1, 2, 3], np.float32), "b": np.array([3, 2, 1], np.float32), "c": np.array([1, 4, 9], np.float32)})),
    ]
    return found
