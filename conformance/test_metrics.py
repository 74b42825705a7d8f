"""The bundle's features, windows, processors and test metrics, recomputed from the prices alone."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import evaluation
from bundle import Bundle

# A feature is float32 in the model; ours are float64 by another order of additions.
FEATURE_RELATIVE, FEATURE_ABSOLUTE = 1e-5, 1e-6
PROCESSOR_RELATIVE, PROCESSOR_ABSOLUTE = 1e-4, 1e-6
# Accuracy: a class may flip where two probabilities are equal within float32.
TOLERANCES = {"rows": 0, "days": 0, "accuracy": 2e-4, "log_loss": 1e-5, "rank_ic_mean": 2e-4, "t_statistic": 2e-2, "icir": 6e-4}
EMBARGO_DAYS = 5


@dataclass
class TestWindow:
    """Rows of the test window, instrument by date."""

    __test__ = False
    rows: np.ndarray
    labels: np.ndarray
    returns: np.ndarray
    dates: np.ndarray


def split(bundle: Bundle) -> dict:
    import tomllib

    return tomllib.loads(bundle.manifest["pipeline"])["split"]


def window_rows(bundle: Bundle, prices: pd.DataFrame, features: dict, window: pd.DatetimeIndex) -> TestWindow:
    returns = evaluation.label_returns(prices)
    labels = evaluation.classes(returns, bundle.manifest["label"]["classes"])
    parts = [
        (features[s].reindex(window)[bundle.feature_names], labels.loc[window, s], returns.loc[window, s]) for s in prices
    ]
    known = [label.notna().to_numpy() for _, label, _ in parts]
    return TestWindow(
        rows=np.concatenate([x.to_numpy(np.float32)[k] for (x, _, _), k in zip(parts, known)]),
        labels=np.concatenate([y.to_numpy()[k].astype(int) for (_, y, _), k in zip(parts, known)]),
        returns=np.concatenate([r.to_numpy()[k] for (_, _, r), k in zip(parts, known)]),
        dates=np.concatenate([window.to_numpy()[k] for k in known]),
    )


@pytest.fixture(scope="module")
def windows(bundle: Bundle, prices: pd.DataFrame) -> dict[str, pd.DatetimeIndex]:
    return evaluation.windows(prices.index, split(bundle), horizon=2)


@pytest.fixture(scope="module")
def held_out(bundle, prices, features, windows) -> TestWindow:
    return window_rows(bundle, prices, features, windows["test"])


def mismatches(found: evaluation.Metrics, expected: evaluation.Metrics) -> list[str]:
    return [
        f"{name}: {getattr(found, name)} against {getattr(expected, name)} (tolerance {tolerance})"
        for name, tolerance in TOLERANCES.items()
        if not abs(getattr(found, name) - getattr(expected, name)) <= tolerance
    ]


def test_features_are_qlibs(bundle: Bundle, features: dict):
    golden = bundle.manifest["golden"]
    found, _ = bundle.golden()
    assert len(golden["rows"]) == len(found) >= 20
    for row, values in zip(golden["rows"], found):
        expected = features[row["symbol"]].loc[row["date"], bundle.feature_names].to_numpy()
        close = np.isclose(values, expected, rtol=FEATURE_RELATIVE, atol=FEATURE_ABSOLUTE, equal_nan=True)
        wrong = {n: (v, e) for n, v, e, ok in zip(bundle.feature_names, values, expected, close) if not ok}
        assert not wrong, f"{row}: {wrong}"


def test_the_check_of_features_can_fail(bundle: Bundle, features: dict):
    row, values = bundle.manifest["golden"]["rows"][0], bundle.golden()[0][0]
    day_before = features[row["symbol"]].loc[: row["date"], bundle.feature_names].iloc[-2].to_numpy()
    assert not np.allclose(values, day_before, rtol=FEATURE_RELATIVE, atol=FEATURE_ABSOLUTE, equal_nan=True)


def test_windows_are_purged_and_embargoed(bundle: Bundle, windows: dict):
    recorded = bundle.manifest["splits"]
    assert recorded["horizon_bars"] == 2 and recorded["embargo_days"] == EMBARGO_DAYS
    for name, dates in windows.items():
        found = recorded[name]
        expected = (f"{dates[0]:%Y-%m-%d}", f"{dates[-1]:%Y-%m-%d}", len(dates))
        assert (found["first_date"], found["last_date"], found["dates"]) == expected, name
    assert [border["name"] for border in recorded["borders"]] == ["train/valid", "valid/test"]
    for border in recorded["borders"]:
        assert (len(border["purged"]), len(border["embargoed"])) == (2, EMBARGO_DAYS)


def test_processors_were_fitted_on_the_training_window_only(bundle, prices, features, windows):
    fitted = bundle.manifest["processors"]
    scale_of = lambda rows: (np.nanmedian(np.abs(rows - np.nanmedian(rows, axis=0)), axis=0) + 1e-12) * 1.4826  # noqa: E731
    train = window_rows(bundle, prices, features, windows["train"])
    assert fitted["rows"] == len(train.rows) == bundle.manifest["splits"]["train"]["rows"]
    near = dict(rtol=PROCESSOR_RELATIVE, atol=PROCESSOR_ABSOLUTE)
    rows = train.rows.astype(np.float64)
    np.testing.assert_allclose(fitted["center"], np.nanmedian(rows, axis=0), **near)
    np.testing.assert_allclose(fitted["fill"], np.nanmedian(rows, axis=0), **near)
    np.testing.assert_allclose(fitted["scale"], scale_of(rows), **near)
    # Fitted on all dates it would be another scale: the check can fail.
    whole = np.concatenate([frame[bundle.feature_names].to_numpy() for frame in features.values()])
    assert not np.allclose(fitted["scale"], scale_of(whole), **near)


def test_recorded_metrics_are_recomputed_from_the_saved_model(bundle, held_out, tensorflow):
    found = evaluation.metrics(tensorflow(held_out.rows), held_out.labels, held_out.returns, held_out.dates)
    assert mismatches(found, evaluation.recorded(bundle.manifest["metrics"])) == []


def test_labels_of_another_day_give_other_metrics(bundle, prices, features, windows, tensorflow, held_out):
    late = window_rows(bundle, prices.shift(-1), features, windows["test"])
    assert len(late.labels) == len(held_out.labels) - prices.shape[1]
    found = evaluation.metrics(tensorflow(late.rows), late.labels, late.returns, late.dates)
    wrong = {line.split(":")[0] for line in mismatches(found, evaluation.recorded(bundle.manifest["metrics"]))}
    assert {"log_loss", "rank_ic_mean", "t_statistic"} <= wrong
