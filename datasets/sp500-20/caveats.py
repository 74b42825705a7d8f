"""Computes the numbers that ORIGIN.md states about the prices of this folder.

    pip install pandas pyarrow && python caveats.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parent
PERIODS = [("1990", "1999"), ("2000", "2009"), ("2010", "2022")]
TICK = 0.001


def prices(name: str) -> pd.DataFrame:
    frame = pd.read_parquet(FOLDER / f"{name}.parquet")
    return frame.set_index(pd.to_datetime(frame["date"])).drop(columns="date")


def main() -> None:
    for name in ["sp500_dataset", "sp500_index", "factors_dataset"]:
        frame = prices(name)
        off_grid = int((np.abs(frame / TICK - np.round(frame / TICK)) > 1e-6).sum().sum())
        print(f"{name}: {len(frame)} days {frame.index[0]:%Y-%m-%d}..{frame.index[-1]:%Y-%m-%d}, {frame.shape[1]} symbols, "
              f"{int(frame.isna().sum().sum())} missing, {off_grid} prices that are no multiple of {TICK}")
    stocks = prices("sp500_dataset")
    for first, last in PERIODS:
        part = stocks[first:last]
        tick = (100 * TICK / part.min()).sort_values(ascending=False)
        median = (100 * TICK / part.median()).sort_values(ascending=False)
        zero = (part.pct_change().iloc[1:] == 0).mean() * 100
        labels = (stocks.shift(-2) / stocks.shift(-1) - 1)[first:last].dropna()
        tied = np.mean([len(set(row)) < len(row) for row in labels.to_numpy()]) * 100
        top = ", ".join(f"{s} {v:.2f}" for s, v in tick.head(3).items())
        mid = ", ".join(f"{s} {v:.2f}" for s, v in median.head(3).items())
        flat = ", ".join(f"{s} {v:.1f}" for s, v in zero.sort_values(ascending=False).head(3).items())
        print(f"{first}-{last}: tick in % of the lowest price: {top}; of the median price: {mid}; "
              f"returns exactly 0: {zero.mean():.2f} % (most: {flat}); dates with tied labels: {tied:.1f} %")
    returns = stocks.pct_change().stack()
    for (date, symbol), value in returns[returns.abs() > 0.5].items():
        print(f"jump: {symbol} {date:%Y-%m-%d} {100 * value:+.1f} %")
    growth = (stocks.iloc[-1] / stocks.iloc[0]) ** (365.25 / (stocks.index[-1] - stocks.index[0]).days) - 1
    index = prices("sp500_index")["SP500"]
    index_growth = (index.iloc[-1] / index.iloc[0]) ** (365.25 / (index.index[-1] - index.index[0]).days) - 1
    print(f"growth a year: median stock {100 * growth.median():.1f} %, worst {growth.idxmin()} {100 * growth.min():.1f} %, "
          f"index (price only) {100 * index_growth:.1f} %, stocks above the index: {int((growth > index_growth).sum())} of {len(growth)}")


if __name__ == "__main__":
    main()
