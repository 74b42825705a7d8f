"""Qlib's processors by name against pyqlib's own: those across instruments as expressions, those of a column in the bundle."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from program import REPOSITORY, Program, qlib_python

ORACLE = Path(__file__).with_name("qlib_processors.py")
# Ours go on in float64 from the bars, Qlib's from features that were stored as float32.
TOLERANCE = 2e-4
FEATURES = {
    "MOM": "$close/Ref($close,20)-1",
    # Missing on days without a gain, infinite on days without a move.
    "GAIN": "If($close>=Ref($close,1),$close/Ref($close,5)-1,Log(-$close))",
    "STILL": "1/Abs($close-Ref($close,1))",
}
PIPELINE = """
version = 1
name = "processed"
[data]
dataset = "closes"
[features.custom]
MOM = "$close/Ref($close,20)-1"
VOL = "Std($close/Ref($close,1),20)"
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 3
[split]
train = ["2016-01-01", "2018-12-31"]
valid = ["2019-01-01", "2019-12-31"]
test = ["2020-01-01", "2020-12-31"]
%s
[[model.layers]]
type = "dense"
units = 3
activation = "softmax"
[fit]
epochs = 1
seed = 3
"""


@pytest.fixture(scope="module")
def closes(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = tmp_path_factory.mktemp("processors")
    frame = pd.read_parquet(REPOSITORY / "datasets" / "sp500-20" / "sp500_dataset.parquet")
    frame[pd.to_datetime(frame["date"]) >= "2015-06-01"].to_parquet(folder / "closes.parquet")
    program = Program(binary, folder / "data", folder)
    program.succeed("data", "import", folder / "closes.parquet", "--name", "closes")
    return program


def computed(program: Program, features: dict[str, str], name: str) -> Path:
    lines = "".join(f"{key} = '{text}'\n" for key, text in features.items())
    (program.folder / f"{name}.toml").write_text(f"[features.custom]\n{lines}")
    out = program.folder / f"{name}.parquet"
    program.succeed("features", "compute", "--dataset", "closes", "--set", program.folder / f"{name}.toml", "--out", out)
    return out


def qlib(program: Program, table: Path, steps: list[dict]) -> pd.DataFrame:
    out = program.folder / "qlib.parquet"
    command = [qlib_python(), str(ORACLE), str(table), json.dumps(steps), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return indexed(out)


def indexed(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    frame["date"] = pd.to_datetime(frame["date"])
    return frame.set_index(["date", "symbol"]).sort_index()


def differ(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """The columns that are not the same."""
    theirs = theirs.reindex(ours.index)
    bad = []
    for column in ours.columns:
        left, right = ours[column].to_numpy(float), theirs[column].to_numpy(float)
        magnitude = np.nanmean(np.abs(np.where(np.isfinite(right), right, np.nan)))
        same = np.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE * magnitude, equal_nan=True)
        bad += [] if same else [column]
    return bad


@pytest.mark.parametrize(
    ("step", "expression", "features"),
    [
        ({"name": "CSRankNorm", "arguments": {"fields_group": "feature"}}, "(CSRank({x})-0.5)*3.46", ["MOM", "GAIN"]),
        ({"name": "CSZScoreNorm", "arguments": {"fields_group": "feature"}}, "CSZScore({x})", ["MOM", "GAIN"]),
        ({"name": "CSZScoreNorm", "arguments": {"fields_group": "feature", "method": "robust"}}, "CSRobustZScore({x})", ["MOM"]),
        ({"name": "CSZFillna", "arguments": {"fields_group": "feature"}}, "CSFill({x})", ["MOM", "GAIN"]),
        ({"name": "ProcessInf"}, "If(Abs({x})>1.7976931348623157e308,CSFill(({x})+(({x})-({x}))),{x})", ["MOM", "STILL"]),
    ],
)
def test_processors_across_instruments_are_expressions(closes: Program, step: dict, expression: str, features: list[str]) -> None:
    raw = {name: FEATURES[name] for name in features}
    theirs = qlib(closes, computed(closes, raw, "raw"), [step])
    ours = indexed(computed(closes, {name: expression.format(x=f"({text})") for name, text in raw.items()}, "wrapped"))
    assert differ(ours, theirs) == []
    assert differ(indexed(closes.folder / "raw.parquet"), theirs), "raw features would be noticed"


@pytest.mark.parametrize("name", ["RobustZScoreNorm", "ZScoreNorm", "MinMaxNorm"])
def test_processors_of_a_column_are_fitted_as_qlib_fits_them(closes: Program, name: str) -> None:
    infer = "".join(f'[[processors.infer]]\nname = "{step}"\n' for step in (name, "Fillna"))
    (closes.folder / "p.toml").write_text(PIPELINE % infer)
    bundle = closes.folder / f"bundle-{name}"
    closes.succeed("train", closes.folder / "p.toml", "--out", bundle)
    manifest = json.loads((bundle / "bundle.json").read_text())
    window = [manifest["splits"]["train"][edge] for edge in ("first_date", "last_date")]
    steps = manifest["processors"]["steps"]
    raw = {"MOM": FEATURES["MOM"], "VOL": "Std($close/Ref($close,1),20)"}
    table = computed(closes, raw, "columns")
    theirs = qlib(closes, table, [{"name": name, "fit": window}, {"name": "Fillna", "arguments": {"fields_group": "feature"}}])

    def apply(steps: list[dict]) -> pd.DataFrame:
        ours = indexed(table)
        for step in steps:
            if step["step"] == "scale":
                ours = (ours - np.array(step["center"], np.float32)) / np.array(step["scale"], np.float32)
            elif step["step"] == "clip":
                ours = ours.clip(-step["limit"], step["limit"])
            elif step["step"] == "fill":
                ours = ours.fillna(step["values"][0])
        return ours

    assert [step["step"] for step in steps] == (["scale", "clip", "fill"] if name == "RobustZScoreNorm" else ["scale", "fill"])
    assert differ(apply(steps), theirs) == []
    shifted = [step | {"center": [value * 1.01 + 1e-4 for value in step["center"]]} if step["step"] == "scale" else step for step in steps]
    assert differ(apply(shifted), theirs), "another centre would be noticed"
