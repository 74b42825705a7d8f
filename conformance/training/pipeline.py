"""The table and the pipeline file of a case."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from training.cases import BATCH_SIZE, CHANNELS, COLUMNS, EPOCHS, ROWS, ROWS_OF_A_DATE, STEPS, Case

SEED = 5


def toml(value: object) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    # Strings, numbers and booleans are the same in JSON.
    return json.dumps(value)


def keys(table: dict) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in table.items())


def feature_names(case: Case) -> list[str]:
    return [f"f{i}" for i in range(STEPS * CHANNELS if case.sequence else COLUMNS)]


def label_names(case: Case) -> list[str]:
    width = 1 if case.label == "classes" or case.loss["name"] == "quantile" else case.outputs
    return ["label"] if width == 1 else [f"label_{i}" for i in range(width)]


def frame(case: Case) -> pd.DataFrame:
    """Rows with a label that follows from the features in part; the same in every run."""
    rng = np.random.default_rng(sum(map(ord, case.name)))
    names, labels = feature_names(case), label_names(case)
    count = sum(ROWS.values())
    x = rng.standard_normal((count, len(names))).astype(np.float32)
    table = pd.DataFrame(x, columns=names)
    signal = np.tanh(x @ rng.standard_normal((len(names), max(len(labels), case.classes, 1))) / np.sqrt(len(names)))
    noisy = (signal + 0.3 * rng.standard_normal(signal.shape)).astype(np.float32)
    if case.label == "classes":
        table["label"] = noisy.argmax(axis=1) if case.classes > 2 else (noisy[:, 0] > 0).astype(np.int64)
    else:
        share = {"softmax": lambda z: z / z.sum(axis=1, keepdims=True), "sigmoid": lambda z: z / (1 + z)}
        if case.label == "shares":
            noisy = share[case.layers[-1]["activation"]](np.exp(noisy))
        # Off the mean of outputs, so that biases have somewhere to go.
        table[labels] = (noisy + (0.0 if case.label == "shares" else 0.5)).astype(np.float32)
    table["split"] = np.repeat(list(ROWS), list(ROWS.values()))
    if case.weighted:
        table["weight"] = rng.uniform(0.2, 2, count).astype(np.float32)
    if case.dated:
        day = np.concatenate([np.arange(rows) // ROWS_OF_A_DATE for rows in ROWS.values()])
        offset = np.repeat([0, 100, 200], list(ROWS.values()))
        table["date"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(day + offset, unit="D")).date
    return table


def write(case: Case, folder: Path, epochs: int = EPOCHS, **fit: object) -> Path:
    """Writes `rows.parquet` and a pipeline file, and returns the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    frame(case).to_parquet(folder / "rows.parquet")
    labels = label_names(case)
    data = {"table": "rows.parquet"} | ({"date": "date"} if case.dated else {}) | ({"weight": "weight"} if case.weighted else {})
    label = {"column": labels[0]} if len(labels) == 1 else {"columns": labels}
    sections = {
        "data": data,
        "features": {"columns": feature_names(case)} | ({"steps": STEPS} if case.sequence else {}),
        "label": label | ({"classes": case.classes} if case.label == "classes" else {}),
        "split": {"column": "split"},
    }
    text = 'version = 1\nname = "case"\n\n' + "".join(f"[{name}]\n{keys(table)}\n" for name, table in sections.items())
    text += "".join(f"[[model.inputs]]\n{keys({'name': name, 'features': features})}\n" for name, features in case.inputs.items())
    if case.architecture:
        text += f"[model]\n{keys({'architecture': case.architecture})}\n"
    else:
        text += "".join(f"[[model.layers]]\n{keys(layer)}\n" for layer in case.layers)
    settings = {
        "epochs": epochs, "batch_size": BATCH_SIZE, "optimizer": case.optimizer, "loss": case.loss, "metrics": list(case.metrics), "seed": SEED,
        "shuffle": False,
    }
    text += f"[fit]\n{keys(settings | case.fit | fit)}"
    path = folder / f"case-{epochs}.toml"
    path.write_text(text)
    return path
