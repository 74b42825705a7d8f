"""A folder of CSV files, one a symbol, to a data set: 500 symbols x 1,200 days as Yahoo writes them, on one core.

Ours parses, checks, puts in order, examines and stores as Parquet with digests; pandas and polars only read the same files,
put them in order and write Parquet. Every engine is pinned to one core and runs in a process of its own.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from figures import Figures

RUNS = 5
SYMBOLS = 500
DAYS = 1_200

PEERS = {
    "pandas": """
import sys, pathlib, pandas as pd
frames = [pd.read_csv(p, parse_dates=["Date"]).assign(symbol=p.stem) for p in sorted(pathlib.Path(sys.argv[1]).iterdir())]
pd.concat(frames).sort_values(["Date", "symbol"]).to_parquet(sys.argv[2])
""",
    "polars": """
import sys, pathlib, polars as pl
frames = [pl.read_csv(p, try_parse_dates=True).with_columns(symbol=pl.lit(p.stem)) for p in sorted(pathlib.Path(sys.argv[1]).iterdir())]
pl.concat(frames).sort("Date", "symbol").write_parquet(sys.argv[2])
""",
}


def write_folder(folder: Path) -> int:
    """Writes the files, the same in every run; gives their size in bytes."""
    chance = random.Random(11)
    days, day = [], date(2015, 1, 1)
    while len(days) < DAYS:
        if day.weekday() < 5:
            days.append(day.isoformat())
        day += timedelta(days=1)
    size = 0
    for symbol in range(SYMBOLS):
        price, rows = 100.0, ["Date,Open,High,Low,Close,Volume"]
        for day in days:
            first, price = price, price * (1 + chance.gauss(0, 0.01))
            high, low = max(first, price) * 1.003, min(first, price) * 0.997
            rows.append(f"{day},{first:.6f},{high:.6f},{low:.6f},{price:.6f},{chance.randint(10_000, 9_999_999)}")
        size += (folder / f"S{symbol:03d}.csv").write_text("\n".join(rows) + "\n")
    return size


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a command on one core."""
    core = min(os.sched_getaffinity(0))
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{command[0]} failed with status {os.waitstatus_to_exitcode(status)}")
    # Linux counts ru_maxrss in KiB.
    return seconds, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    binary = os.environ["BELLWETHER"]
    figures = Figures("import")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "prices"
        folder.mkdir()
        megabytes = write_folder(folder) / 1e6
        case = f"{SYMBOLS * DAYS} rows"
        engines = {"bellwether": lambda at: [binary, "data", "import", str(folder), "--name", "prices", "--data-dir", str(at)]}
        for name, source in PEERS.items():
            version = __import__(name).__version__
            engines[f"{name} {version} (read, sort, write)"] = lambda at, source=source: [
                sys.executable, "-c", source, str(folder), f"{at}.parquet"
            ]
        for engine, command in engines.items():
            taken = [run(command(Path(root) / f"out-{abs(hash(engine))}-{i}")) for i in range(RUNS)]
            seconds = sorted(seconds for seconds, _ in taken)[RUNS // 2]
            figures.add(case, engine, "speed, median", megabytes / seconds, "MB/s")
            figures.add(case, engine, "speed, best", megabytes / min(seconds for seconds, _ in taken), "MB/s")
            figures.add(case, engine, "wall, median", seconds, "s")
            figures.add(case, engine, "peak memory", max(peak for _, peak in taken), "MB")
        figures.show("bellwether")


if __name__ == "__main__":
    main()
