"""The same configuration, rows and seed give the same bytes: for any number of threads, and after a kill at any step."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from program import Program, environment
from training.pipeline import keys

SECONDS_MAX = 120
# A training takes a second or two: a busy machine may let it end unseen.
TRIES_MAX = 5
FIT = {"batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.002}, "loss": "mse", "metrics": ["mae"], "seed": 3}
# Dropout draws numbers at every step, batch normalization carries averages: both must go on where they were.
RECURRENT = [
    {"type": "lstm", "units": 24, "return_sequences": True},
    {"type": "dropout", "rate": 0.2},
    {"type": "gru", "units": 16},
    {"type": "batch_normalization"},
    {"type": "dense", "units": 1},
]
WIDE = [{"type": "dense", "units": 512, "activation": "relu"}, {"type": "dense", "units": 512, "activation": "tanh"}, {"type": "dense", "units": 1}]


def write(folder: Path, layers: list[dict], rows: int, steps: int, channels: int, **fit: object) -> Path:
    """A table and a pipeline file over it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(8)
    x = rng.standard_normal((rows, steps * channels)).astype(np.float32)
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])])
    table["label"] = np.tanh(x[:, 0] + x[:, -1]).astype(np.float32)
    table["split"] = np.where(np.arange(rows) < rows * 0.8, "train", "valid")
    table.to_parquet(folder / "rows.parquet")
    path = folder / "pipeline.toml"
    sections = {"data": {"table": "rows.parquet"}, "label": {"column": "label"}, "split": {"column": "split"}}
    if steps > 1:
        sections["features"] = {"steps": steps}
    text = 'version = 1\nname = "again"\n\n' + "".join(f"[{name}]\n{keys(table)}\n" for name, table in sections.items())
    text += "".join(f"[[model.layers]]\n{keys(layer)}\n" for layer in layers) + f"[fit]\n{keys(FIT | fit)}"
    path.write_text(text)
    return path


def contents(bundle: Path) -> dict[str, bytes]:
    """What must be the same: the weights, in both formats."""
    files = [*sorted((bundle / "variables").iterdir()), bundle / "model.onnx"]
    assert len(files) >= 3
    return {str(path.relative_to(bundle)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("layers", "rows", "shape", "fit"),
    [
        (RECURRENT, 1_000, (6, 5), {"epochs": 3}),
        # The network gives 8192 x 512 numbers at once: above 4 million, parallel sums are tempting.
        (WIDE, 20_480, (1, 24), {"epochs": 3, "batch_size": 8_192}),
    ],
    ids=["recurrent", "wide"],
)
def test_any_number_of_threads_gives_the_same_bytes(program: Program, tmp_path: Path, layers, rows, shape, fit):
    pipeline = write(tmp_path / "p", layers, rows, *shape, **fit)
    reports = {}
    for threads in (1, 2):
        reports[threads] = program.succeed("train", pipeline, "--out", tmp_path / str(threads), "--threads", threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert [epoch["val_loss"] for epoch in reports[1]["history"]] == [epoch["val_loss"] for epoch in reports[2]["history"]]


def test_rows_that_stay_in_their_file_give_the_same_bytes(program: Program, tmp_path: Path):
    pipeline = write(tmp_path / "p", RECURRENT, 1_000, 6, 5, epochs=2, shuffle={"name": "blocks", "block_rows": 32, "window_blocks": 4})
    streamed = pipeline.with_name("streamed.toml")
    streamed.write_text(pipeline.read_text().replace("[data]\n", "[data]\nstream = true\n"))
    assert "stream = true" in streamed.read_text()
    program.succeed("train", pipeline, "--out", tmp_path / "memory")
    program.succeed("train", streamed, "--out", tmp_path / "file")
    assert contents(tmp_path / "memory") == contents(tmp_path / "file")


def test_another_seed_gives_other_bytes(program: Program, tmp_path: Path):
    for seed in (3, 4):
        pipeline = write(tmp_path / f"p{seed}", RECURRENT, 200, 6, 5, epochs=1, seed=seed)
        program.succeed("train", pipeline, "--out", tmp_path / str(seed))
    assert contents(tmp_path / "3") != contents(tmp_path / "4")


@pytest.fixture(scope="module")
def uninterrupted(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path, dict[str, bytes], dict]:
    """A training that nobody interrupts, of 25 steps an epoch, with a checkpoint every 10."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    program = Program(binary, folder / "data", folder)
    pipeline = write(folder / "p", RECURRENT, 1_000, 6, 5, epochs=16, checkpoint={"every_steps": 10})
    report = program.succeed("train", pipeline, "--out", folder / "bundle")
    return program, pipeline, contents(folder / "bundle"), report


def checkpoints_of(out: Path) -> set[str]:
    return {path.name for path in (out / "checkpoints").glob("*.safetensors")}


def kill_after(program: Program, pipeline: Path, out: Path, checkpoints: int, pause: float = 0, *arguments: str) -> None:
    """Starts a training, and kills it a while after it has written so many checkpoints."""
    kept = out.with_name(f"{out.name}-before")
    if out.exists():
        shutil.copytree(out, kept)
    for _ in range(TRIES_MAX):
        if is_killed_after(program, pipeline, out, checkpoints, pause, *arguments):
            break
        shutil.rmtree(out)
        if kept.exists():
            shutil.copytree(kept, out)
    else:
        pytest.fail("it ended before it could be killed")
    shutil.rmtree(kept, ignore_errors=True)


def is_killed_after(program: Program, pipeline: Path, out: Path, checkpoints: int, pause: float, *arguments: str) -> bool:
    """The same once: whether the training did not end before."""
    before = checkpoints_of(out)
    command = program.command("train", pipeline, "--out", out, *arguments)
    process = subprocess.Popen(command, cwd=program.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen, end = set(), time.monotonic() + SECONDS_MAX
    while len(seen) < checkpoints and process.poll() is None:
        assert time.monotonic() < end, f"{seen} in {SECONDS_MAX} s"
        seen |= checkpoints_of(out) - before
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL)
    # Written at the very end: with it the training had ended, though its process may not have.
    return process.returncode != 0 and not (out / "bundle.json").exists()


def resume(program: Program, pipeline: Path, out: Path) -> str:
    """What a resumed training says."""
    outcome = program.run("train", pipeline, "--out", out, "--resume")
    assert outcome.status == 0, outcome.stderr
    return outcome.stdout + outcome.stderr


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_a_killed_training_goes_on_to_the_same_bytes(uninterrupted, tmp_path: Path, checkpoints: int):
    program, pipeline, expected, _ = uninterrupted
    out = tmp_path / "bundle"
    kill_after(program, pipeline, out, checkpoints, random.uniform(0, 0.05))
    said = resume(program, pipeline, out)
    assert "resumed at step" in said and "starting from step 0" not in said
    assert contents(out) == expected


def test_a_training_killed_twice_goes_on_to_the_same_bytes(uninterrupted, tmp_path: Path):
    program, pipeline, expected, _ = uninterrupted
    out = tmp_path / "bundle"
    kill_after(program, pipeline, out, 2)
    kill_after(program, pipeline, out, 2, 0, "--resume")
    assert "resumed at step" in resume(program, pipeline, out)
    assert contents(out) == expected


def test_a_torn_checkpoint_is_passed_over(uninterrupted, tmp_path: Path):
    program, pipeline, expected, _ = uninterrupted
    out = tmp_path / "bundle"
    kill_after(program, pipeline, out, 3)
    newest = max((out / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    said = resume(program, pipeline, out)
    assert "skipped the damaged checkpoint" in said and "resumed at step" in said
    assert contents(out) == expected


def test_without_a_checkpoint_it_starts_and_says_so(uninterrupted, tmp_path: Path):
    program, pipeline, expected, _ = uninterrupted
    said = resume(program, pipeline, tmp_path / "bundle")
    assert "starting from step 0" in said
    assert contents(tmp_path / "bundle") == expected


def test_a_changed_configuration_is_refused_with_what_changed(uninterrupted, tmp_path: Path):
    program, pipeline, _, _ = uninterrupted
    out = tmp_path / "bundle"
    kill_after(program, pipeline, out, 1)
    changed = pipeline.with_name("changed.toml")
    changed.write_text(pipeline.read_text().replace("learning_rate = 0.002", "learning_rate = 0.004"))
    outcome = program.run("train", changed, "--out", out, "--resume", "--json")
    assert outcome.status == 2, outcome.stderr
    assert "0.002" in outcome.error["message"] and "0.004" in outcome.error["message"]
