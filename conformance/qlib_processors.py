"""Qlib's own processors over a table of features, in the environment that has pyqlib: TABLE STEPS.json OUT.

STEPS is a list of {"name", "arguments", "fit"}: with "fit", the first and last day the processor is fitted on.
"""

import json
import sys

import pandas as pd
from qlib.data.dataset import processor as processors


def main(table: str, steps: str, out: str) -> None:
    frame = pd.read_parquet(table)
    frame["date"] = pd.to_datetime(frame["date"])
    frame = frame.set_index(["date", "symbol"]).sort_index().astype(float)
    frame.index.names = ["datetime", "instrument"]
    frame.columns = pd.MultiIndex.from_product([["feature"], frame.columns])
    for step in json.loads(steps):
        arguments = dict(step.get("arguments", {}))
        if "fit" in step:
            arguments |= {"fit_start_time": step["fit"][0], "fit_end_time": step["fit"][1], "fields_group": "feature"}
        made = getattr(processors, step["name"])(**arguments)
        if "fit" in step:
            made.fit(frame)
        frame = made(frame)
    frame.columns = frame.columns.get_level_values(1)
    frame.index.names = ["date", "symbol"]
    frame.reset_index().to_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
