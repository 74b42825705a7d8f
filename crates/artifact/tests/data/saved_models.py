"""Wrote the SavedModels of this folder with TensorFlow 2.21 and Keras 3.15, each with a batch of inputs and TensorFlow's outputs in `sample.json`.

`python saved_models.py` in a folder writes them anew; weights are random from a seed.
"""

import json
import os
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf
from keras import layers as L
from tensorflow.core.protobuf import saved_model_pb2


def randomised(model: keras.Model) -> keras.Model:
    random = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.4, weight.shape).astype(np.float32))
    return model


def recurrent(layer: L.Layer) -> keras.Model:
    """Short names, because they make up most of the file."""
    return randomised(keras.Sequential([keras.Input((4, 3), name="x"), layer], name="m"))


def dense() -> keras.Model:
    return randomised(keras.Sequential([keras.Input((5,), name="x"), L.Dense(4, activation="relu"), L.Dense(2)]))


def convolution() -> keras.Model:
    stack = [keras.Input((8, 3), name="x"), L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.GlobalMaxPooling1D()]
    return randomised(keras.Sequential(stack))


def trimmed(file: Path, keep_objects: bool) -> None:
    """Takes out what computing the default signature does not need: other functions, notes to TensorFlow's optimisers."""
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = model.meta_graphs
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    signature = graph.signature_def["serving_default"]
    called = {tensor.name.split(":")[0] for tensor in signature.outputs.values()}
    called |= {graph.saver_def.restore_op_name}
    kept = [node for node in graph.graph_def.node if node.op != "StatefulPartitionedCall" or node.name in called]
    needed, open_nodes = set(), list(kept)
    while open_nodes:
        for attribute in open_nodes.pop().attr.values():
            if attribute.func.name and attribute.func.name not in needed:
                needed.add(attribute.func.name)
                open_nodes.extend(functions[attribute.func.name].node_def)
    del graph.graph_def.node[:], graph.graph_def.library.function[:]
    graph.graph_def.node.extend(kept)
    graph.graph_def.library.function.extend(functions[name] for name in sorted(needed))
    if not keep_objects:
        graph.ClearField("object_graph_def")
    graph.meta_info_def.ClearField("stripped_op_list")
    for name in set(graph.signature_def) - {"serving_default"}:
        del graph.signature_def[name]
    bodies = [function.node_def for function in graph.graph_def.library.function]
    for node in (node for nodes in [graph.graph_def.node, *bodies] for node in nodes):
        node.ClearField("experimental_debug_info")
        for key in [key for key in node.attr if key.startswith("_") or key in ("config_proto", "output_shapes")]:
            del node.attr[key]
    for function in graph.graph_def.library.function:
        function.ClearField("arg_attr")
        function.ClearField("attr")
    file.write_bytes(model.SerializeToString(deterministic=True))


def write(name: str, shape: tuple, save, input_name: str = "x") -> None:
    keras.utils.clear_session()
    save(name)
    x = np.random.default_rng(7).normal(0, 1, (3, *shape)).astype(np.float32)
    outputs = tf.saved_model.load(name).signatures["serving_default"](**{input_name: tf.constant(x)})
    ((output, values),) = outputs.items()
    sample = {"input": {"name": input_name, "shape": list(x.shape), "elements": x.ravel().tolist()},
              "output": {"name": output, "shape": list(values.shape), "elements": values.numpy().ravel().tolist()}}
    (Path(name) / "sample.json").write_text(json.dumps(sample) + "\n")
    trimmed(Path(name) / "saved_model.pb", keep_objects=name == "objects")
    (Path(name) / "fingerprint.pb").unlink(missing_ok=True)
    (Path(name) / "assets").rmdir()


write("dense", (5,), lambda folder: dense().export(folder, verbose=False))
write("convolution", (8, 3), lambda folder: convolution().export(folder, verbose=False))
write("lstm", (4, 3), lambda folder: recurrent(L.LSTM(2, name="l")).export(folder, verbose=False))
write("gru", (4, 3), lambda folder: recurrent(L.GRU(2, name="g")).export(folder, verbose=False))
# Its variables are only found through the graphs of objects.
write("objects", (5,), lambda folder: tf.saved_model.save(dense(), folder), input_name="inputs")
