"""Panels of random prices with a known amount of signal in them."""

from pathlib import Path

import numpy as np
import pandas as pd

NAMES = 60
TRAIN_DAYS, VALID_DAYS, TEST_DAYS = 2500, 250, 1000
WARM_UP_DAYS = 70
# The label of a date t is the return of day t + 2.
HORIZON = 2
LOOKBACK = 5
DAILY_VOLATILITY = 0.015


def prices(information_coefficient: float, seed: int) -> pd.DataFrame:
    """Closes of 60 names, one row a business day.

    The return of day t + 2 is, in each cross-section, `information_coefficient` times the standardised past
    5-day return at t, plus noise: the correlation of the two is the coefficient, by construction and on average.
    """
    random = np.random.default_rng(seed)
    days = WARM_UP_DAYS + TRAIN_DAYS + VALID_DAYS + TEST_DAYS + HORIZON
    returns = np.zeros((days, NAMES))
    log_price = np.zeros((days, NAMES))
    noise_share = np.sqrt(1 - information_coefficient**2)
    for day in range(days):
        noise = random.standard_normal(NAMES)
        known = day - HORIZON
        signal = np.zeros(NAMES)
        if known >= LOOKBACK:
            past = log_price[known] - log_price[known - LOOKBACK]
            signal = (past - past.mean()) / past.std()
        returns[day] = DAILY_VOLATILITY * (information_coefficient * signal + noise_share * noise)
        log_price[day] = log_price[day - 1] + returns[day] if day else returns[day]
    index = pd.bdate_range("2005-01-03", periods=days, name="date")
    symbols = [f"N{i:02d}" for i in range(NAMES)]
    return pd.DataFrame(100 * np.exp(log_price), index=index, columns=symbols)


def planted_rank_ic(frame: pd.DataFrame) -> float:
    """Mean daily rank correlation, in the test window, of the planted signal and the label."""
    signal = frame / frame.shift(LOOKBACK) - 1
    label = frame.shift(-2) / frame.shift(-1) - 1
    test = frame.index[-(TEST_DAYS + HORIZON) : -HORIZON]
    daily = signal.loc[test].rank(axis=1).corrwith(label.loc[test].rank(axis=1), axis=1)
    return float(daily.mean())


def write(folder: Path, name: str, information_coefficient: float, seed: int) -> Path:
    """Writes `NAME.csv` (long form) and `NAME.toml`, and returns the path of the pipeline file."""
    frame = prices(information_coefficient, seed)
    long = frame.stack().rename("close").rename_axis(["date", "symbol"]).reset_index()
    long["close"] = long["close"].round(6)
    long.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%d")
    days = frame.index.strftime("%Y-%m-%d")
    borders = np.cumsum([WARM_UP_DAYS, TRAIN_DAYS, VALID_DAYS])
    pipeline = folder / f"{name}.toml"
    pipeline.write_text(f"""\
version = 1
name = "{name}"

[data]
dataset = "{name}"
source = ["{name}.csv"]

[features]
set = "alpha158"
families = ["ROC", "MA", "STD", "RANK"]

[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 10

[split]
train = ["{days[borders[0]]}", "{days[borders[1] - 1]}"]
valid = ["{days[borders[1]]}", "{days[borders[2] - 1]}"]
test = ["{days[borders[2]]}", "{days[-1]}"]

[processors]
normalization = "robust_zscore"
clip = 3.0
nan = "reject"

[[model.layers]]
type = "dense"
units = 32
activation = "relu"

[[model.layers]]
type = "dense"
units = 10
activation = "softmax"

[fit]
epochs = 6
batch_size = 512
optimizer = {{ name = "adam", learning_rate = 0.001 }}
loss = "sparse_categorical_crossentropy"
metrics = ["accuracy"]
seed = 11

[deploy]
endpoint = "{name}"
cpu_cores = 1
memory_gb = 1
""")
    return pipeline
