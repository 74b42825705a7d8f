"""What was planted in a table is found: by a classifier, a regression, a ranker and a sequence model; and where nothing was, nothing is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from program import Program
from training import bundle_weights
from training.pipeline import keys

ROWS = {"train": 6_000, "valid": 1_000, "test": 2_000}
DATES, NAMES = 150, 60


def write(folder: Path, table: pd.DataFrame, layers: list[dict], label: dict, fit: dict, **sections: dict) -> Path:
    table.to_parquet(folder / "rows.parquet")
    data = {"table": "rows.parquet"} | sections.pop("data", {})
    features = {"columns": [name for name in table if name.startswith("f")]} | sections.pop("features", {})
    parts = {"data": data, "features": features, "label": label, "split": {"column": "split"}}
    path = folder / "pipeline.toml"
    text = 'version = 1\nname = "planted"\n\n' + "".join(f"[{name}]\n{keys(part)}\n" for name, part in parts.items())
    path.write_text(text + "".join(f"[[model.layers]]\n{keys(layer)}\n" for layer in layers) + f"[fit]\n{keys(fit)}")
    return path


def features(rng: np.random.Generator, columns: int) -> tuple[np.ndarray, pd.DataFrame]:
    count = sum(ROWS.values())
    x = rng.standard_normal((count, columns)).astype(np.float32)
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(columns)])
    table["split"] = np.repeat(list(ROWS), list(ROWS.values()))
    return x, table


@pytest.mark.parametrize("planted", [True, False])
def test_classes(program: Program, tmp_path: Path, planted: bool):
    rng = np.random.default_rng(2)
    x, table = features(rng, 8)
    # Three classes that no plane tells apart; one row in ten says another.
    label = np.digitize((x[:, :3] ** 2).sum(axis=1), [1.4, 3.0])
    wrong = rng.random(len(label)) < 0.1
    label[wrong] = rng.integers(0, 3, wrong.sum())
    table["label"] = label if planted else rng.permutation(label)
    layers = [{"type": "dense", "units": 64, "activation": "relu"}, {"type": "dense", "units": 3, "activation": "softmax"}]
    fit = {"epochs": 20, "batch_size": 64, "optimizer": {"name": "adam", "learning_rate": 0.003}, "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "seed": 1}
    if not planted:
        fit["epochs"] = 2
    report = program.succeed("train", write(tmp_path, table, layers, {"column": "label", "classes": 3}, fit), "--out", tmp_path / "bundle")
    accuracy, chance = report["test"]["accuracy"], table["label"].value_counts(normalize=True).max()
    # 0.93 at best: nine in ten, and a third of the others by chance.
    assert accuracy > 0.85 if planted else abs(accuracy - chance) < 0.05, accuracy


def test_values(program: Program, tmp_path: Path):
    rng = np.random.default_rng(3)
    x, table = features(rng, 10)
    slopes = rng.standard_normal(10)
    table["label"] = (x @ slopes + 0.7 + 0.5 * rng.standard_normal(len(x))).astype(np.float32)
    fit = {"epochs": 30, "batch_size": 128, "optimizer": {"name": "adam", "learning_rate": 0.01}, "loss": "mse", "metrics": ["r2_score", "mse"], "seed": 1}
    report = program.succeed("train", write(tmp_path, table, [{"type": "dense", "units": 1}], {"column": "label"}, fit), "--out", tmp_path / "bundle")
    weights = bundle_weights.named(bundle_weights.weights(tmp_path / "bundle"), ["dense/kernel", "dense/bias"])
    # Least squares on 6000 rows has a standard error of 0.5 / sqrt(6000) = 0.0065.
    assert weights["dense/kernel"][:, 0] == pytest.approx(slopes, abs=0.05)
    assert weights["dense/bias"][0] == pytest.approx(0.7, abs=0.05)
    assert report["test"]["mse"] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("loss", ["pairwise_rank", "negative_ic"])
def test_ranks(program: Program, tmp_path: Path, loss: str):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((DATES * NAMES, 6)).astype(np.float32)
    signal = np.tanh(x[:, 0]) - 0.5 * x[:, 1] ** 2
    # What all names of a date share is a hundred times larger than what tells them apart.
    market = np.repeat(100 * rng.standard_normal(DATES), NAMES)
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(6)])
    table["label"] = (market + signal + rng.standard_normal(len(x))).astype(np.float32)
    day = np.arange(DATES).repeat(NAMES)
    table["date"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(day, unit="D")).date
    table["split"] = np.where(day < 100, "train", np.where(day < 115, "valid", "test"))
    layers = [{"type": "dense", "units": 32, "activation": "relu"}, {"type": "dense", "units": 1}]
    fit = {"epochs": 25, "batch_size": 300, "optimizer": {"name": "adam", "learning_rate": 0.005}, "loss": loss, "metrics": ["rank_ic", "ic"], "shuffle": "dates", "seed": 1}
    report = program.succeed("train", write(tmp_path, table, layers, {"column": "label"}, fit, data={"date": "date"}), "--out", tmp_path / "bundle")
    own = table["split"] == "test"
    pairs = pd.DataFrame({"day": day[own], "signal": signal[own], "label": table["label"][own]})
    best = pairs.groupby("day").apply(lambda part: part["signal"].corr(part["label"], method="spearman")).mean()
    assert report["test"]["rank_ic"] > 0.85 * best > 0.4


def test_the_order_of_steps(program: Program, tmp_path: Path):
    rng = np.random.default_rng(5)
    steps, channels = 8, 3
    x, table = features(rng, steps * channels)
    cube = x.reshape(-1, steps, channels)
    # The oldest step's first channel, and the newest one's second: [steps, channels] read the other way round has neither.
    table["label"] = (cube[:, 0, 0] * 0.8 - cube[:, -1, 1] + 0.3 * rng.standard_normal(len(x))).astype(np.float32)
    fit = {"epochs": 12, "batch_size": 64, "optimizer": {"name": "adam", "learning_rate": 0.005}, "loss": "mse", "metrics": ["r2_score"], "seed": 1}
    layers = [{"type": "lstm", "units": 16}, {"type": "dense", "units": 1}]
    report = program.succeed("train", write(tmp_path, table, layers, {"column": "label"}, fit, features={"steps": steps}), "--out", tmp_path / "bundle")
    # 1.64 of a variance of 1.73 can be explained.
    assert report["test"]["r2_score"] > 0.85
