"""A case's network in Keras: its own layers, and the few that it lacks, written here from their formulas."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

from training.cases import CHANNELS, COLUMNS, STEPS, Case  # noqa: E402
from training.pipeline import feature_names  # noqa: E402

KERAS = {
    "dense": keras.layers.Dense, "activation": keras.layers.Activation, "dropout": keras.layers.Dropout, "gaussian_noise": keras.layers.GaussianNoise,
    "gaussian_dropout": keras.layers.GaussianDropout, "spatial_dropout1d": keras.layers.SpatialDropout1D, "flatten": keras.layers.Flatten,
    "reshape": keras.layers.Reshape, "permute": keras.layers.Permute, "add": keras.layers.Add, "multiply": keras.layers.Multiply,
    "average": keras.layers.Average, "concatenate": keras.layers.Concatenate, "batch_normalization": keras.layers.BatchNormalization,
    "layer_normalization": keras.layers.LayerNormalization, "conv1d": keras.layers.Conv1D, "max_pooling1d": keras.layers.MaxPooling1D,
    "average_pooling1d": keras.layers.AveragePooling1D, "global_max_pooling1d": keras.layers.GlobalMaxPooling1D,
    "global_average_pooling1d": keras.layers.GlobalAveragePooling1D, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU,
}


def activation(config: str | dict):
    if isinstance(config, str):
        return config
    of = getattr(keras.activations, config["name"])
    return lambda x: of(x, **{key: value for key, value in config.items() if key != "name"})


class SelfAttention(keras.layers.MultiHeadAttention):
    """Attention of a sequence to itself, as a layer of one input."""

    def build(self, shape):
        super().build(shape, shape)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x, use_causal_mask=False):
        return super().call(x, x, use_causal_mask=use_causal_mask)


class LastStep(keras.layers.Layer):
    def call(self, x):
        return x[:, -1]


class AttentionPooling(keras.layers.Layer):
    """Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5 to 7."""

    def __init__(self, units, **keys):
        super().__init__(**keys)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.units), name="kernel")
        self.bias = self.add_weight((self.units,), name="bias")
        self.context = self.add_weight((self.units, 1), name="context")

    def call(self, x):
        shares = ops.softmax(ops.tanh(x @ self.kernel + self.bias) @ self.context, axis=1)
        return ops.sum(shares * x, axis=1)


class PositionalEncoding(keras.layers.Layer):
    """Vaswani et al. 2017, "Attention Is All You Need", section 3.5; or learned."""

    def __init__(self, encoding="sinusoidal", **keys):
        super().__init__(**keys)
        self.encoding = encoding

    def build(self, shape):
        steps, width = shape[1:]
        if self.encoding == "learned":
            self.places = self.add_weight((steps, width), name="embeddings")
        else:
            angle = np.arange(steps)[:, None] / 10_000 ** (np.arange(width) // 2 * 2 / width)
            self.places = np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle)).astype(np.float32)

    def call(self, x):
        return x + self.places


class Residual(keras.layers.Layer):
    """He et al. 2016, "Deep Residual Learning for Image Recognition", equations 1 and 2."""

    def __init__(self, layers, activation="linear", **keys):
        super().__init__(**keys)
        self.layers = [layer(config, name) for config, name in zip(layers, names(layers))]
        self.activation = keras.activations.get(activation)
        self.projection = None

    def build(self, shape):
        after = shape
        for part in self.layers:
            part.build(after)
            after = part.compute_output_shape(after)
        if after[-1] != shape[-1]:
            self.projection = keras.layers.Dense(after[-1], name="projection")
            self.projection.build(shape)

    def call(self, x):
        y = x
        for part in self.layers:
            y = part(y)
        return self.activation(y + (self.projection(x) if self.projection else x))


OWN = {
    "last_step": LastStep, "attention_pooling": AttentionPooling, "positional_encoding": PositionalEncoding, "residual": Residual,
    "multi_head_attention": SelfAttention,
}


def names(layers) -> list[str]:
    """The name of each layer: its own, or its type with a number."""
    taken, found = {}, []
    for config in layers:
        count = taken.get(config["type"], 0)
        if "name" not in config:
            taken[config["type"]] = count + 1
        found.append(config.get("name") or config["type"] + (f"_{count}" if count else ""))
    return found


def layer(config: dict, name: str) -> keras.layers.Layer:
    """The layer of an entry of `[[model.layers]]`."""
    keys = {key: value for key, value in config.items() if key not in ("type", "name", "inputs")}
    if "activation" in keys:
        keys["activation"] = activation(keys["activation"])
    if "kernel_regularizer" in keys:
        keys["kernel_regularizer"] = keras.regularizers.L1L2(**keys["kernel_regularizer"])
    if config["type"] == "bidirectional":
        inner = keys.pop("layer")
        return keras.layers.Bidirectional(layer(inner, inner["type"]), name=name, **keys)
    return (KERAS | OWN)[config["type"]](name=name, **keys)


def network(case: Case) -> keras.Model:
    """The network, of one input: the whole row."""
    whole = keras.Input((STEPS, CHANNELS) if case.sequence else (COLUMNS,))
    columns = feature_names(case)
    values = {"features": whole}
    for name, chosen in case.inputs.items():
        values[name] = ops.take(whole, [columns.index(column) for column in chosen], axis=-1)
    x = whole
    for config, name in zip(case.layers, names(case.layers)):
        taken = [values[of] for of in config["inputs"]] if "inputs" in config else [x]
        if config["type"] == "multi_head_attention":
            keys = {key: value for key, value in config.items() if key not in ("type", "name", "inputs", "use_causal_mask")}
            attend = keras.layers.MultiHeadAttention(name=name, **keys)
            x = attend(taken[0], taken[-1], use_causal_mask=config.get("use_causal_mask", False))
        else:
            x = layer(config, name)(taken if len(taken) > 1 else taken[0])
        values[name] = x
    return keras.Model(whole, x)


def canonical(path: str) -> str:
    """A weight's name as bundles have it: Keras puts the cell of a recurrent layer between."""
    return "/".join(part for part in path.split("/") if part not in ("lstm_cell", "gru_cell"))
