"""A real TensorBoard reads the curves of a fit."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

import planted
from program import Program

EPOCHS = 6
EVERY_STEPS = 100


@pytest.fixture
def pipeline(program: Program, tmp_path: Path) -> Path:
    """A fit that writes event files, on data that are imported."""
    pipeline = planted.write(tmp_path, "curves", 0.05, seed=5)
    before, after = pipeline.read_text().split("[deploy]")
    section = f"[fit.tensorboard]\nupdate_freq = {EVERY_STEPS}\n\n[deploy]"
    pipeline.write_text(before + section + after)
    program.succeed("data", "import", tmp_path / "curves.csv", "--name", "curves")
    return pipeline


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard finds in a run: values by step, by tag."""
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    events.Reload()
    assert events.file_version == 2
    found = {}
    for tag in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert len(steps) == len(set(steps)), f"{tag} has a step twice: {steps}"
        found[tag] = {event.step: event.value for event in events.Scalars(tag)}
    return found


def same(curve: dict[int, float], expected: list[float]) -> bool:
    """Whether a curve over epochs, counted from 0, has these values; event files hold 32-bit floats."""
    return list(curve) == list(range(EPOCHS)) and np.array_equal(np.float32(list(curve.values())), np.float32(expected))


def test_tensorboard_reads_the_curves_of_a_fit(program: Program, pipeline: Path, tmp_path: Path):
    said = program.succeed("train", pipeline, "--out", tmp_path / "bundle")
    history = said["history"]
    assert len(history) == EPOCHS
    train = scalars(tmp_path / "bundle" / "tensorboard" / "train")
    assert same(train["epoch_loss"], [epoch["loss"] for epoch in history])
    assert same(train["epoch_accuracy"], [epoch["metrics"]["accuracy"] for epoch in history])
    assert same(train["epoch_learning_rate"], [0.001] * EPOCHS)
    validation = scalars(tmp_path / "bundle" / "tensorboard" / "validation")
    assert same(validation["epoch_loss"], [epoch["val_loss"] for epoch in history])
    assert same(validation["epoch_accuracy"], [epoch["metrics"]["val_accuracy"] for epoch in history])

    # Updates are counted from 1; one of validation comes at the end of each epoch.
    batches = train["batch_loss"]
    assert list(batches) == [EVERY_STEPS * (at + 1) for at in range(len(batches))]
    ends = list(validation["evaluation_loss_vs_iterations"])
    assert ends == [ends[0] * (at + 1) for at in range(EPOCHS)]
    assert len(batches) == ends[-1] // EVERY_STEPS
    assert set(train["batch_accuracy"]) == set(train["batch_learning_rate"]) == set(batches)
