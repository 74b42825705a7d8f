"""`features compute` against live pyqlib 0.9.7 on the whole bokeh-sampledata panel."""

import json
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from program import Program, qlib_python

ORACLE = Path(__file__).with_name("qlib_oracle.py")
# Relative difference; Qlib rounds to float32 before it correlates, which these families feel most.
TOLERANCE = 1e-6
LOOSE = {"CORR": 1e-4, "CORD": 1e-4, "WVMA": 1e-4}


@dataclass
class Market:
    """The panel as a data set of ours and as a file for the oracle."""

    program: Program
    bars: Path
    folder: Path


@pytest.fixture(scope="module")
def market(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Market:
    folder = tmp_path_factory.mktemp("features")
    stocks = files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with stocks.open("rb") as file:
        bars = pd.read_csv(file, compression="gzip").rename(columns=str.lower).rename(columns={"ticker": "symbol"})
    bars = bars.drop(columns="adj close")
    # Qlib keeps float32; both sides compute from the same rounded bars.
    for field in ("open", "high", "low", "close", "volume"):
        bars[field] = bars[field].astype(np.float32)
    bars["date"] = pd.to_datetime(bars["date"])
    bars.to_parquet(folder / "bars.parquet")
    program = Program(binary, folder / "data", folder)
    done = program.run("data", "import", str(folder / "bars.parquet"), "--name", "bokeh", "--accept-jumps=all", "--json")
    assert done.status == 0, done.stderr
    return Market(program, folder / "bars.parquet", folder)


def qlib(market: Market, features: str) -> pd.DataFrame:
    out = market.folder / "qlib.parquet"
    command = [qlib_python(), str(ORACLE), str(market.bars), features, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return indexed(out)


def ours(market: Market, features: str) -> pd.DataFrame:
    out = market.folder / "ours.parquet"
    done = market.program.run("features", "compute", "--dataset", "bokeh", "--set", features, "--out", str(out), "--json")
    assert done.status == 0, done.stderr
    return indexed(out)


def indexed(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    table["date"] = pd.to_datetime(table["date"])
    return table.set_index(["date", "symbol"]).sort_index()


def differing(expected: pd.DataFrame, found: pd.DataFrame) -> dict[str, str]:
    """What is wrong with each feature that is not the oracle's, on the rows that `found` has."""
    assert len(found) > 0
    expected = expected.loc[found.index]
    assert list(expected.columns) == list(found.columns)
    wrong = {}
    for name in expected.columns:
        theirs, own = expected[name].to_numpy(np.float64), found[name].to_numpy(np.float64)
        masks = np.isnan(theirs) != np.isnan(own)
        if masks.any():
            wrong[name] = f"{masks.sum()} values missing on one side, first at {found.index[masks.argmax()]}"
            continue
        tolerance = LOOSE.get(name.rstrip("0123456789"), TOLERANCE)
        known = ~np.isnan(theirs)
        # A value near 0, where float32 leaves few digits, is measured against the feature's mean magnitude.
        magnitude = np.maximum(np.abs(theirs[known]), np.abs(theirs[known]).mean())
        difference = np.abs(own[known] - theirs[known]) / np.maximum(magnitude, np.finfo(np.float32).tiny)
        if known.any() and difference.max() > tolerance:
            wrong[name] = f"relative difference {difference.max():.2g} at {found.index[known][difference.argmax()]}"
    return wrong


@pytest.mark.parametrize("features", ["alpha158", "alpha360"])
def test_every_feature_is_qlibs(market: Market, features: str) -> None:
    expected, found = qlib(market, features), ours(market, features)
    symbols = found.index.get_level_values("symbol").nunique()
    lookback = 60 if features == "alpha158" else 59
    assert len(found) == len(expected) - lookback * symbols
    assert differing(expected, found) == {}


# Every operator that Alpha158 and Alpha360 leave out.
OTHERS = {
    "CORR0": "Cov($close,$volume,20)",
    "CHANGE": "ChangeInstrument('AAPL',Mean($close,5))/$close",
    "DECAYS": "Sum($close,0.2)+Std($volume,0.1)-Max($high,0.4)+Count($low,0.5)",
    "DECAYMED": "Med($close,0.3)-Min($low,0.25)+Var($open,0.7)",
    "DELTA": "Delta($close,3)-Delta($close,0)",
    "EMA": "EMA($close,12)-EMA($close,0.3)",
    "EMA0": "EMA($close,0)/$close",
    "EXPANDING": "Mean($close,0)/Std($close,0)",
    "EXTREMES": "Max($high,0)-Min($low,0)+IdxMax($high,0)",
    "FIRST": "Ref($close,0)/$close",
    "IF": "If($close>Mean($close,5),$close,0-$open)",
    "KURT": "Kurt($close,15)",
    "LOGIC": "And($close>$open,Or($volume>0,Not($close<$open)))",
    "SIGN": "Sign($close-$open)+Ne($close,$open)",
    "MAD": "Mad($close,9)",
    "MASK": "Mask($close,'AAPL')/$close",
    "MED": "Med($close,11)+Count($close,4)",
    "POWER": "Power($close/$open,2)*Abs($open-$close)",
    "QUANTILE": "Quantile($close,0,0.3)/Rank($close,0)",
    "SKEW": "Skew($volume,15)",
    "SLOPE": "Slope($close,0)+Resi($close,0)",
    "VAR": "Var($close,7)",
    "WMA": "WMA($close,8)",
}


def test_the_other_operators_are_qlibs(market: Market) -> None:
    expected = qlib(market, json.dumps(sorted(list(pair) for pair in OTHERS.items())))
    own = market.folder / "others.toml"
    own.write_text("[features.custom]\n" + "".join(f'{name} = "{text}"\n' for name, text in OTHERS.items()))
    assert differing(expected, ours(market, str(own))) == {}


def test_a_wrong_formula_is_noticed(market: Market) -> None:
    expected = qlib(market, json.dumps([["A", "Slope($close,5)/$close"], ["B", "Corr($close,$volume,20)"]]))
    wrong = market.folder / "wrong.toml"
    wrong.write_text('[features.custom]\nA = "Slope($close,6)/$close"\nB = "Corr($close,Log($volume),20)"\n')
    assert set(differing(expected, ours(market, str(wrong)))) == {"A", "B"}
