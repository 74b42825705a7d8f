"""The cases of the training benchmark: their rows, generated and seeded, and their networks as every engine is told them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_HELD_OUT = 4_000
ROWS_BLOCK = 50_000
LEARNING_RATE = 0.001
SEED = 7


@dataclass(frozen=True)
class Case:
    """One network on one table. Rows are [columns], or [steps, columns] where there are steps."""

    name: str
    # mlp: dense layers with relu; lstm: layers one after the other, the last step goes on; transformer: encoder blocks, the mean goes on.
    kind: str
    units: tuple[int, ...]
    columns: int
    rows: int
    batch_size: int
    epochs: int
    # 0: one value is predicted, by mean squared error; otherwise classes, by cross-entropy.
    classes: int = 0
    steps: int = 1
    heads: int = 0

    def write(self, path: Path) -> float:
        """Features, `label` and `split` of all rows, the same in every run; gives the loss of an answer that is always the same."""
        rng = np.random.default_rng(ord(self.name))
        teacher = Teacher(self, rng)
        parts = [("train", self.rows), ("valid", ROWS_HELD_OUT), ("test", ROWS_HELD_OUT)]
        names = [f"f{i}" for i in range(self.steps * self.columns)]
        writer, labels = None, []
        for split, rows in parts:
            for begin in range(0, rows, ROWS_BLOCK):
                count = min(ROWS_BLOCK, rows - begin)
                x = rng.standard_normal((count, self.steps, self.columns), dtype=np.float32)
                labels.append(teacher.label(x, rng))
                flat = x.reshape(count, -1)
                columns = [pa.array(np.ascontiguousarray(flat[:, i])) for i in range(len(names))]
                table = pa.table([*columns, pa.array(labels[-1]), pa.array([split] * count)], names=[*names, "label", "split"])
                writer = writer or pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=["split"])
                writer.write_table(table)
        writer.close()
        label = np.concatenate(labels)
        share = np.bincount(label) / len(label) if self.classes else np.ones(1)
        return float(-(share * np.log(share)).sum() if self.classes else label.var())

    def spec(self, table: Path, threads: int) -> str:
        """What a peer is told."""
        return json.dumps(asdict(self) | {"table": str(table), "threads": threads, "learning_rate": LEARNING_RATE, "seed": SEED})

    def pipeline(self, table: str) -> str:
        """What we are told."""
        label = f"classes = {self.classes}\n" if self.classes else ""
        steps = f"[features]\nsteps = {self.steps}\n\n" if self.steps > 1 else ""
        loss = "sparse_categorical_crossentropy" if self.classes else "mean_squared_error"
        return f"""\
version = 1
name = "training-{self.name.lower()}"

[data]
table = "{table}"

{steps}[label]
column = "label"
{label}
[split]
column = "split"

{self.layers()}
[fit]
epochs = {self.epochs}
batch_size = {self.batch_size}
optimizer = {{ name = "adam", learning_rate = {LEARNING_RATE} }}
loss = "{loss}"
metrics = []
seed = {SEED}
"""

    def layers(self) -> str:
        """`[[model.layers]]` of the network, under Keras's names."""
        output = {"type": "dense", "units": self.classes or 1} | ({"activation": "softmax"} if self.classes else {})
        if self.kind == "mlp":
            layers = [{"type": "dense", "units": units, "activation": "relu"} for units in self.units]
        elif self.kind == "lstm":
            layers = [{"type": "lstm", "units": units, "return_sequences": at + 1 < len(self.units)} for at, units in enumerate(self.units)]
        else:
            width, inner = self.units
            layers = [{"type": "dense", "units": width}, {"type": "positional_encoding", "name": "block_0"}]
            for at in range(BLOCKS):
                x = f"block_{at}"
                layers += [
                    {"type": "multi_head_attention", "num_heads": self.heads, "key_dim": width // self.heads, "inputs": [x]},
                    {"type": "add", "inputs": [x, "multi_head_attention" + (f"_{at}" if at else "")]},
                    {"type": "layer_normalization", "name": f"attended_{at}"},
                    {"type": "dense", "units": inner, "activation": "relu"},
                    {"type": "dense", "units": width, "name": f"inner_{at}"},
                    {"type": "add", "inputs": [f"attended_{at}", f"inner_{at}"]},
                    {"type": "layer_normalization", "name": f"block_{at + 1}"},
                ]
            layers.append({"type": "global_average_pooling1d"})
        # A string, number, boolean or list of strings is the same in JSON and in TOML.
        return "".join(
            "[[model.layers]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in layer.items()) + "\n"
            for layer in [*layers, output]
        )


class Teacher:
    """Gives labels that a network of the case can learn in part: the rest is noise, so that losses settle."""

    def __init__(self, case: Case, rng: np.random.Generator):
        self.case = case
        hidden = 32
        self.first = rng.standard_normal((case.columns, hidden)) / np.sqrt(case.columns)
        self.second = rng.standard_normal((hidden, max(case.classes, 1))) * (2 / np.sqrt(hidden))
        # Newer steps count for more.
        self.decay = 0.8 ** np.arange(case.steps)[::-1]
        self.decay /= np.sqrt((self.decay**2).sum())

    def label(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int64 classes drawn from a softmax, or float32 values, of which noise is the larger part."""
        state = np.einsum("rsc,s->rc", x, self.decay)
        scores = np.tanh(2 * state @ self.first) @ self.second
        if self.case.classes:
            return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
        value = np.tanh(scores[:, 0] / 2)
        return (value + 0.8 * rng.standard_normal(len(value))).astype(np.float32)


BLOCKS = 2

CASES = [
    Case("A", "mlp", (128,), columns=64, rows=60_000, batch_size=32, epochs=6, classes=10),
    Case("B", "mlp", (512, 256), columns=158, rows=500_000, batch_size=4_096, epochs=4, classes=10),
    Case("C", "lstm", (64, 64), columns=20, rows=40_000, batch_size=800, epochs=8, steps=20),
    Case("D", "transformer", (64, 128), columns=20, rows=40_000, batch_size=800, epochs=8, steps=20, heads=4),
]
