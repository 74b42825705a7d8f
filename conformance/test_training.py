"""Fits of 20 steps here and in Keras, from the same weights on the same rows: every layer, loss, optimizer and metric."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from program import Program
from training import bundle_weights, cases
from training.cases import Case
from training.keras_fit import fitted, rows_of
from training.keras_layers import canonical, network
from training.metrics import Measured
from training.pipeline import frame, label_names, write

# Largest difference of a tensor, as a share of its norm.
WEIGHT_TOLERANCE = 1e-4
# Tensors of a norm below this for each number are noise: what has no gradient differs in rounding alone.
NORM_MIN = 1e-3
# A tensor moves at least so much, or the comparison says nothing.
MOVED_MIN = 10 * WEIGHT_TOLERANCE
LOSS_TOLERANCE = 1e-5
METRIC_TOLERANCE = 1e-6


@dataclass
class Fit:
    """A case fitted here."""

    start: dict[str, np.ndarray]
    end: dict[str, np.ndarray]
    report: dict
    bundle: Path


@pytest.fixture(scope="session")
def fits(binary: Path, tmp_path_factory: pytest.TempPathFactory):
    """Fits a case, once; a network that no epoch changed says from where."""
    done: dict[str, Fit] = {}
    folder = tmp_path_factory.mktemp("fits")
    program = Program(binary, folder / "data", folder)

    def fit(case: Case) -> Fit:
        if case.name not in done:
            place = folder / str(len(done))
            names = [canonical(weight.path) for weight in network(case).weights]
            program.succeed("train", write(case, place, epochs=0), "--out", place / "start")
            report = program.succeed("train", write(case, place), "--out", place / "end")
            start, end = (bundle_weights.named(bundle_weights.weights(place / name), names) for name in ("start", "end"))
            done[case.name] = Fit(start, end, report, place / "end")
        return done[case.name]

    return fit


def norm(tensor: np.ndarray) -> float:
    return max(float(np.linalg.norm(tensor)), NORM_MIN * tensor.size**0.5)


def apart(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """How far tensors are from each other, as shares of their norms."""
    return {name: float(np.linalg.norm(ours[name].astype(np.float64) - theirs[name])) / norm(theirs[name]) for name in theirs}


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_weights_are_those_of_keras(case: Case, fits):
    fit = fits(case)
    _, theirs, losses = fitted(case, frame(case), fit.start)
    moved = apart(theirs, fit.start)
    assert {name for name, share in moved.items() if share < MOVED_MIN} == set(case.still), "the rest must move"
    off = {name: share for name, share in apart(fit.end, theirs).items() if not share <= WEIGHT_TOLERANCE}
    assert off == {}
    assert [epoch["loss"] for epoch in fit.report["history"]] == pytest.approx(losses, rel=LOSS_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in cases.ALL if case.metrics], ids=str)
def test_metrics_are_those_of_their_definitions(case: Case, fits):
    fit = fits(case)
    table = frame(case)
    figures = {"valid": {name.removeprefix("val_"): value for name, value in fit.report["history"][-1]["metrics"].items() if name.startswith("val_")}}
    figures["test"] = fit.report["test"]
    for split, found in figures.items():
        part = table[table["split"] == split]
        x, _, weights = rows_of(case, table, split)
        days = part["date"].factorize()[0] if case.dated else None
        measured = Measured(bundle_weights.answers(fit.bundle, x), part[label_names(case)].to_numpy(), case.label == "classes", weights, days)
        for metric in case.metrics:
            name, expected = measured.of(metric)
            assert found[name] == pytest.approx(expected, rel=METRIC_TOLERANCE, abs=METRIC_TOLERANCE), f"{name} of {split} rows"


def test_another_learning_rate_is_noticed(fits):
    case = next(case for case in cases.OPTIMIZERS if case.optimizer == {"name": "adam"})
    fit = fits(case)
    _, theirs, _ = fitted(case, frame(case), fit.start, learning_rate_factor=1.02)
    assert max(apart(fit.end, theirs).values()) > WEIGHT_TOLERANCE


def test_another_row_is_noticed(fits):
    case = cases.LAYERS[0]
    fit = fits(case)
    table = frame(case)
    table.loc[40, "f0"] += 0.5
    _, theirs, _ = fitted(case, table, fit.start)
    assert max(apart(fit.end, theirs).values()) > WEIGHT_TOLERANCE
