"""Prints the table of src/optimizer/keras.rs: weights after 20 steps of Keras 3 (keras 3.15.1, tensorflow-cpu 2.21.0).

Two tensors of 5 and 3 elements; weight i starts at cos(i), its gradient at step t (from 1) is
scale[i % 4] * sin(0.7 t + i) with the scales 1, 1e-3, 10, 0.1.
"""
import math, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
from keras import optimizers as o

SCALES = [1.0, 1e-3, 10.0, 0.1]
CASES = {
    '"sgd"': o.SGD(),
    '{ name = "sgd", momentum = 0.9 }': o.SGD(momentum=0.9),
    '{ name = "sgd", momentum = 0.9, nesterov = true, weight_decay = 0.1 }': o.SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    '{ name = "adam", learning_rate = 0.05 }': o.Adam(0.05),
    '{ name = "adam", learning_rate = 0.05, amsgrad = true }': o.Adam(0.05, amsgrad=True),
    '{ name = "adam", learning_rate = 0.05, beta_1 = 0.8, beta_2 = 0.95, epsilon = 0.01, weight_decay = 0.2 }': o.Adam(0.05, beta_1=0.8, beta_2=0.95, epsilon=0.01, weight_decay=0.2),
    '{ name = "adam", learning_rate = 0.05, clipnorm = 0.5, epsilon = 0.1 }': o.Adam(0.05, clipnorm=0.5, epsilon=0.1),
    '{ name = "adam", learning_rate = 0.05, clipvalue = 0.5, epsilon = 0.1 }': o.Adam(0.05, clipvalue=0.5, epsilon=0.1),
    '{ name = "adam", learning_rate = 0.05, global_clipnorm = 0.5, epsilon = 0.1 }': o.Adam(0.05, global_clipnorm=0.5, epsilon=0.1),
    '{ name = "adamw", learning_rate = 0.05 }': o.AdamW(0.05),
    '{ name = "adamw", learning_rate = 0.05, weight_decay = 0.5, amsgrad = true }': o.AdamW(0.05, weight_decay=0.5, amsgrad=True),
    '{ name = "rmsprop", learning_rate = 0.02 }': o.RMSprop(0.02),
    '{ name = "rmsprop", learning_rate = 0.02, momentum = 0.5 }': o.RMSprop(0.02, momentum=0.5),
    '{ name = "rmsprop", learning_rate = 0.02, centered = true, epsilon = 1e-3 }': o.RMSprop(0.02, centered=True, epsilon=1e-3),
    '{ name = "rmsprop", learning_rate = 0.02, centered = true, momentum = 0.5, epsilon = 1e-3, rho = 0.8 }': o.RMSprop(0.02, centered=True, momentum=0.5, epsilon=1e-3, rho=0.8),
    '{ name = "adagrad", learning_rate = 0.1 }': o.Adagrad(0.1),
    '{ name = "adagrad", learning_rate = 0.1, initial_accumulator_value = 0.5, weight_decay = 0.1, clipnorm = 2.0 }': o.Adagrad(0.1, initial_accumulator_value=0.5, weight_decay=0.1, clipnorm=2.0),
    '{ name = "lamb", learning_rate = 0.05 }': o.Lamb(0.05),
    '{ name = "lamb", learning_rate = 0.05, weight_decay = 0.1, global_clipnorm = 1.0 }': o.Lamb(0.05, weight_decay=0.1, global_clipnorm=1.0),
    '{ name = "lion", learning_rate = 0.01 }': o.Lion(0.01),
    '{ name = "lion", learning_rate = 0.01, beta_1 = 0.7, beta_2 = 0.9, weight_decay = 0.5 }': o.Lion(0.01, beta_1=0.7, beta_2=0.9, weight_decay=0.5),
}


def values(function):
    flat = np.array([function(i) for i in range(8)], dtype=np.float32)
    return flat[:5], flat[5:]


for text, optimizer in CASES.items():
    variables = [keras.Variable(start) for start in values(math.cos)]
    for t in range(1, 21):
        gradients = values(lambda i: SCALES[i % 4] * math.sin(0.7 * t + i))
        optimizer.apply(list(gradients), variables)
    weights = np.concatenate([variable.numpy() for variable in variables])
    print(f"    (\n        r#\"{text.strip()}\"#,\n        [{', '.join(repr(float(str(w))) for w in weights)}],\n    ),")
