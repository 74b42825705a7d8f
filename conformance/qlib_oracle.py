"""Features as pyqlib computes them; run by the test with the Python that has pyqlib.

    qlib_oracle.py BARS.parquet SET OUT.parquet

BARS has date, symbol and float32 fields; SET is alpha158, alpha360 or a JSON list of [name, expression]. OUT has date, symbol, one column a
feature; what is printed says how many seconds pyqlib took, by the clock and of the processor.
"""

import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd


def write_provider(bars: pd.DataFrame, folder: Path) -> None:
    """Qlib's own storage: a calendar, spans of the instruments, and per field a start index with float32 values."""
    days = np.sort(bars["date"].unique())
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("".join(f"{pd.Timestamp(day):%Y-%m-%d}\n" for day in days))
    (folder / "instruments").mkdir()
    spans = []
    fields = [name for name in bars.columns if name not in ("date", "symbol")]
    for symbol, own in bars.groupby("symbol"):
        own = own.set_index("date").sort_index()
        first, last = own.index[0], own.index[-1]
        span = days[(days >= first) & (days <= last)]
        spans.append(f"{symbol}\t{pd.Timestamp(first):%Y-%m-%d}\t{pd.Timestamp(last):%Y-%m-%d}\n")
        place = folder / "features" / str(symbol).lower()
        place.mkdir(parents=True)
        start = np.searchsorted(days, first)
        for field in fields:
            values = own[field].reindex(span).to_numpy(np.float32)
            np.concatenate([[np.float32(start)], values]).astype("<f4").tofile(place / f"{field}.day.bin")
    (folder / "instruments" / "all.txt").write_text("".join(spans))


def feature_list(name: str) -> tuple[list[str], list[str]]:
    """Names and expressions of a set."""
    from qlib.contrib.data.loader import Alpha158DL, Alpha360DL

    if name in ("alpha158", "alpha360"):
        loader = {"alpha158": Alpha158DL, "alpha360": Alpha360DL}[name]
        expressions, names = loader.get_feature_config()
        return list(names), list(expressions)
    pairs = json.loads(name)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def main() -> None:
    bars_file, name, out = sys.argv[1:4]
    bars = pd.read_parquet(bars_file)
    bars["date"] = pd.to_datetime(bars["date"])
    folder = Path(tempfile.mkdtemp())
    try:
        write_provider(bars, folder)
        import qlib
        from qlib.data import D

        qlib.init(provider_uri=str(folder), region="us", kernels=1, logging_level=logging.ERROR)
        names, expressions = feature_list(name)
        fields = {column for column in bars.columns}
        usable = [i for i, text in enumerate(expressions) if "vwap" in fields or "$vwap" not in text]
        names = [names[i] for i in usable]
        expressions = [expressions[i] for i in usable]
        begin, begin_cpu = time.perf_counter(), time.process_time()
        found = D.features(sorted(bars["symbol"].unique()), expressions, bars["date"].min(), bars["date"].max())
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        found.columns = names
        found = found.reset_index().rename(columns={"instrument": "symbol", "datetime": "date"})
        found.attrs = {}
        found.to_parquet(out)
        report = {"seconds": seconds, "cpu_seconds": cpu_seconds, "rows": len(found), "features": len(names)}
        print(json.dumps(report | {"version": qlib.__version__}))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
