"""Alpha158 on 500 instruments x 2,500 days (generated, seeded): ours beside pyqlib, and beside polars where it has the operators.

Every engine computes on one core; ours also on two. pyqlib takes a tenth of the instruments, since it needs minutes for all.
Beside the time by the clock there is the processor's, which a busy machine changes less: of pyqlib's computing, and of the whole
of our process, with reading and writing. Last a million bars are streamed, one after the other, through the same features.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from figures import Figures
from processes import clean_environment

HERE = Path(__file__).resolve().parent
INSTRUMENTS, DAYS, SHARE = 500, 2500, 10
WINDOWS = (5, 10, 20, 30, 60)


def generate(path: Path, instruments: int) -> None:
    """A random walk with float32 bars, as Qlib stores them."""
    rng = np.random.default_rng(7)
    shape = (DAYS, instruments)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.005, shape))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.005, shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.005, shape)))
    volume = np.round(np.exp(rng.normal(13, 0.6, shape)))
    days = pd.bdate_range("2010-01-04", periods=DAYS).date
    symbols = [f"S{i:03d}" for i in range(instruments)]
    bars = pd.DataFrame({"date": np.repeat(days, instruments), "symbol": np.tile(symbols, DAYS)})
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "vwap": (high + low + close) / 3}
    for name, values in fields.items():
        bars[name] = values.reshape(-1).astype(np.float32)
    bars.to_parquet(path)


def ours(folder: Path, features: str, cores: int) -> dict:
    """Our report, with the peak memory of the process in MB."""
    environment = clean_environment() | {"RAYON_NUM_THREADS": str(cores)}
    command = [os.environ["BELLWETHER"], "--data-dir", "data", "features", "compute", "--dataset", "bench", "--set", features,
               "--out", "features.parquet", "--json"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, range(cores)))
    report = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"features compute failed: {report}")
    return report | {"peak_mb": usage.ru_maxrss * 1024 / 1e6, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def qlib(bars: Path, folder: Path) -> dict:
    """What pyqlib took, on one core; the script is that of the conformance tests."""
    oracle = HERE.parent / "conformance" / "qlib_oracle.py"
    command = [sys.executable, str(oracle), str(bars), "alpha158", str(folder / "qlib.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    return json.loads(done.stdout.strip().splitlines()[-1])


def streamed() -> dict:
    """What a bar of a million took, streamed on one core: the example of the library, built if it is not."""
    command = ["cargo", "run", "--release", "--quiet", "--package", "market", "--example", "stream_bars"]
    subprocess.run([*command[:1], "build", *command[2:]], cwd=HERE.parent, check=True)
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    return json.loads(done.stdout)


def in_polars(bars: Path) -> tuple[float, int]:
    """Seconds and features of the families polars has rolling operators for."""
    frame = pl.read_parquet(bars).sort("symbol", "date").with_columns(pl.col("close", "high", "low").cast(pl.Float64))
    close = pl.col("close")
    features = []
    for d in WINDOWS:
        features += [
            (close.shift(d) / close).over("symbol").alias(f"ROC{d}"),
            (close.rolling_mean(d, min_samples=1) / close).over("symbol").alias(f"MA{d}"),
            (close.rolling_std(d, min_samples=1) / close).over("symbol").alias(f"STD{d}"),
            (pl.col("high").rolling_max(d, min_samples=1) / close).over("symbol").alias(f"MAX{d}"),
            (pl.col("low").rolling_min(d, min_samples=1) / close).over("symbol").alias(f"MIN{d}"),
            (close.rolling_quantile(0.8, interpolation="linear", window_size=d, min_samples=1) / close).over("symbol").alias(f"QTLU{d}"),
            (close.rolling_quantile(0.2, interpolation="linear", window_size=d, min_samples=1) / close).over("symbol").alias(f"QTLD{d}"),
        ]
    begin = time.perf_counter()
    frame.select(features)
    return time.perf_counter() - begin, len(features)


def main() -> None:
    if len(sys.argv) > 1:
        seconds, count = in_polars(Path(sys.argv[1]))
        print(json.dumps({"seconds": seconds, "features": count}))
        return
    figures = Figures("features")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bars, part = folder / "bars.parquet", folder / "part.parquet"
        generate(bars, INSTRUMENTS)
        generate(part, INSTRUMENTS // SHARE)
        subprocess.run([os.environ["BELLWETHER"], "--data-dir", "data", "data", "import", str(bars), "--name", "bench"], cwd=folder,
                       check=True, capture_output=True)
        for cores in (1, 2):
            runs = [ours(folder, "alpha158", cores) for _ in range(3)]
            best = min(runs, key=lambda run: run["compute_seconds"])
            engine = "bellwether" if cores == 1 else f"bellwether, {cores} cores"
            figures.add("alpha158", engine, "compute", best["compute_seconds"] / best["rows"] * 1e6, "s / M rows")
            figures.add("alpha158", engine, "whole process", min(run["cpu_seconds"] for run in runs) / best["rows"] * 1e6, "s / M rows")
            figures.add("alpha158", engine, "peak memory", max(run["peak_mb"] for run in runs), "MB")
            figures.add("alpha158", engine, "output", best["rows"] * best["features"] * 4 / 1e6, "MB")
        theirs = min((qlib(part, folder) for _ in range(3)), key=lambda run: run["seconds"])
        figures.add("alpha158", f"pyqlib {theirs['version']}", "compute", theirs["seconds"] / theirs["rows"] * 1e6, "s / M rows")
        figures.add("alpha158", f"pyqlib {theirs['version']}", "processor", theirs["cpu_seconds"] / theirs["rows"] * 1e6, "s / M rows")
        subset = folder / "subset.toml"
        subset.write_text('[features]\nset = "alpha158"\nfamilies = ["ROC", "MA", "STD", "MAX", "MIN", "QTLU", "QTLD"]\n')
        run = min((ours(folder, str(subset), 1) for _ in range(3)), key=lambda run: run["compute_seconds"])
        figures.add("35 of them", "bellwether", "compute", run["compute_seconds"] / run["rows"] * 1e6, "s / M rows")
        environment = os.environ | {"POLARS_MAX_THREADS": "1"}
        done = subprocess.run([sys.executable, __file__, str(bars)], capture_output=True, text=True, check=True, env=environment,
                              preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        took = json.loads(done.stdout)["seconds"]
        figures.add("35 of them", f"polars {pl.__version__}", "compute", took / (INSTRUMENTS * DAYS) * 1e6, "s / M rows")
    stream = streamed()
    for metric, key in (("a bar, mean", "mean_us"), ("a bar, median", "p50_us"), ("a bar, p99", "p99_us")):
        figures.add(f"{stream['bars']} bars", "bellwether, streamed", metric, stream[key], "us")
    figures.show("bellwether")


if __name__ == "__main__":
    main()
