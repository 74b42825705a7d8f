"""A signal that was planted is found; where none was planted, none is."""

from pathlib import Path

import pytest

import planted
from program import Program

PLANTED_IC = 0.05
RECOVERED_IC_MIN = 0.03
CHANCE_T_MAX = 3


def test_the_panel_holds_what_was_planted():
    # The mean of 1000 daily coefficients of 60 names has a standard error of 0.004.
    assert abs(planted.planted_rank_ic(planted.prices(PLANTED_IC, seed=1)) - PLANTED_IC) < 0.015
    assert abs(planted.planted_rank_ic(planted.prices(0, seed=3))) < 0.015


def test_a_planted_signal_is_recovered(program: Program, tmp_path: Path):
    pipeline = planted.write(tmp_path, "planted", PLANTED_IC, seed=1)
    said = program.succeed("run", pipeline)
    ic = said["train"]["metrics"]["rank_ic"]
    assert ic["mean"] >= RECOVERED_IC_MIN and ic["t_statistic"] > CHANCE_T_MAX, ic
    assert ic["days"] >= planted.TEST_DAYS - 10
    assert said["train"]["quality"]["instruments"] == planted.NAMES
    assert "chance" not in said["train"]["metrics"]["verdict"].split("differs")[0]
    assert len(said["predictions"]) == planted.NAMES


@pytest.mark.parametrize("seed", [3])
def test_without_a_signal_nothing_is_found(program: Program, tmp_path: Path, seed: int):
    pipeline = planted.write(tmp_path, "noise", 0, seed)
    program.succeed("data", "import", tmp_path / "noise.csv", "--name", "noise")
    said = program.succeed("train", pipeline, "--out", tmp_path / "bundle")
    ic = said["metrics"]["rank_ic"]
    assert abs(ic["t_statistic"]) < CHANCE_T_MAX, ic
