"""A case of the training benchmark in Keras on TensorFlow: `model.fit` on arrays in memory.

    keras_training.py CASE_JSON
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from training_table import Progress, read_case, read_rows


def encoder(x, case):
    """Encoder blocks that normalise after each part (Vaswani et al. 2017, "Attention Is All You Need", section 3.1)."""
    width, inner = case.units
    angle = np.arange(case.steps)[:, None] * np.exp(np.arange(0, width, 2) * (-np.log(10_000) / width))
    places = np.zeros((1, case.steps, width), np.float32)
    places[0, :, 0::2], places[0, :, 1::2] = np.sin(angle), np.cos(angle)
    x = layers.Dense(width)(x) + places
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(case.heads, width // case.heads)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(width)(layers.Dense(inner, activation="relu")(x)))
    return layers.GlobalAveragePooling1D()(x)


def network(case) -> keras.Model:
    inputs = x = keras.Input((case.steps, case.columns) if case.steps > 1 else (case.columns,))
    if case.kind == "transformer":
        x = encoder(x, case)
    elif case.kind == "lstm":
        for at, units in enumerate(case.units):
            x = layers.LSTM(units, return_sequences=at + 1 < len(case.units))(x)
    else:
        for units in case.units:
            x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(case.classes or 1)(x))


class Clock(keras.callbacks.Callback):
    """Times each epoch."""

    def __init__(self, progress: Progress):
        super().__init__()
        self.progress = progress

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.progress.epochs.append(time.perf_counter() - self.begin)


def main() -> None:
    case = read_case()
    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    tf.config.threading.set_inter_op_parallelism_threads(case.threads)
    keras.utils.set_random_seed(case.seed)
    rows = read_rows(case)
    x, y = rows["train"]
    model = network(case)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if case.classes else "mse"
    model.compile(keras.optimizers.Adam(case.learning_rate), loss)
    progress = Progress()
    model.fit(x[: case.batch_size], y[: case.batch_size], batch_size=case.batch_size, verbose=0)
    progress.first_step()
    model.fit(x, y, batch_size=case.batch_size, epochs=case.epochs, verbose=0, callbacks=[Clock(progress)])
    progress.report(f"keras {keras.__version__}, tensorflow {tf.__version__}", model.evaluate(*rows["valid"], batch_size=1000, verbose=0))


if __name__ == "__main__":
    main()
