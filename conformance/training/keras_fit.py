"""A case fitted by Keras from given weights."""

import numpy as np
import pandas as pd

from training.cases import BATCH_SIZE, CHANNELS, EPOCHS, STEPS, Case
from training.keras_layers import canonical, keras, network, ops
from training.pipeline import feature_names, label_names

OPTIMIZERS = {
    "sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad, "lamb": keras.optimizers.Lamb, "lion": keras.optimizers.Lion,
}


def rows_of(case: Case, table: pd.DataFrame, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features, targets as Keras's losses of the case take them, and weights."""
    part = table[table["split"] == split]
    x = part[feature_names(case)].to_numpy(np.float32)
    y = part[label_names(case)].to_numpy()
    if case.label == "classes" and case.classes > 2:
        y = y[:, 0]
        if case.loss["name"] == "categorical_crossentropy" or "label_smoothing" in case.loss:
            y = np.eye(case.classes, dtype=np.float32)[y]
    if case.dated:
        day = pd.factorize(part["date"])[0]
        y = np.column_stack([y, day]).astype(np.float32)
    weight = part["weight"].to_numpy() if case.weighted else None
    return x.reshape(-1, STEPS, CHANNELS) if case.sequence else x, y, weight


def pairwise_rank(temperature: float = 1.0):
    """Burges et al. 2005, "Learning to Rank using Gradient Descent": the mean over pairs of a date, then over dates."""

    def of(target, output):
        value, date = target[:, 0], target[:, 1]
        same = date[:, None] == date[None, :]
        pairs = ops.cast(same & (value[:, None] > value[None, :]), "float32")
        losses = ops.softplus((output[None, :, 0] - output[:, None, 0]) / temperature)
        of_row = ops.sum(pairs * losses, axis=1)
        total, last = 0.0, int(ops.max(date))
        dates = range(int(ops.min(date)), last + 1)
        for day in dates:
            own = ops.cast(date == day, "float32")
            total += ops.sum(own * of_row) / ops.sum(own[:, None] * pairs)
        return total / len(dates)

    return of


def negative_ic(target, output):
    """Minus Pearson's correlation within a date, the mean over dates."""
    value, date = target[:, 0], target[:, 1]
    dates = range(int(ops.min(date)), int(ops.max(date)) + 1)
    total = 0.0
    for day in dates:
        own = ops.cast(date == day, "float32")
        count = ops.sum(own)
        a = own * (output[:, 0] - ops.sum(own * output[:, 0]) / count)
        b = own * (value - ops.sum(own * value) / count)
        total -= ops.sum(a * b) / ops.sqrt(ops.sum(a * a) * ops.sum(b * b))
    return total / len(dates)


def quantile(quantiles: list[float]):
    """Koenker and Bassett 1978: the mean over quantiles."""

    def of(target, output):
        error = target - output
        q = np.array(quantiles, np.float32)
        return ops.mean(ops.maximum(q * error, (q - 1) * error), axis=-1)

    return of


def loss_of(case: Case):
    """The loss of a case: Keras's own where it has one."""
    name = case.loss["name"]
    keys = {key: value for key, value in case.loss.items() if key != "name"}
    if name == "sparse_categorical_crossentropy" and "label_smoothing" in keys:
        # Keras has label smoothing for one number a class alone.
        name = "categorical_crossentropy"
    own = {"pairwise_rank": pairwise_rank, "quantile": quantile, "negative_ic": lambda: negative_ic}
    if name in own:
        return own[name](**keys)
    losses = {
        "mse": keras.losses.MeanSquaredError, "mae": keras.losses.MeanAbsoluteError, "huber": keras.losses.Huber,
        "binary_crossentropy": keras.losses.BinaryCrossentropy, "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    }
    return losses[name](**keys)


def fitted(case: Case, table: pd.DataFrame, start: dict[str, np.ndarray] | None = None, learning_rate_factor: float = 1.0):
    """Weights by name before and after the fit; from `start`, or from Keras's own."""
    keras.utils.set_random_seed(1)
    model = network(case)
    for weight in model.weights:
        if start is not None:
            weight.assign(start[canonical(weight.path)])
    before = weights(model)
    keys = {key: value for key, value in case.optimizer.items() if key != "name"}
    optimizer = OPTIMIZERS[case.optimizer["name"]](**keys)
    optimizer.learning_rate = float(optimizer.learning_rate) * learning_rate_factor
    model.compile(optimizer, loss_of(case), run_eagerly=True)
    x, y, weight = rows_of(case, table, "train")
    class_weight = dict(enumerate(case.fit["class_weight"])) if "class_weight" in case.fit else None
    history = model.fit(
        x, y, sample_weight=weight, class_weight=class_weight, batch_size=BATCH_SIZE, epochs=EPOCHS, shuffle=False, verbose=0
    )
    return before, weights(model), history.history["loss"]


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    """All weights by name."""
    return {canonical(weight.path): weight.numpy() for weight in model.weights}
