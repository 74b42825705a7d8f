"""Labels, windows and test metrics, computed without the binary."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


def label_returns(prices: pd.DataFrame) -> pd.DataFrame:
    """Ref($close,-2)/Ref($close,-1)-1: decided at t, traded at t+1, earned to t+2."""
    return prices.shift(-2) / prices.shift(-1) - 1


def classes(returns: pd.DataFrame, count: int) -> pd.DataFrame:
    """Per-date classes 0..count-1 by rank, ties at their average rank; NaN where the return is unknown."""
    rank = returns.rank(axis=1, method="average")
    known = returns.notna().sum(axis=1)
    return np.ceil((count * rank).div(known, axis=0)) - 1


def windows(index: pd.DatetimeIndex, split: dict, horizon: int) -> dict[str, pd.DatetimeIndex]:
    """Dates of each window, after the purge of the horizon and the embargo at each border."""
    names = ["train", "valid", "test"]
    found = {n: index[(index >= split[n][0]) & (index <= split[n][1])] for n in names}
    kept = dict(found)
    for earlier, later in zip(names, names[1:]):
        # A label of date t reads t + horizon: the last dates before the later window know of it.
        reach = index.searchsorted(found[later][0]) - horizon
        kept[earlier] = kept[earlier][kept[earlier] < index[reach]]
        after = index[index.searchsorted(found[earlier][-1]) + split.get("embargo_days", 5)]
        kept[later] = kept[later][kept[later] > after]
    return kept


@dataclass
class Metrics:
    """What the bundle records about its test window."""

    rows: int
    accuracy: float
    log_loss: float
    rank_ic_mean: float
    t_statistic: float
    icir: float
    days: int


def metrics(probabilities: np.ndarray, labels: np.ndarray, returns: np.ndarray, dates: np.ndarray) -> Metrics:
    """Rows are parallel; the score of a row is its expected class."""
    probabilities = probabilities.astype(np.float64)
    scores = probabilities @ np.arange(probabilities.shape[1])
    daily = []
    for date in np.unique(dates):
        day = dates == date
        if day.sum() >= 3 and np.ptp(scores[day]) > 0 and np.ptp(returns[day]) > 0:
            daily.append(stats.spearmanr(scores[day], returns[day]).statistic)
    daily = np.array(daily)
    icir = daily.mean() / daily.std(ddof=1)
    return Metrics(
        rows=len(labels),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        log_loss=float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        rank_ic_mean=float(daily.mean()),
        t_statistic=float(icir * np.sqrt(len(daily))),
        icir=float(icir),
        days=len(daily),
    )


def recorded(document: dict) -> Metrics:
    """The same figures as bundle.json holds them."""
    ic = document["rank_ic"]
    return Metrics(
        rows=document["rows"],
        accuracy=document["accuracy"],
        log_loss=document["log_loss"],
        rank_ic_mean=ic["mean"],
        t_statistic=ic["t_statistic"],
        icir=ic["icir"],
        days=ic["days"],
    )
