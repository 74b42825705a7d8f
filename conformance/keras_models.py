"""Keras models that a converter must take: one for each kind of layer, whole networks, and modules without Keras.

Weights are random from a fixed seed, and statistics of normalisations are moved off their defaults, so that nothing is hidden by zeros.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf
from keras import layers as L

SEED = 11


@dataclass
class Integers:
    """An input of integers from `low` to `high`, the latter excluded."""

    shape: tuple[int | None, ...]
    low: int = 0
    high: int = 10
    dtype: str = "int32"


@dataclass
class Model:
    """What is exported, and the shapes of a row of its inputs by name, with `None` for an open axis."""

    build: Callable[[], object]
    inputs: dict[str, tuple | Integers]
    signature: str = "serving_default"
    save: Callable[[object, Path], None] = field(default=lambda model, folder: model.export(folder, verbose=False))


MODELS: dict[str, Model] = {}


def chain(name: str, shape: tuple | Integers, *stack: Callable[[], L.Layer] | L.Layer) -> None:
    """A model of layers one after the other; layers are made when the model is."""

    def build() -> keras.Model:
        x = inputs = source("x", shape)
        for make in stack:
            x = make()(x)
        return keras.Model(inputs, x)

    MODELS[name] = Model(build, {"x": shape})


def network(**inputs: tuple | Integers) -> Callable:
    """A function from input tensors to outputs, as a model of its name."""

    def register(function: Callable) -> Callable:
        def build() -> keras.Model:
            sources = {name: source(name, shape) for name, shape in inputs.items()}
            return keras.Model(list(sources.values()), function(**sources))

        MODELS[function.__name__] = Model(build, inputs)
        return function

    return register


def source(name: str, shape: tuple | Integers) -> keras.KerasTensor:
    if isinstance(shape, Integers):
        return keras.Input(shape.shape, name=name, dtype=shape.dtype)
    return keras.Input(shape, name=name)


def randomised(model: object) -> object:
    """The model with every weight random; variances stay positive."""
    random = np.random.default_rng(SEED)
    for weight in getattr(model, "weights", []):
        if weight.dtype != "float32":
            continue
        path = weight.path.rsplit("/", 1)[-1]
        values = random.normal(0, 0.25, weight.shape)
        if "variance" in path:
            values = 0.5 + np.abs(values)
        if "gamma" in path:
            values = 1 + values
        weight.assign(values.astype(np.float32))
    return model


def export(name: str, folder: Path) -> Model:
    """Makes the model and saves it in `folder`."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)
    model = MODELS[name]
    model.save(randomised(model.build()), folder)
    return model


def batch(model: Model, rows: int, open_axis: int = 6) -> dict[str, np.ndarray]:
    """Random inputs."""
    random = np.random.default_rng(SEED + rows)
    arrays = {}
    for name, shape in model.inputs.items():
        if isinstance(shape, Integers):
            size = [rows, *(axis or open_axis for axis in shape.shape)]
            arrays[name] = random.integers(shape.low, shape.high, size).astype(shape.dtype)
        else:
            size = [rows, *(axis or open_axis for axis in shape)]
            arrays[name] = random.normal(0, 1.5, size).astype(np.float32)
    return arrays


# One model for each kind of layer.

chain("dense", (8,), lambda: L.Dense(4, activation="relu"))
chain("dense_sequence", (5, 8), lambda: L.Dense(4, use_bias=False))
for activation in [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh",
    "tanh_shrink", "threshold",
]:
    def activate(activation=activation):
        function = getattr(keras.activations, activation)
        if activation == "threshold":
            return L.Activation(lambda x: function(x, 0.3, -1.0))
        return L.Activation(function)

    chain(f"activation_{activation}", (8,), activate)
chain("gelu_tanh", (8,), lambda: L.Activation(lambda x: keras.activations.gelu(x, approximate=True)))
chain("relu_layer", (8,), lambda: L.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2))
chain("leaky_relu_layer", (8,), lambda: L.LeakyReLU(0.2))
chain("elu_layer", (8,), lambda: L.ELU(0.7))
chain("prelu", (5, 8), lambda: L.PReLU(shared_axes=[1]))
chain("softmax_axis", (5, 8), lambda: L.Softmax(axis=1))
chain("batch_normalization", (8,), L.BatchNormalization)
chain("batch_normalization_4d", (6, 6, 3), L.BatchNormalization)
chain("layer_normalization", (5, 8), L.LayerNormalization)
chain("layer_normalization_axes", (5, 8), lambda: L.LayerNormalization(axis=[1, 2]))
chain("rms_normalization", (5, 8), L.RMSNormalization)
chain("group_normalization", (5, 8), lambda: L.GroupNormalization(4))
chain("unit_normalization", (5, 8), L.UnitNormalization)
chain("spectral_normalization", (8,), lambda: L.SpectralNormalization(L.Dense(4)))
chain("dropouts", (5, 8), lambda: L.Dropout(0.5), lambda: L.SpatialDropout1D(0.5), lambda: L.GaussianDropout(0.3),
      lambda: L.GaussianNoise(0.3), lambda: L.AlphaDropout(0.2), lambda: L.ActivityRegularization(0.1), lambda: L.Dense(3))
chain("embedding", Integers((7,)), lambda: L.Embedding(10, 4))
chain("embedding_floats", Integers((7,), dtype="float32"), lambda: L.Embedding(10, 4))
chain("conv1d", (12, 3), lambda: L.Conv1D(5, 3, activation="relu"))
chain("conv1d_same_strided", (12, 3), lambda: L.Conv1D(5, 4, strides=3, padding="same"))
chain("conv1d_causal", (12, 3), lambda: L.Conv1D(5, 3, padding="causal", dilation_rate=2))
chain("conv1d_grouped", (12, 4), lambda: L.Conv1D(6, 3, groups=2))
chain("conv1d_open", (None, 3), lambda: L.Conv1D(5, 3, padding="causal"), L.GlobalAveragePooling1D)
chain("conv2d", (9, 8, 3), lambda: L.Conv2D(5, 3, activation="relu"))
chain("conv2d_same_strided", (9, 8, 3), lambda: L.Conv2D(5, (3, 2), strides=(2, 3), padding="same"))
chain("conv2d_dilated", (11, 10, 3), lambda: L.Conv2D(5, 3, dilation_rate=(2, 3)))
chain("conv2d_dilated_same", (11, 10, 3), lambda: L.Conv2D(5, 3, dilation_rate=2, padding="same"))
chain("conv2d_grouped", (9, 8, 4), lambda: L.Conv2D(6, 3, groups=2))
chain("conv2d_channels_first_permuted", (3, 9, 8), lambda: L.Permute((2, 3, 1)), lambda: L.Conv2D(4, 3))
chain("conv3d", (6, 7, 5, 2), lambda: L.Conv3D(3, 2))
chain("conv1d_transpose", (6, 3), lambda: L.Conv1DTranspose(5, 3, strides=2))
chain("conv1d_transpose_same", (6, 3), lambda: L.Conv1DTranspose(5, 4, strides=3, padding="same"))
chain("conv2d_transpose", (5, 4, 3), lambda: L.Conv2DTranspose(4, 3, strides=2))
chain("conv2d_transpose_same", (5, 4, 3), lambda: L.Conv2DTranspose(4, (3, 5), strides=(2, 3), padding="same"))
chain("conv2d_transpose_wide", (5, 4, 3), lambda: L.Conv2DTranspose(4, 2, strides=3, padding="same"))
chain("separable_conv1d", (12, 3), lambda: L.SeparableConv1D(5, 3, depth_multiplier=2, padding="same"))
chain("separable_conv2d", (9, 8, 3), lambda: L.SeparableConv2D(5, 3, depth_multiplier=2))
chain("depthwise_conv1d", (12, 3), lambda: L.DepthwiseConv1D(3, depth_multiplier=2))
chain("depthwise_conv2d", (9, 8, 3), lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2))
chain("depthwise_conv2d_dilated", (9, 8, 3), lambda: L.DepthwiseConv2D(3, dilation_rate=2))
chain("max_pooling1d", (11, 3), lambda: L.MaxPooling1D(3, 2, "same"))
chain("max_pooling2d", (9, 8, 3), lambda: L.MaxPooling2D(2))
chain("average_pooling1d", (11, 3), lambda: L.AveragePooling1D(3, 2, "same"))
chain("average_pooling2d", (9, 8, 3), lambda: L.AveragePooling2D((2, 3), (1, 2), "same"))
chain("global_average_pooling1d", (11, 3), L.GlobalAveragePooling1D)
chain("global_max_pooling1d", (11, 3), L.GlobalMaxPooling1D)
chain("global_average_pooling2d", (9, 8, 3), lambda: L.GlobalAveragePooling2D(keepdims=True))
chain("global_max_pooling2d", (9, 8, 3), L.GlobalMaxPooling2D)
chain("adaptive_average_pooling1d", (12, 3), lambda: L.AdaptiveAveragePooling1D(4))
chain("up_sampling1d", (5, 3), lambda: L.UpSampling1D(3))
chain("up_sampling2d", (5, 4, 3), lambda: L.UpSampling2D((2, 3)))
chain("up_sampling2d_bilinear", (5, 4, 3), lambda: L.UpSampling2D(2, interpolation="bilinear"))
chain("resizing", (6, 5, 3), lambda: L.Resizing(12, 10))
chain("resizing_smaller", (6, 5, 3), lambda: L.Resizing(4, 3))
chain("resizing_nearest", (6, 5, 3), lambda: L.Resizing(3, 5, interpolation="nearest"))
chain("resizing_nearest_uneven", (7, 5, 3), lambda: L.Resizing(3, 12, interpolation="nearest"))
chain("group_normalization_4d", (8, 8, 4), lambda: L.GroupNormalization(2))
chain("masked_average", (6, 3), lambda: L.Masking(), L.GlobalAveragePooling1D)
chain("embedding_masked", Integers((6,)), lambda: L.Embedding(10, 4, mask_zero=True), lambda: L.GRU(3))
chain("rnn_stacked_cells", (6, 3), lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(4), L.LSTMCell(3)]), return_sequences=True))
chain("conv_lstm2d", (3, 5, 5, 2), lambda: L.ConvLSTM2D(2, 3))
chain("discretization_one_hot", (3,), lambda: L.Discretization([0.0, 1.0], output_mode="one_hot"))
chain("conv1d_pool_open", (None, 3), lambda: L.Conv1D(4, 3, padding="same"), lambda: L.MaxPooling1D(2),
      lambda: L.UpSampling1D(2))
chain("zero_padding1d", (5, 3), lambda: L.ZeroPadding1D((2, 1)))
chain("zero_padding2d", (5, 4, 3), lambda: L.ZeroPadding2D(((1, 2), (0, 3))))
chain("cropping1d", (9, 3), lambda: L.Cropping1D((2, 1)))
chain("cropping2d", (9, 8, 3), lambda: L.Cropping2D(((1, 2), (0, 3))))
chain("lstm", (7, 4), lambda: L.LSTM(5))
chain("lstm_sequences", (7, 4), lambda: L.LSTM(5, return_sequences=True))
chain("lstm_backwards", (7, 4), lambda: L.LSTM(5, return_sequences=True, go_backwards=True))
chain("lstm_activations", (7, 4), lambda: L.LSTM(5, activation="softsign", recurrent_activation="hard_sigmoid"))
chain("lstm_no_bias", (7, 4), lambda: L.LSTM(5, use_bias=False))
chain("lstm_open", (None, 4), lambda: L.LSTM(5, return_sequences=True))
chain("lstm_unrolled", (4, 3), lambda: L.LSTM(5, unroll=True))
chain("lstm_masked", (7, 4), lambda: L.Masking(0.0), lambda: L.LSTM(5))
chain("gru", (7, 4), lambda: L.GRU(5))
chain("gru_sequences", (7, 4), lambda: L.GRU(5, return_sequences=True))
chain("gru_before", (7, 4), lambda: L.GRU(5, reset_after=False))
chain("gru_backwards", (7, 4), lambda: L.GRU(5, go_backwards=True))
chain("gru_open", (None, 4), lambda: L.GRU(5))
chain("simple_rnn", (7, 4), lambda: L.SimpleRNN(5))
chain("simple_rnn_open", (None, 4), lambda: L.SimpleRNN(5))
chain("gru_before_open", (None, 4), lambda: L.GRU(5, reset_after=False, return_sequences=True))
chain("lstm_masked_open", (None, 4), lambda: L.Masking(0.0), lambda: L.LSTM(5))
chain("gru_masked_long", (120, 4), lambda: L.Masking(0.0), lambda: L.GRU(5, return_sequences=True))
chain("bidirectional_lstm_open", (None, 4), lambda: L.Bidirectional(L.LSTM(5, return_sequences=True)))
chain("simple_rnn_sequences", (7, 4), lambda: L.SimpleRNN(5, return_sequences=True, activation="relu"))
chain("bidirectional_lstm", (7, 4), lambda: L.Bidirectional(L.LSTM(5, return_sequences=True)))
chain("bidirectional_gru_sum", (7, 4), lambda: L.Bidirectional(L.GRU(5), merge_mode="sum"))
chain("rnn_of_cells", (7, 4), lambda: L.RNN([L.LSTMCell(5), L.GRUCell(3)]))
chain("conv_lstm1d", (4, 8, 2), lambda: L.ConvLSTM1D(3, 3, padding="same"))
chain("time_distributed", (6, 8), lambda: L.TimeDistributed(L.Dense(3)))
chain("time_distributed_conv", (4, 9, 3), lambda: L.TimeDistributed(L.Conv1D(2, 3)))
chain("reshape", (6, 4), lambda: L.Reshape((8, 3)), lambda: L.Reshape((-1, 2)))
chain("permute", (6, 4), lambda: L.Permute((2, 1)))
chain("flatten", (6, 4), L.Flatten)
chain("repeat_vector", (6,), lambda: L.RepeatVector(3))
chain("einsum_dense", (5, 8), lambda: L.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d"))
chain("discretization", (8,), lambda: L.Discretization([-1.0, 0.0, 0.5, 2.0]))
chain("category_encoding_one_hot", Integers((), 0, 6), lambda: L.CategoryEncoding(6, "one_hot"))
chain("category_encoding_multi_hot", Integers((4,), 0, 6), lambda: L.CategoryEncoding(6, "multi_hot"))
chain("integer_lookup", Integers((4,), 0, 60, "int64"), lambda: L.IntegerLookup(vocabulary=[12, 36, 42, 7, 50]),
      lambda: L.Embedding(6, 3))
chain("integer_lookup_int32", Integers((4,), 0, 60), lambda: L.IntegerLookup(vocabulary=[12, 36, 42, 7, 50]),
      lambda: L.Embedding(6, 3))
chain("integer_lookup_multi_hot", Integers((4,), 0, 60, "int64"),
      lambda: L.IntegerLookup(vocabulary=[12, 36, 42], output_mode="multi_hot"))
chain("normalization", (8,), lambda: L.Normalization(mean=np.arange(8.0), variance=np.arange(1.0, 9.0)))
chain("rescaling", (8,), lambda: L.Rescaling(0.5, 1.0))


@network(x=(5, 8))
def multi_head_attention(x):
    return L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)


@network(x=(None, 8))
def multi_head_attention_open(x):
    return L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)


@network(x=(5, 8), y=(6, 8))
def group_query_attention(x, y):
    return L.GroupQueryAttention(4, 4, 2)(x, y)


@network(q=(5, 8), v=(6, 8))
def attention(q, v):
    return L.Attention(use_scale=True)([q, v])


@network(q=(5, 8), v=(6, 8))
def additive_attention(q, v):
    return L.AdditiveAttention()([q, v])


@network(a=(5, 8), b=(6, 8))
def dot(a, b):
    return L.Dot(axes=2, normalize=True)([a, b])


@network(a=(8,), b=(8,))
def merges(a, b):
    pairs = [L.Add(), L.Subtract(), L.Multiply(), L.Average(), L.Maximum(), L.Minimum()]
    return L.Concatenate()([layer([a, b]) for layer in pairs])


@network(x=(7, 4))
def lstm_states(x):
    sequence, h, c = L.LSTM(5, return_sequences=True, return_state=True)(x)
    return L.LSTM(5, return_sequences=True)(sequence, initial_state=[h, c])


@network(x=(12,))
def operations(x):
    k = keras.ops
    y = k.reshape(x, (-1, 3, 4))
    parts = k.split(y, 2, axis=2)
    flat = [
        k.cumsum(y, axis=1), k.flip(y, axis=2), k.roll(y, 1, axis=1), k.sort(y, axis=-1), k.clip(y, -0.5, 0.5),
        k.where(y > 0, y, -2 * y), k.tile(parts[0], (1, 1, 2)), k.take(y, [2, 0], axis=1), y[:, ::-1, 1:3],
        k.floor(y), k.round(y), k.abs(y) ** 0.5, k.log1p(k.abs(y)), k.expm1(y), k.sign(y), k.sin(y), k.tan(y),
        k.std(y, axis=1, keepdims=True), k.logsumexp(y, axis=1, keepdims=True), k.einsum("bij,bkj->bik", y, y),
        k.repeat(y, 2, axis=1), k.stack(parts, axis=1), k.maximum(y, 0.1), k.mod(y, 0.7), k.floor_divide(y, 0.7),
        k.max(y, axis=[1, 2]), k.square(y - 1), k.top_k(y, 2)[0], k.arctan(y), k.sqrt(k.abs(y)), y[..., None, 0],
        k.cast(k.argmax(y, axis=1), "float32"), k.cast(k.isfinite(y), "float32"), k.norm(y, axis=2), k.diff(y, axis=1),
    ]
    return k.concatenate([L.Flatten()(each) if len(each.shape) > 2 else k.reshape(each, (-1, int(np.prod(each.shape[1:])))) for each in flat], axis=1)


# Whole networks.


def mlp_block(x, width):
    return L.Dropout(0.2)(L.BatchNormalization()(L.Dense(width, activation="silu")(x)))


@network(features=(20,))
def net_mlp(features):
    return L.Dense(3, activation="softmax")(mlp_block(mlp_block(features, 32), 16))


@network(image=(16, 16, 3))
def net_cnn(image):
    x = image
    for filters in (8, 12):
        x = L.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = L.MaxPooling2D()(L.ReLU()(L.BatchNormalization()(x)))
    return L.Dense(5, activation="softmax")(L.Flatten()(x))


@network(series=(24, 6))
def net_tcn(series):
    x = L.Conv1D(8, 1)(series)
    for dilation in (1, 2, 4):
        y = L.Conv1D(8, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = L.LayerNormalization()(L.SpatialDropout1D(0.1)(y))
        x = L.Add()([x, y])
    return L.Dense(2)(x[:, -1])


@network(series=(20, 6))
def net_lstm_stack(series):
    x = L.LSTM(12, return_sequences=True, dropout=0.1)(series)
    return L.Dense(1)(L.LSTM(8)(x))


@network(series=(20, 6))
def net_bilstm_stack(series):
    x = L.Bidirectional(L.LSTM(7, return_sequences=True))(series)
    x = L.Bidirectional(L.LSTM(5))(x)
    return L.Dense(1, activation="tanh")(x)


class Positions(L.Layer):
    """Adds a learnt vector to each step."""

    def build(self, shape):
        self.table = self.add_weight(shape=(shape[1], shape[2]), name="table")

    def call(self, x):
        return x + self.table


@network(series=(16, 8))
def net_transformer_encoder(series):
    x = Positions()(L.Dense(16)(series))
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(4, 4)(y, y)
        y = L.Dense(32, activation="gelu")(L.LayerNormalization()(x))
        x = x + L.Dense(16)(y)
    return L.Dense(3)(L.GlobalAveragePooling1D()(x))


@network(features=(20,))
def net_autoencoder(features):
    code = L.Dense(4)(L.Dense(12, activation="relu")(features))
    return L.Dense(20)(L.Dense(12, activation="relu")(code)), code


@network(features=(12,), noise=(3,))
def net_vae(features, noise):
    hidden = L.Dense(10, activation="relu")(features)
    mean, log_variance = L.Dense(3)(hidden), L.Dense(3)(hidden)
    code = mean + keras.ops.exp(0.5 * log_variance) * noise
    return L.Dense(12, activation="sigmoid")(L.Dense(10, activation="relu")(code)), mean, log_variance


@network(noise=(16,))
def net_gan_generator(noise):
    x = L.LeakyReLU()(L.BatchNormalization()(L.Dense(4 * 4 * 8, use_bias=False)(noise)))
    x = L.Reshape((4, 4, 8))(x)
    x = L.Conv2DTranspose(6, 5, strides=2, padding="same", use_bias=False)(x)
    x = L.LeakyReLU()(L.BatchNormalization()(x))
    return L.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh")(x)


@network(wide=(10,), sector=Integers((1,), 0, 11), deep=(6,))
def net_wide_and_deep(wide, sector, deep):
    x = L.Concatenate()([L.Flatten()(L.Embedding(11, 4)(sector)), deep])
    x = L.Dense(8, activation="relu")(L.Dense(16, activation="relu")(x))
    return L.Dense(1, activation="sigmoid")(L.Concatenate()([wide, x]))


@network(prices=(10, 4), facts=(6,), sector=Integers((1,), 0, 5))
def net_multi_input(prices, facts, sector):
    x = L.GRU(6)(prices)
    s = L.Reshape((2,))(L.Embedding(5, 2)(sector))
    x = L.Concatenate()([x, L.Dense(4, activation="elu")(facts), s])
    return {"score": L.Dense(1, name="score")(x), "risk": L.Dense(2, activation="softplus", name="risk")(x)}


# Saved by TensorFlow itself, without Keras's export.


def saved_by_tensorflow(model: object, folder: Path) -> None:
    tf.saved_model.save(model, str(folder))


class Linear(tf.Module):
    """Two signatures over one weight."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(SEED)
        self.weight = tf.Variable(random.normal(size=(6, 3)).astype(np.float32))
        self.bias = tf.Variable(random.normal(size=3).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def score(self, x):
        return {"scores": tf.matmul(x, self.weight) + self.bias}

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def classes(self, x):
        logits = tf.matmul(x, self.weight) + self.bias
        for _ in tf.range(3):
            logits = logits * 0.5 + 1
        return {"classes": tf.cast(tf.argmax(logits, axis=1), tf.int32), "probability": tf.reduce_max(tf.nn.softmax(logits), axis=1)}


def save_linear(model: Linear, folder: Path) -> None:
    tf.saved_model.save(model, str(folder), signatures={"score": model.score, "classes": model.classes})


MODELS["module_score"] = Model(Linear, {"x": (6,)}, "score", save_linear)
MODELS["module_classes"] = Model(Linear, {"x": (6,)}, "classes", save_linear)
class Operations(tf.Module):
    """What people write without layers: conditions, loops, places, sums."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(SEED)
        self.weight = tf.Variable(random.normal(0, 0.4, (4, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        branch = tf.cond(tf.reduce_sum(x) > 0, lambda: x @ self.weight, lambda: 2 * x)
        steps = tf.TensorArray(tf.float32, size=3)
        state = branch
        for i in tf.range(3):
            state = tf.tanh(state @ self.weight + tf.cast(i, tf.float32))
            steps = steps.write(i, state)
        rows = tf.range(tf.shape(x)[0])
        return {
            "branch": branch,
            "steps": tf.transpose(steps.stack(), [1, 0, 2]),
            "sorted": tf.gather(x, tf.argsort(x, axis=1), batch_dims=1),
            "first": tf.gather_nd(x, tf.stack([rows, tf.zeros_like(rows)], axis=1)),
            "sums": tf.cumsum(x, axis=1, reverse=True, exclusive=True),
            "products": tf.linalg.matvec(self.weight, x),
            "normalized": tf.linalg.l2_normalize(x, axis=1),
            "lower": tf.linalg.band_part(tf.einsum("bi,bj->bij", x, x), -1, 0),
            "mirrored": tf.pad(x, [[0, 0], [1, 2]], "SYMMETRIC"),
            "reflected": tf.pad(x, [[0, 0], [2, 1]], "REFLECT"),
            "stacked": tf.stack(tf.unstack(x, axis=1)[::-1], axis=1),
            "entropy": tf.math.xlogy(tf.nn.relu(x), tf.nn.relu(x)),
            "ratio": tf.math.divide_no_nan(x, tf.nn.relu(x)),
            "soft": tf.math.softplus(50 * x),
            "hot": tf.one_hot(tf.argmax(x, axis=1), 4),
        }


MODELS["module_operations"] = Model(
    Operations, {"x": (4,)}, save=lambda model, folder: tf.saved_model.save(model, str(folder), signatures=model.__call__)
)


def save_by_tensorflow_1(resource: bool, folder: Path) -> None:
    """A model of a graph and a session, with variables of either kind."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(SEED)
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        kernel = v1.get_variable("dense/kernel", [4, 3], use_resource=resource)
        bias = v1.get_variable("dense/bias", [3], initializer=v1.constant_initializer(0.3), use_resource=resource)
        y = tf.nn.relu(tf.matmul(x, kernel) + bias, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})


for resource in [False, True]:
    name = "tensorflow_1_resource" if resource else "tensorflow_1"
    MODELS[name] = Model(lambda resource=resource: resource, {"x": (4,)}, save=save_by_tensorflow_1)

# TensorFlow names the inputs of a Keras model otherwise.
KERAS_BY_TENSORFLOW = {
    "net_mlp": {"features": "inputs"},
    "net_tcn": {"series": "inputs"},
    "net_multi_input": {"prices": "inputs", "facts": "inputs_1", "sector": "inputs_2"},
}
for saved, names in KERAS_BY_TENSORFLOW.items():
    inputs = {names[name]: shape for name, shape in MODELS[saved].inputs.items()}
    MODELS[f"{saved}_tensorflow"] = Model(MODELS[saved].build, inputs, save=saved_by_tensorflow)
