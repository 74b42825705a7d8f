"""What is fitted here and in Keras from the same weights: layers, losses and optimizers, as a pipeline file names them."""

from dataclasses import dataclass, field

# Rows of an epoch are 9 batches of 16 and one of 8; two epochs are 20 steps.
ROWS = {"train": 152, "valid": 67, "test": 24}
BATCH_SIZE = 16
EPOCHS = 2
STEPS, CHANNELS = 5, 6
COLUMNS = 6
CLASSES = 4
ROWS_OF_A_DATE = 8

SGD = {"name": "sgd", "learning_rate": 0.05}


@dataclass(frozen=True)
class Case:
    """One fit."""

    name: str
    # `[[model.layers]]`; the last one is the output. Of a ready architecture: what it is written out as.
    layers: tuple[dict, ...]
    # `[model] architecture`, instead of layers.
    architecture: dict = field(default_factory=dict)
    loss: dict = field(default_factory=lambda: {"name": "mse"})
    optimizer: dict = field(default_factory=lambda: SGD)
    # Whether a row is [STEPS, CHANNELS], or [COLUMNS].
    sequence: bool = False
    # "values": as many float columns as there are outputs; "classes": an integer column; "shares": a float column a class.
    label: str = "values"
    classes: int = 0
    outputs: int = 1
    weighted: bool = False
    dated: bool = False
    inputs: dict[str, list[str]] = field(default_factory=dict)
    # Further keys of `[fit]`.
    fit: dict = field(default_factory=dict)
    metrics: tuple = ()
    # Weights without a gradient, which do not move: what comes after them takes the same from all.
    still: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def dense(units: int, **keys) -> dict:
    return {"type": "dense", "units": units, **keys}


OUT = dense(1)


def rows(name: str, *layers: dict, **keys) -> Case:
    """A case of layers on rows, and one output."""
    return Case(name, (*layers, OUT), **keys)


def steps(name: str, *layers: dict, **keys) -> Case:
    """A case of layers on sequences, and one output."""
    return Case(name, (*layers, OUT), sequence=True, **keys)


def kind(of: str, /, **keys) -> dict:
    return {"type": of, **keys}


LAST = kind("last_step")

LAYERS = [
    rows("dense", dense(8, activation="relu"), dense(5, activation="tanh")),
    rows("dense without bias", dense(8, activation="tanh", use_bias=False)),
    rows("l1 and l2", dense(8, activation="tanh", kernel_regularizer={"l1": 0.003, "l2": 0.02})),
    *[
        rows(f"activation {name}", dense(8), kind("activation", activation=activation))
        for name, activation in {
            "relu": "relu", "leaky_relu": "leaky_relu", "leaky_relu of a slope": {"name": "leaky_relu", "negative_slope": 0.1}, "elu": "elu",
            "elu of an alpha": {"name": "elu", "alpha": 0.5}, "gelu": "gelu", "gelu approximate": {"name": "gelu", "approximate": True},
            "silu": "silu", "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus", "softmax": "softmax",
        }.items()
    ],
    rows("dropout of nothing", dense(8, activation="relu"), kind("dropout", rate=0.0)),
    rows("noise of nothing", kind("gaussian_noise", stddev=0.0), dense(8, activation="relu"), kind("gaussian_dropout", rate=0.0)),
    steps("dropout of no channel", kind("spatial_dropout1d", rate=0.0), dense(4, activation="relu"), kind("flatten")),
    rows("batch normalization", dense(8), kind("batch_normalization"), kind("activation", activation="relu"), still=("dense/bias",)),
    rows("batch normalization, keys", dense(8, use_bias=False), kind("batch_normalization", momentum=0.8, epsilon=0.01, scale=False)),
    steps("batch normalization of steps", kind("batch_normalization"), kind("flatten")),
    rows("layer normalization", dense(8), kind("layer_normalization"), kind("activation", activation="tanh")),
    steps("layer normalization of steps", kind("layer_normalization", epsilon=0.01, center=False), kind("flatten")),
    steps("conv1d", kind("conv1d", filters=7, kernel_size=3, activation="relu"), kind("flatten")),
    steps("conv1d same", kind("conv1d", filters=7, kernel_size=2, padding="same"), kind("flatten")),
    steps("conv1d causal, dilated", kind("conv1d", filters=7, kernel_size=2, padding="causal", dilation_rate=2), kind("flatten")),
    steps("conv1d with strides", kind("conv1d", filters=7, kernel_size=3, strides=2, padding="same", use_bias=False), kind("flatten")),
    steps("max pooling", dense(4), kind("max_pooling1d"), kind("flatten")),
    steps("max pooling, keys", dense(4), kind("max_pooling1d", pool_size=3, strides=1, padding="same"), kind("flatten")),
    steps("average pooling", dense(4), kind("average_pooling1d", pool_size=2), kind("flatten")),
    steps("average pooling, keys", dense(4), kind("average_pooling1d", pool_size=3, strides=2, padding="same"), kind("flatten")),
    steps("global max pooling", dense(8, activation="tanh"), kind("global_max_pooling1d")),
    steps("global average pooling", dense(8, activation="tanh"), kind("global_average_pooling1d")),
    steps("dense of steps", dense(4, activation="relu"), kind("flatten")),
    steps("reshape", kind("reshape", target_shape=[3, 10]), kind("lstm", units=4)),
    steps("permute", kind("permute", dims=[2, 1]), kind("lstm", units=4)),
    steps("lstm", kind("lstm", units=7)),
    steps("lstm, two layers", kind("lstm", units=7, return_sequences=True), kind("lstm", units=5)),
    steps("lstm, keys", kind("lstm", units=7, activation="relu", use_bias=False, go_backwards=True)),
    steps("gru", kind("gru", units=7)),
    steps("gru, two layers", kind("gru", units=7, return_sequences=True), kind("gru", units=5)),
    steps("gru, reset before", kind("gru", units=7, reset_after=False)),
    steps("bidirectional lstm", kind("bidirectional", layer={"type": "lstm", "units": 4})),
    steps("bidirectional gru of steps", kind("bidirectional", layer={"type": "gru", "units": 4, "return_sequences": True}), kind("flatten")),
    steps("bidirectional, sum", kind("bidirectional", layer={"type": "lstm", "units": 4}, merge_mode="sum")),
    steps("attention", kind("multi_head_attention", num_heads=2, key_dim=3), kind("flatten"), still=("multi_head_attention/key/bias",)),
    steps("attention, keys", kind("multi_head_attention", num_heads=2, key_dim=3, value_dim=4, use_bias=False, use_causal_mask=True), kind("flatten")),
    steps(
        "attention of another sequence",
        kind("conv1d", filters=6, kernel_size=2, name="other"),
        kind("multi_head_attention", num_heads=2, key_dim=3, inputs=["features", "other"]),
        kind("flatten"),
        still=("multi_head_attention/key/bias",),
    ),
    steps("positional encoding", kind("positional_encoding"), kind("lstm", units=4)),
    steps("learned positions", kind("positional_encoding", encoding="learned"), kind("flatten")),
    steps("attention pooling", kind("attention_pooling", units=5)),
    steps("last step", dense(7, activation="tanh"), LAST),
    *[
        rows(name, dense(7, activation="tanh", name="a"), dense(7, activation="relu", name="b", inputs=["features"]), kind(name, inputs=["a", "b"]))
        for name in ("add", "multiply", "average", "concatenate")
    ],
    rows("residual", dense(8), kind("residual", layers=[dense(5, activation="relu"), dense(8)], activation="relu")),
    steps(
        "residual of another width",
        kind("residual", layers=[kind("conv1d", filters=4, kernel_size=2, padding="causal", activation="relu"), kind("layer_normalization")]),
        LAST,
    ),
    rows(
        "two inputs",
        dense(4, activation="tanh", name="a", inputs=["left"]),
        dense(5, activation="tanh", name="b", inputs=["right"]),
        kind("concatenate", inputs=["a", "b"]),
        inputs={"left": ["f0", "f3"], "right": ["f1", "f2", "f4", "f5"]},
    ),
    steps(
        "transformer block",
        dense(8), kind("positional_encoding", name="x"),
        kind("multi_head_attention", num_heads=2, key_dim=4), kind("add", inputs=["x", "multi_head_attention"]), kind("layer_normalization", name="y"),
        dense(12, activation="relu"), dense(8, name="z"), kind("add", inputs=["y", "z"]), kind("layer_normalization"), LAST,
        still=("multi_head_attention/key/bias",),
    ),
]

ATTEND = kind("multi_head_attention", num_heads=2, key_dim=4)
NORMAL = kind("layer_normalization", epsilon=1e-5)
RELU = {"activation": "relu"}
LEAKY = {"name": "leaky_relu", "negative_slope": 0.1}

ARCHITECTURES = [
    rows("architecture linear", kind("flatten"), architecture={"name": "linear"}),
    rows("architecture mlp", kind("flatten"), dense(8, **RELU), dense(5, **RELU), architecture={"name": "mlp", "units": [8, 5]}),
    rows(
        "architecture mlp, keys",
        kind("flatten"), dense(8), kind("batch_normalization", momentum=0.9, epsilon=1e-5), kind("activation", activation=LEAKY),
        architecture={"name": "mlp", "units": [8], "activation": LEAKY, "batch_normalization": True},
        still=("dense/bias",),
    ),
    *[
        steps(
            f"architecture {name}", kind(name, units=6, return_sequences=True), kind(name, units=6),
            architecture={"name": name, "hidden_size": 6, "num_layers": 2},
        )
        for name in ("lstm", "gru")
    ],
    steps(
        "architecture alstm",
        dense(6, activation="tanh"), kind("gru", units=6, return_sequences=True, name="states"), kind("last_step", name="last", inputs=["states"]),
        kind("attention_pooling", units=3, name="attention", inputs=["states"]), kind("concatenate", inputs=["last", "attention"]),
        architecture={"name": "alstm", "hidden_size": 6, "num_layers": 1},
    ),
    steps(
        "architecture tcn",
        *[
            kind("residual", layers=[kind("conv1d", filters=4, kernel_size=2, padding="causal", dilation_rate=rate, **RELU)] * 2, **RELU)
            for rate in (1, 2)
        ],
        LAST,
        architecture={"name": "tcn", "n_chans": 4, "kernel_size": 2, "num_layers": 2, "dropout": 0.0},
    ),
    steps(
        "architecture transformer",
        dense(8), kind("positional_encoding"), kind("residual", layers=[ATTEND]), NORMAL, kind("residual", layers=[dense(12, **RELU), dense(8)]), NORMAL,
        LAST,
        architecture={"name": "transformer", "d_model": 8, "nhead": 2, "num_layers": 1, "dim_feedforward": 12},
        still=("residual/multi_head_attention/key/bias",),
    ),
]

HIDDEN = dense(8, activation="tanh")


def loss(name: str, outputs: int = 1, activation: str = "linear", label: str = "values", **keys) -> Case:
    """A case of a loss."""
    of_case = {key: keys.pop(key) for key in ("classes", "weighted", "dated", "fit", "metrics") if key in keys}
    said = [f"{key} {value}" for key, value in keys.items()] + [key for key in ("weighted", "fit") if key in of_case]
    title = f"loss {name} of {outputs} {label}" + "".join(f", {text}" for text in said)
    # What compares outputs does not see what is added to all of them.
    of_case["still"] = ("dense_1/bias",) if "dated" in of_case else ()
    return Case(title, (HIDDEN, dense(outputs, activation=activation)), loss={"name": name, **keys}, label=label, outputs=outputs, **of_case)


SHARES = {"outputs": CLASSES, "activation": "softmax", "classes": CLASSES}

LOSSES = [
    loss("mse", metrics=("mse", "mae", "r2_score")),
    loss("mse", outputs=3, metrics=("mse", "mae", "r2_score")),
    loss("mse", weighted=True),
    loss("mae"),
    loss("mae", outputs=3, weighted=True),
    loss("huber", delta=0.5),
    loss("huber", outputs=2),
    loss("binary_crossentropy", activation="sigmoid", label="classes", classes=2, metrics=("accuracy", "precision", "recall", "f1_score", "auc", "log_loss", "brier")),
    loss("binary_crossentropy", activation="sigmoid", label="classes", classes=2, label_smoothing=0.1),
    loss("binary_crossentropy", outputs=3, activation="sigmoid", label="shares", label_smoothing=0.05),
    loss("categorical_crossentropy", label="shares", outputs=CLASSES, activation="softmax"),
    loss("categorical_crossentropy", label="classes", label_smoothing=0.1, **SHARES),
    loss(
        "sparse_categorical_crossentropy", label="classes", **SHARES,
        metrics=("accuracy", {"name": "top_k_categorical_accuracy", "k": 2}, "precision", "recall", "f1_score", "auc", "log_loss", "brier"),
    ),
    loss("sparse_categorical_crossentropy", label="classes", label_smoothing=0.1, **SHARES),
    loss("sparse_categorical_crossentropy", label="classes", weighted=True, **SHARES, metrics=("accuracy", "log_loss", "brier", "auc")),
    loss("sparse_categorical_crossentropy", label="classes", fit={"class_weight": [0.5, 1.0, 2.0, 1.5]}, **SHARES),
    loss("quantile", outputs=3, quantiles=[0.1, 0.5, 0.9]),
    loss("pairwise_rank", dated=True, metrics=("ic", "rank_ic", "icir", "rank_icir")),
    loss("pairwise_rank", dated=True, temperature=0.5),
    loss("negative_ic", dated=True, metrics=("ic", "rank_ic", "icir", "rank_icir")),
]


def optimizer(name: str, **keys) -> Case:
    """A case of an optimizer, on a network whose weights all have gradients well above rounding."""
    title = f"optimizer {name}" + "".join(f", {key} {value}" for key, value in keys.items())
    return Case(title, (HIDDEN, OUT), optimizer={"name": name, **keys})


OPTIMIZERS = [
    optimizer("sgd"),
    optimizer("sgd", learning_rate=0.05, momentum=0.9),
    optimizer("sgd", learning_rate=0.05, momentum=0.9, nesterov=True),
    optimizer("sgd", learning_rate=0.05, weight_decay=0.1),
    optimizer("adam"),
    optimizer("adam", learning_rate=0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-5),
    optimizer("adam", amsgrad=True),
    optimizer("adam", weight_decay=0.05),
    optimizer("adamw"),
    optimizer("adamw", learning_rate=0.01, weight_decay=0.1),
    optimizer("rmsprop"),
    optimizer("rmsprop", momentum=0.5, centered=True),
    optimizer("adagrad", learning_rate=0.05),
    optimizer("lamb"),
    optimizer("lamb", learning_rate=0.01, weight_decay=0.1),
    optimizer("lion", learning_rate=0.0003),
    optimizer("lion", learning_rate=0.0003, weight_decay=0.1),
    optimizer("sgd", learning_rate=0.1, clipnorm=0.05),
    optimizer("sgd", learning_rate=0.1, clipvalue=0.01),
    optimizer("adam", global_clipnorm=0.05),
]

ALL = [*LAYERS, *ARCHITECTURES, *LOSSES, *OPTIMIZERS]
