"""Steps of keras.optimizers.Adam, written to adam_keras.json beside this file.

Made with keras 3.15.1 on tensorflow-cpu 2.21.0; gradients of every size, among them those about as small as
epsilon, where the place of epsilon in the formula shows.
"""

import json
import math
import pathlib

import keras
import numpy as np

SCALES = [1.0, 1e-3, 1e-6, 3e-7, 1e-8, 0.0]
START = [0.5, -0.25, 0.125, 0.0, 1.0, 2.0]
STEPS = 50

weights = keras.Variable(np.array(START, dtype=np.float32))
optimizer = keras.optimizers.Adam(learning_rate=0.01)
gradients, expected = [], []
for step in range(1, STEPS + 1):
    gradient = np.array([scale * math.sin(0.7 * step) for scale in SCALES], dtype=np.float32)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
    gradients.append(gradient.tolist())
    expected.append(np.asarray(weights).tolist())
document = {"learning_rate": 0.01, "start": START, "gradients": gradients, "weights": expected}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(document) + "\n")
