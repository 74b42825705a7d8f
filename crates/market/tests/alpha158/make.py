"""Computes golden.json: made-up bars of two instruments and their Alpha158 features, by pandas and numpy.

    python make.py > golden.json        (pandas 2.3.3, numpy 2.4.6)

An independent reading of Qlib's definitions, one window at a time: pandas' running sums drift, and a golden value
should not. The bars hold what goes wrong: ties (coarse ticks), a flat stretch, days without a bar, and days
without volume.
"""

import json
import sys

import numpy as np
import pandas as pd

BARS = 100
WINDOWS = [5, 10, 20, 30, 60]
ROWS = [0, 1, 2, 7, 29, 33, 40, 58, 59, 60, 61, 62, 75, 84, 99]


def bars(seed, price, tick):
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.02, BARS)))
    close[60:75] = close[60]
    open_ = close * np.exp(rng.normal(0, 0.01, BARS))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.01, BARS)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.01, BARS)))
    vwap = (high + low + close) / 3
    prices = {"open": open_, "high": high, "low": low, "close": close, "vwap": vwap}
    frame = pd.DataFrame({name: np.round(np.round(values / tick) * tick, 6) for name, values in prices.items()})
    frame["volume"] = np.round(rng.lognormal(10, 1, BARS))
    frame.loc[[20, 45], "volume"] = 0.0
    frame.loc[[3, 33, 34, 84], :] = np.nan
    return frame


def rolling(x, window, function):
    """function(values of the window) with NaN for what is missing; at least one value is there."""
    clean = x.astype(float).replace([np.inf, -np.inf], np.nan)
    return clean.rolling(window, min_periods=1).apply(function, raw=True)


def known(values):
    return values[~np.isnan(values)]


def line(values):
    """Slope, residual at the newest bar, squared correlation over the known points."""
    at = np.flatnonzero(~np.isnan(values))
    y = values[at]
    if len(y) < 2:
        return np.nan, np.nan, np.nan
    x = at - at.mean()
    slope = (x * (y - y.mean())).sum() / (x * x).sum()
    newest = len(values) - 1
    fitted = y.mean() + slope * (newest - at.mean())
    spread = ((y - y.mean()) ** 2).sum()
    flat = np.all(y == y[0])
    square = np.nan if flat else (x * (y - y.mean())).sum() ** 2 / ((x * x).sum() * spread)
    return slope, values[newest] - fitted, square


def std(values):
    values = known(values)
    if len(values) < 2:
        return np.nan
    return 0.0 if np.all(values == values[0]) else values.std(ddof=1)


def rank(values):
    if np.isnan(values[-1]):
        return np.nan
    return pd.Series(values).rank(pct=True).iloc[-1]


def corr(a, b, window):
    a, b = (x.replace([np.inf, -np.inf], np.nan) for x in (a, b))
    result = []
    for end in range(1, len(a) + 1):
        x, y = a.iloc[max(0, end - window) : end].to_numpy(), b.iloc[max(0, end - window) : end].to_numpy()
        both = ~(np.isnan(x) | np.isnan(y))
        x, y = x[both], y[both]
        flat = len(x) < 2 or np.all(x == x[0]) or np.all(y == y[0])
        result.append(np.nan if flat else np.corrcoef(x, y)[0, 1])
    return pd.Series(result)


def mean(x, window):
    return rolling(x, window, lambda v: known(v).mean())


def total(x, window):
    return rolling(x, window, lambda v: known(v).sum())


def maximum(a, b):
    return pd.Series(np.maximum(a, b))  # NaN if either is


def features(frame):
    o, h, l, c, w, v = (frame[name] for name in ["open", "high", "low", "close", "vwap", "volume"])
    out = {
        "KMID": (c - o) / o,
        "KLEN": (h - l) / o,
        "KMID2": (c - o) / (h - l + 1e-12),
        "KUP": (h - maximum(o, c)) / o,
        "KUP2": (h - maximum(o, c)) / (h - l + 1e-12),
        "KLOW": (-maximum(-o, -c) - l) / o,
        "KLOW2": (-maximum(-o, -c) - l) / (h - l + 1e-12),
        "KSFT": (2 * c - h - l) / o,
        "KSFT2": (2 * c - h - l) / (h - l + 1e-12),
        "OPEN0": o / c,
        "HIGH0": h / c,
        "LOW0": l / c,
        "VWAP0": w / c,
    }
    before, volume_before = c.shift(1), v.shift(1)
    up, down, move = maximum(c - before, 0), maximum(before - c, 0), (c - before).abs()
    v_up, v_down, v_move = maximum(v - volume_before, 0), maximum(volume_before - v, 0), (v - volume_before).abs()
    turn = (c / before - 1).abs() * v
    log_volume, log_ratio = np.log(v + 1), np.log(v / volume_before + 1)
    families = {
        "ROC": lambda d: c.shift(d) / c,
        "MA": lambda d: mean(c, d) / c,
        "STD": lambda d: rolling(c, d, std) / c,
        "BETA": lambda d: rolling(c, d, lambda y: line(y)[0]) / c,
        "RSQR": lambda d: rolling(c, d, lambda y: line(y)[2]),
        "RESI": lambda d: rolling(c, d, lambda y: line(y)[1]) / c,
        "MAX": lambda d: rolling(h, d, np.nanmax) / c,
        "MIN": lambda d: rolling(l, d, np.nanmin) / c,
        "QTLU": lambda d: rolling(c, d, lambda y: np.nanquantile(y, 0.8)) / c,
        "QTLD": lambda d: rolling(c, d, lambda y: np.nanquantile(y, 0.2)) / c,
        "RANK": lambda d: rolling(c, d, rank),
        "RSV": lambda d: (c - rolling(l, d, np.nanmin))
        / (rolling(h, d, np.nanmax) - rolling(l, d, np.nanmin) + 1e-12),
        "IMAX": lambda d: rolling(h, d, lambda y: y.argmax() + 1) / d,
        "IMIN": lambda d: rolling(l, d, lambda y: y.argmin() + 1) / d,
        "IMXD": lambda d: (rolling(h, d, lambda y: y.argmax() + 1) - rolling(l, d, lambda y: y.argmin() + 1)) / d,
        "CORR": lambda d: corr(c, log_volume, d),
        "CORD": lambda d: corr(c / before, log_ratio, d),
        "CNTP": lambda d: mean(c > before, d),
        "CNTN": lambda d: mean(c < before, d),
        "CNTD": lambda d: mean(c > before, d) - mean(c < before, d),
        "SUMP": lambda d: total(up, d) / (total(move, d) + 1e-12),
        "SUMN": lambda d: total(down, d) / (total(move, d) + 1e-12),
        "SUMD": lambda d: (total(up, d) - total(down, d)) / (total(move, d) + 1e-12),
        "VMA": lambda d: mean(v, d) / (v + 1e-12),
        "VSTD": lambda d: rolling(v, d, std) / (v + 1e-12),
        "WVMA": lambda d: rolling(turn, d, std) / (mean(turn, d) + 1e-12),
        "VSUMP": lambda d: total(v_up, d) / (total(v_move, d) + 1e-12),
        "VSUMN": lambda d: total(v_down, d) / (total(v_move, d) + 1e-12),
        "VSUMD": lambda d: (total(v_up, d) - total(v_down, d)) / (total(v_move, d) + 1e-12),
    }
    for family, formula in families.items():
        for window in WINDOWS:
            out[f"{family}{window}"] = formula(window)
    return out


def plain(values):
    return [None if not np.isfinite(x) else float(f"{x:.12g}") for x in values]


def main():
    document = {"rows": ROWS, "instruments": []}
    for seed, price, tick in [(1, 100.0, 0.01), (2, 3.0, 0.125)]:
        frame = bars(seed, price, tick)
        document["instruments"].append(
            {
                "bars": {name: plain(frame[name]) for name in frame},
                "features": {name: plain(values.iloc[ROWS]) for name, values in features(frame).items()},
            }
        )
    text = json.dumps(document)
    sys.stdout.write(text.replace("], \"", "],\n\"") + "\n")


if __name__ == "__main__":
    main()
