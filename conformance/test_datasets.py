"""Data sets in time, through the wire: a later day is imported by REST, and what was known before stays as it was."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from program import REPOSITORY, Program, Server

N = "/v1/projects/default/locations/us-central1"
PIPELINE = """
version = 1
name = "later"
[data]
dataset = "closes"
source = "closes.csv"
[features]
set = "alpha158"
families = ["ROC", "STD", "RANK"]
[features.custom]
RELATIVE = "CSRank($close/Ref($close,5))"
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 3
[split]
train = ["2016-01-01", "2019-12-31"]
valid = ["2020-01-01", "2020-12-31"]
test = ["2021-01-01", "2022-12-31"]
[[model.layers]]
type = "dense"
units = 3
activation = "softmax"
[fit]
epochs = 1
seed = 3
"""


@dataclass
class Later:
    """A deployed model, and the days that its data set does not have yet."""

    program: Program
    days: pd.DataFrame


@pytest.fixture(scope="module")
def later(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Later:
    folder = tmp_path_factory.mktemp("later")
    closes = pd.read_parquet(REPOSITORY / "datasets" / "sp500-20" / "sp500_dataset.parquet")
    closes = closes[pd.to_datetime(closes["date"]) >= "2015-06-01"].reset_index(drop=True)
    closes["date"] = pd.to_datetime(closes["date"]).dt.strftime("%Y-%m-%d")
    closes[:-3].to_csv(folder / "closes.csv", index=False)
    (folder / "later.toml").write_text(PIPELINE)
    program = Program(binary, folder / "data", folder)
    assert program.run("run", folder / "later.toml").status == 0
    return Later(program, closes[-3:])


def csv(days: pd.DataFrame) -> bytes:
    return days.to_csv(index=False).encode()


def ask(server: Server, instances: list, as_of: str | None = None) -> tuple[np.ndarray, dict]:
    body = {"instances": instances} | ({"parameters": {"as_of": as_of}} if as_of else {})
    reply = server.post(f"{N}/endpoints/later:predict", body)
    assert reply.status == 200, reply.text
    return np.array(reply.json["predictions"]), reply.json


def test_a_later_day_is_served_as_it_is_computed_and_nothing_after_it_changes_that(later: Later) -> None:
    symbols = [name for name in later.days.columns if name != "date"]
    first, second, third = later.days["date"]
    instances = [{"symbol": symbol} for symbol in symbols]
    server = later.program.serve()
    before, _ = ask(server, instances)
    imported = server.post(f"{N}/datasets/closes:import", csv(later.days[:1]), "text/csv")
    assert imported.status == 200, imported.text
    assert imported.json["response"]["metadata"]["appended"]["added"] == len(symbols)
    by_symbol, reply = ask(server, instances, first)
    assert not np.array_equal(before, by_symbol), "the newest day has an answer of its own"
    used = reply["metadata"]["dataset"] if "metadata" in reply else reply
    assert first in str(used)

    # Two more days, one of them wild; the second again with other prices; the first corrected afterwards.
    wild = later.days[1:].copy()
    wild.loc[:, symbols] *= np.linspace(0.9, 1.3, len(symbols))
    corrected = later.days[:1].copy()
    corrected.loc[:, symbols] *= 1.01
    for days in (wild, later.days[1:2], corrected):
        done = server.post(f"{N}/datasets/closes:import?acceptJumps=all", csv(days), "text/csv")
        assert done.status == 200, done.text
    again, _ = ask(server, instances, first)
    assert np.array_equal(by_symbol, again), "what was known on the first day is still known so"
    newest, _ = ask(server, instances)
    assert not np.array_equal(by_symbol, newest)
    assert server.stop() == 0

    out = later.program.folder / "features.parquet"
    later.program.succeed(
        "features", "compute", "--dataset", "closes", "--set", later.program.folder / "later.toml", "--as-of", first, "--out", out
    )
    features = pd.read_parquet(out)
    rows = features[pd.to_datetime(features["date"]) == first].set_index("symbol").loc[symbols].drop(columns="date")
    server = later.program.serve()
    by_vector, _ = ask(server, [[float(value) for value in row] for row in rows.to_numpy()])
    assert server.stop() == 0
    assert np.array_equal(by_symbol, by_vector)
    assert not np.array_equal(by_vector, by_vector[::-1]), "so that rows in another order would be noticed"


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_the_same_bars_by_any_body_are_the_same_snapshot(later: Later, kind: str) -> None:
    frame = pd.DataFrame(
        {"date": pd.to_datetime(["2020-01-02", "2020-01-03"]), "symbol": ["A", "A"], "close": [10.25, 11.5], "volume": [100.0, 200.0]}
    )
    body, content = io.BytesIO(), {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "arrow": "application/vnd.apache.arrow.stream"}
    if kind == "csv":
        frame.to_csv(body, index=False)
    elif kind == "parquet":
        frame.to_parquet(body, index=False)
    else:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_stream(body, table.schema) as stream:
            stream.write_table(table)
    server = later.program.serve()
    created = server.post(f"{N}/datasets?datasetId=by-{kind}", body.getvalue(), content[kind])
    assert created.status == 200, created.text
    listed = server.get(f"{N}/datasets").json["datasets"]
    assert server.stop() == 0
    digests = {dataset["metadata"]["digest"] for dataset in listed if dataset["displayName"].startswith("by-")}
    assert len(digests) == 1
    stored = pd.read_parquet(later.program.data_dir / "datasets" / f"by-{kind}" / "1" / "bars.parquet")
    assert list(stored.columns) == ["date", "symbol", "known_time", "close", "volume"]
    assert list(stored["close"]) == [10.25, 11.5]
    assert list(stored["known_time"]) == [pd.Timestamp("2020-01-02 16:00"), pd.Timestamp("2020-01-03 16:00")]
