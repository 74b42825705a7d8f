"""Metrics from their definitions, in float64: what Keras approximates (AUC), lacks (IC) or computes in float32."""

import numpy as np
from scipy import stats

EPSILON = 1e-7


class Measured:
    """Outputs, targets, weights and days of rows; targets are classes, or as many numbers as outputs."""

    def __init__(self, outputs: np.ndarray, targets: np.ndarray, classes: bool, weights: np.ndarray | None, days: np.ndarray | None):
        self.outputs = outputs.astype(np.float64)
        self.targets = targets.astype(np.int64)[:, 0] if classes else targets.astype(np.float64)
        self.weights = np.ones(len(outputs)) if weights is None else weights.astype(np.float64)
        self.days = days

    def of(self, metric: str | dict) -> tuple[str, float]:
        """The name a metric is reported by, and its figure."""
        if isinstance(metric, dict):
            return f"top_{metric['k']}_categorical_accuracy", self.top_k(metric["k"])
        return metric, float(getattr(self, metric)())

    @property
    def single(self) -> bool:
        return self.outputs.shape[1] == 1

    @property
    def probabilities(self) -> np.ndarray:
        """[rows, classes]; a single output is the probability of class 1."""
        return np.hstack([1 - self.outputs, self.outputs]) if self.single else self.outputs

    @property
    def one_hot(self) -> np.ndarray:
        return np.eye(self.probabilities.shape[1])[self.targets]

    def mean(self, of_row: np.ndarray) -> float:
        return float(np.average(of_row, weights=self.weights))

    def accuracy(self) -> float:
        return self.mean(self.probabilities.argmax(axis=1) == self.targets)

    def top_k(self, k: int) -> float:
        own = self.outputs[np.arange(len(self.outputs)), self.targets]
        return self.mean((self.outputs > own[:, None]).sum(axis=1) < k)

    def log_loss(self) -> float:
        kept = np.clip(self.probabilities, EPSILON, 1 - EPSILON)
        return self.mean(-(self.one_hot * np.log(kept)).sum(axis=1))

    def brier(self) -> float:
        squares = ((self.probabilities - self.one_hot) ** 2).sum(axis=1)
        return self.mean(squares / 2 if self.probabilities.shape[1] == 2 else squares)

    def by_class(self, of) -> float:
        """Of class 1 by a single output, else the mean over classes; `of` takes hits, rows of it, rows said to be."""
        said = self.probabilities.argmax(axis=1)
        figures = []
        for label in [1] if self.single else range(self.outputs.shape[1]):
            hits, actual, predicted = (
                float(self.weights[rows].sum()) for rows in ((said == label) & (self.targets == label), self.targets == label, said == label)
            )
            figures.append(of(hits, actual, predicted))
        return float(np.mean(figures))

    def precision(self) -> float:
        return self.by_class(lambda hits, actual, predicted: hits / predicted if predicted else 0.0)

    def recall(self) -> float:
        return self.by_class(lambda hits, actual, predicted: hits / actual if actual else 0.0)

    def f1_score(self) -> float:
        return self.by_class(lambda hits, actual, predicted: 2 * hits / (actual + predicted) if actual + predicted else 0.0)

    def auc(self) -> float:
        """The share of pairs in the right order; of several classes the mean, each against the rest."""
        areas = []
        for label in [1] if self.probabilities.shape[1] == 2 else range(self.outputs.shape[1]):
            scores, own = self.probabilities[:, label], self.targets == label
            ahead = scores[own][:, None] - scores[~own][None, :]
            pairs = self.weights[own][:, None] * self.weights[~own][None, :]
            areas.append((pairs * ((ahead > 0) + 0.5 * (ahead == 0))).sum() / pairs.sum())
        return float(np.mean(areas))

    def mse(self) -> float:
        return self.mean(((self.outputs - self.targets) ** 2).mean(axis=1))

    def mae(self) -> float:
        return self.mean(np.abs(self.outputs - self.targets).mean(axis=1))

    def r2_score(self) -> float:
        centre = np.average(self.targets, axis=0, weights=self.weights)
        residual = (self.weights[:, None] * (self.outputs - self.targets) ** 2).sum(axis=0)
        return float((1 - residual / (self.weights[:, None] * (self.targets - centre) ** 2).sum(axis=0)).mean())

    def daily(self, correlation) -> np.ndarray:
        found = []
        for day in np.unique(self.days):
            own = self.days == day
            found.append(correlation(self.outputs[own, 0], self.targets[own, 0]).statistic if own.sum() >= 3 else np.nan)
        return np.array(found)[~np.isnan(found)]

    def ic(self) -> float:
        return self.daily(stats.pearsonr).mean()

    def rank_ic(self) -> float:
        return self.daily(stats.spearmanr).mean()

    def icir(self) -> float:
        return self.daily(stats.pearsonr).mean() / self.daily(stats.pearsonr).std(ddof=1)

    def rank_icir(self) -> float:
        return self.daily(stats.spearmanr).mean() / self.daily(stats.spearmanr).std(ddof=1)
