"""Writes the models beside it with Keras 3, and what they answer. Needs keras and tensorflow."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers as L

HERE = Path(__file__).parent


def save(name: str, model: keras.Model, *arguments: np.ndarray) -> None:
    random = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(random.uniform(0.1, 0.9, weight.shape))
    model.save(HERE / f"{name}.keras")
    if arguments:
        outputs = keras.tree.flatten(model.predict(list(arguments), verbose=0))
        document = [{"shape": array.shape, "elements": array.ravel().tolist()} for array in [*arguments, *outputs]]
        (HERE / f"{name}.json").write_text(json.dumps(document) + "\n")


class Doubled(L.Layer):
    def call(self, x):
        return 2 * x


def mixed() -> keras.Model:
    series, facts = keras.Input((4, 3), name="series"), keras.Input((2,), name="facts")
    tower = keras.Sequential([L.Dense(3, activation="gelu"), L.BatchNormalization()], name="tower")
    x = L.Bidirectional(L.LSTM(2))(L.Conv1D(3, 2, padding="causal")(series))
    x = L.Concatenate()([x, tower(facts), tower(facts * 0.5)])
    tail = keras.Model(inner := keras.Input((x.shape[1],)), L.Dense(2, activation="softmax")(inner), name="tail")
    return keras.Model([series, facts], {"score": L.Dense(1)(x), "risk": tail(x)})


def placeless(function: Callable) -> Callable:
    """The function without the place of its source, which Keras would save."""
    function.__code__ = function.__code__.replace(co_filename="make.py")
    return function


def refused() -> keras.Model:
    x = keras.Input((4,))
    y = L.Lambda(placeless(lambda x: x + 1), name="plus")(x)
    y = Doubled(name="doubled")(L.Dense(4, activation=placeless(lambda x: x * x), name="squared")(y))
    return keras.Model(x, L.HashedCrossing(5, name="crossing")((y, y)))


random = np.random.default_rng(3)
numbers = lambda *shape: random.normal(size=shape).astype(np.float32)
save("chain", keras.Sequential([keras.Input((3,)), L.Dense(4, activation="relu"), L.Dense(2)]), numbers(5, 3))
save("mixed", mixed(), numbers(5, 4, 3), numbers(5, 2))
save("refused", refused())
