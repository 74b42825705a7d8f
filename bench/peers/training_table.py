"""What the peers of the training benchmark share: their case, its rows, and how they report."""

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq


def read_case() -> SimpleNamespace:
    """The case, as JSON in the only argument."""
    return SimpleNamespace(**json.loads(sys.argv[1]))


def read_rows(case: SimpleNamespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """float32 rows [rows, (steps,) columns] and labels of `train` and `valid`, read row group by row group straight into place."""
    file = pq.ParquetFile(case.table)
    names = [name for name in file.schema_arrow.names if name not in ("label", "split")]
    count = file.metadata.num_rows
    x = np.empty((count, len(names)), np.float32)
    y = np.empty(count, np.int64 if case.classes else np.float32)
    split = np.empty(count, "U5")
    at = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        end = at + table.num_rows
        for column, name in enumerate(names):
            x[at:end, column] = table[name].to_numpy()
        y[at:end] = table["label"].to_numpy()
        split[at:end] = table["split"].to_numpy(zero_copy_only=False)
        at = end
    form = (case.steps, case.columns) if case.steps > 1 else (case.columns,)
    found = {}
    for name in ("train", "valid"):
        where = np.flatnonzero(split == name)
        # Rows of a window lie together: no copy.
        rows = slice(where[0], where[-1] + 1)
        found[name] = x[rows].reshape(-1, *form), y[rows]
    return found


class Progress:
    """When the first step was done, and how long each epoch took."""

    def __init__(self) -> None:
        self.first_step_at = 0.0
        self.epochs: list[float] = []

    def first_step(self) -> None:
        self.first_step_at = time.time()

    def report(self, engine: str, loss: float) -> None:
        """The report, as one line of JSON."""
        print(json.dumps({"engine": engine, "first_step_at": self.first_step_at, "epochs": self.epochs, "loss": loss}))
