"""The close-only features of Qlib's Alpha158, in pandas and numpy, written from Qlib's definitions.

Independent of the binary on purpose: rolling windows count bars, are allowed to be short (min_periods=1) and
skip missing values, as Qlib's do. Rows with less than a full history are for the caller to leave out.
"""

import numpy as np
import pandas as pd

WINDOWS = (5, 10, 20, 30, 60)
FAMILIES = ("ROC", "MA", "STD", "BETA", "RSQR", "RESI", "QTLU", "QTLD", "RANK",
            "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD")
# ROC60 reads the close 60 bars ago.
LOOKBACK_BARS = 60


def features(close: pd.Series) -> pd.DataFrame:
    """75 columns for the closes of one instrument without gaps."""
    before = close.shift(1)
    up, down = (close > before).astype(float), (close < before).astype(float)
    gain, loss = np.maximum(close - before, 0), np.maximum(before - close, 0)
    change = (close - before).abs()
    columns = {}
    for d in WINDOWS:
        window = close.rolling(d, min_periods=1)
        slope, r_square, residual = regression(close, d)
        moved = change.rolling(d, min_periods=1).sum() + 1e-12
        gained = gain.rolling(d, min_periods=1).sum()
        lost = loss.rolling(d, min_periods=1).sum()
        up_share = up.rolling(d, min_periods=1).mean()
        down_share = down.rolling(d, min_periods=1).mean()
        columns |= {
            f"ROC{d}": close.shift(d) / close,
            f"MA{d}": window.mean() / close,
            f"STD{d}": window.std() / close,
            f"BETA{d}": slope / close,
            f"RSQR{d}": r_square,
            f"RESI{d}": residual / close,
            f"QTLU{d}": window.quantile(0.8) / close,
            f"QTLD{d}": window.quantile(0.2) / close,
            f"RANK{d}": window.rank(pct=True),
            f"CNTP{d}": up_share,
            f"CNTN{d}": down_share,
            f"CNTD{d}": up_share - down_share,
            f"SUMP{d}": gained / moved,
            f"SUMN{d}": lost / moved,
            f"SUMD{d}": (gained - lost) / moved,
        }
    # Qlib's column order: family by family, each with its windows.
    return pd.DataFrame(columns)[[f"{family}{d}" for family in FAMILIES for d in WINDOWS]]


def regression(series: pd.Series, d: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Slope, squared correlation and last residual of a line through each full window; NaN before."""
    values = np.lib.stride_tricks.sliding_window_view(series.to_numpy(), d)
    x = np.arange(1, d + 1) - (d + 1) / 2
    y = values - values.mean(axis=1, keepdims=True)
    slope = y @ x / (x @ x)
    total = (y * y).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r_square = slope**2 * (x @ x) / total
    r_square[np.sqrt(total / (d - 1)) <= 2e-5] = np.nan
    residual = y[:, -1] - slope * x[-1]

    def aligned(column: np.ndarray) -> pd.Series:
        return pd.Series(np.concatenate([np.full(d - 1, np.nan), column]), index=series.index)

    return aligned(slope), aligned(r_square), aligned(residual)
