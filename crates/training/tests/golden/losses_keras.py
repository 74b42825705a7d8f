"""Prints the table of src/loss/keras.rs: losses and their gradients by TensorFlow's autodiff, in double precision.

Made with keras 3.15.1 on tensorflow-cpu 2.21.0. Losses that Keras has are Keras's (quantile, rank and correlation are
their definitions over TensorFlow). 6 rows; output i (row-major) is 2 sin(1.3 i + 0.5), as a probability
0.5 + 0.45 sin(1.3 i + 0.5); all are rounded to single precision first.
"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
import tensorflow as tf

keras.backend.set_floatx("float64")
ROWS = 6
WEIGHTS = np.array([1, 0.5, 2, 0, 1.5, 1])
CLASSES = np.array([0, 2, 1, 1, 0, 2])
GROUPS = np.array([7, 3, 7, 3, 7, 3])


def single(values):
    return np.array(values, dtype=np.float32).astype(np.float64)


def wave(count):
    return np.sin(1.3 * np.arange(count) + 0.5)


def logits(units):
    return single(2 * wave(ROWS * units)).reshape(ROWS, units)


def probabilities(units):
    return single(0.5 + 0.45 * wave(ROWS * units)).reshape(ROWS, units)


def numbers(units):
    return single(np.sin(0.9 * np.arange(ROWS * units))).reshape(ROWS, units)


def shares(units):
    return single(0.5 + 0.5 * np.sin(0.9 * np.arange(ROWS * units))).reshape(ROWS, units)


def distributions(units):
    return single(shares(units) / shares(units).sum(axis=1, keepdims=True))


def weighted(loss):
    return lambda y, x: loss(y, x, sample_weight=WEIGHTS)


def quantile(y, x):
    q = np.array([0.1, 0.5, 0.9])
    return tf.reduce_sum(tf.reduce_mean(tf.maximum(q * (y - x), (q - 1) * (y - x)), axis=1) * WEIGHTS) / ROWS


def by_date(of_date):
    def loss(y, x):
        total = 0.0
        for group in [3, 7]:
            at = np.where((GROUPS == group) & (WEIGHTS > 0))[0]
            w = WEIGHTS[at]
            total += w.mean() * of_date(y.reshape(-1)[at], tf.gather(x[:, 0], at), w)
        return total / 2
    return loss


def rank(y, s, w):
    total, pairs = 0.0, 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                total += w[i] * w[j] * tf.math.softplus((s[j] - s[i]) / 0.5)
                pairs += w[i] * w[j]
    return total / pairs


def negative_ic(y, s, w):
    y, s = y - np.average(y, weights=w), s - tf.reduce_sum(s * w) / w.sum()
    cross = tf.reduce_sum(w * y * s)
    return -cross / tf.sqrt(tf.reduce_sum(w * s * s) * (w * y * y).sum())


l = keras.losses
CASES = [
    ('"mse"', "Logits", 3, "Numbers", weighted(l.MeanSquaredError())),
    ('"mae"', "Logits", 3, "Numbers", weighted(l.MeanAbsoluteError())),
    ('{ name = "huber", delta = 0.7 }', "Logits", 3, "Numbers", weighted(l.Huber(delta=0.7))),
    ('"binary_crossentropy"', "Logits", 3, "Shares", weighted(l.BinaryCrossentropy(from_logits=True))),
    ('{ name = "binary_crossentropy", label_smoothing = 0.2 }', "Logits", 3, "Shares", weighted(l.BinaryCrossentropy(from_logits=True, label_smoothing=0.2))),
    ('{ name = "binary_crossentropy", label_smoothing = 0.2 }', "Probabilities", 3, "Shares", weighted(l.BinaryCrossentropy(label_smoothing=0.2))),
    ('{ name = "categorical_crossentropy", label_smoothing = 0.1 }', "Logits", 3, "Distributions", weighted(l.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1))),
    ('{ name = "categorical_crossentropy", label_smoothing = 0.1 }', "Probabilities", 3, "Distributions", weighted(l.CategoricalCrossentropy(label_smoothing=0.1))),
    ('{ name = "categorical_crossentropy", label_smoothing = 0.1 }', "Logits", 3, "Classes", weighted(l.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1))),
    ('"sparse_categorical_crossentropy"', "Logits", 3, "Classes", weighted(l.SparseCategoricalCrossentropy(from_logits=True))),
    ('"sparse_categorical_crossentropy"', "Probabilities", 3, "Classes", weighted(l.SparseCategoricalCrossentropy())),
    ('{ name = "quantile", quantiles = [0.1, 0.5, 0.9] }', "Logits", 3, "Number", quantile),
    ('{ name = "pairwise_rank", temperature = 0.5 }', "Logits", 1, "Number", by_date(rank)),
    ('"negative_ic"', "Logits", 1, "Number", by_date(negative_ic)),
]
TARGETS = {"Numbers": numbers, "Shares": shares, "Distributions": distributions, "Number": lambda _: numbers(1)}
for text, outputs, units, kind, loss in CASES:
    x = tf.Variable(logits(units) if outputs == "Logits" else probabilities(units))
    if kind != "Classes":
        y = TARGETS[kind](units)
    else:
        y = CLASSES if "sparse" in text else np.eye(units)[CLASSES]
    with tf.GradientTape() as tape:
        value = loss(y, x)
    gradient = tape.gradient(value, x).numpy().reshape(-1)
    row = ", ".join(f"{g:.9g}" if g else "0.0" for g in gradient)
    print(f"    Case {{\n        loss: r#\"{text}\"#,\n        outputs: {outputs},\n        units: {units},\n        targets: {kind},\n        value: {float(value)!r},\n        gradient: &[{row}],\n    }},")
