"""Prints the table of src/metric/reference.rs, in double precision.

Made with keras 3.15.1 on tensorflow-cpu 2.21.0, scikit-learn 1.9.1 and scipy 1.17.1. 60 rows; logit i (row-major) is
round(8 sin(1.3 i + 0.5)) / 4, so that some are equal; numbers to hit are sin(0.9 i); the class of row i is
i^2 % 7 % 4, which leaves class 3 without rows, and of a single output whether that is 1 or more; the weight of row i is
0.3 + |sin(0.37 i)|, 0 for every seventh from 3 on; the date of row i is 7 i % 11.
"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import keras
import scipy.special
import scipy.stats
import sklearn.metrics as m

ROWS = 60
i = np.arange(ROWS)
WEIGHTS = np.where(i % 7 == 3, 0, 0.3 + np.abs(np.sin(0.37 * i))).astype(np.float32).astype(np.float64)
CLASSES = i**2 % 7 % 4
BINARY = (CLASSES >= 1).astype(int)
DATES = 7 * i % 11


def logits(units):
    return (np.round(8 * np.sin(1.3 * np.arange(ROWS * units) + 0.5)) / 4).reshape(ROWS, units)


def numbers(units):
    return np.sin(0.9 * np.arange(ROWS * units)).astype(np.float32).astype(np.float64).reshape(ROWS, units)


def keras_metric(metric, y, p):
    metric.update_state(y, p, sample_weight=WEIGHTS)
    return float(metric.result())


def daily(correlation, scores, returns):
    found = []
    for date in range(11):
        at = (DATES == date) & (WEIGHTS > 0)
        found.append(correlation(scores[at], returns[at]).statistic)
    return np.array(found)


rows = []
add = lambda name, case, value: rows.append((name, case, float(value)))
k = keras.metrics
x1, y1 = logits(1)[:, 0], BINARY
p1 = scipy.special.expit(x1)
add("accuracy", "Binary", keras_metric(k.BinaryAccuracy(dtype="float64"), y1[:, None], p1[:, None]))
add("precision", "Binary", keras_metric(k.Precision(dtype="float64"), y1, p1))
add("recall", "Binary", keras_metric(k.Recall(dtype="float64"), y1, p1))
add("f1_score", "Binary", m.f1_score(y1, p1 > 0.5, sample_weight=WEIGHTS))
add("auc", "Binary", m.roc_auc_score(y1, p1, sample_weight=WEIGHTS))
add("log_loss", "Binary", m.log_loss(y1, p1, sample_weight=WEIGHTS))
add("brier", "Binary", m.brier_score_loss(y1, p1, sample_weight=WEIGHTS))
x2 = logits(2)
p2 = scipy.special.softmax(x2, axis=1)
add("auc", "TwoClasses", m.roc_auc_score(y1, p2[:, 1], sample_weight=WEIGHTS))
add("brier", "TwoClasses", m.brier_score_loss(y1, p2[:, 1], sample_weight=WEIGHTS))
x4, y4 = logits(4), CLASSES
p4 = scipy.special.softmax(x4, axis=1)
hot = np.eye(4)[y4]
guess = x4.argmax(axis=1)
add("accuracy", "FourClasses", keras_metric(k.SparseCategoricalAccuracy(dtype="float64"), y4, p4))
add("top_2_categorical_accuracy", "FourClasses", keras_metric(k.SparseTopKCategoricalAccuracy(2), y4, x4.astype(np.float32)))
add("precision", "FourClasses", m.precision_score(y4, guess, labels=range(4), average="macro", zero_division=0, sample_weight=WEIGHTS))
add("recall", "FourClasses", m.recall_score(y4, guess, labels=range(4), average="macro", zero_division=0, sample_weight=WEIGHTS))
add("f1_score", "FourClasses", m.f1_score(y4, guess, labels=range(4), average="macro", zero_division=0, sample_weight=WEIGHTS))
assert abs(rows[-1][2] - keras_metric(k.F1Score(average="macro", dtype="float64"), hot, np.eye(4)[guess])) < 1e-6  # it counts equal outputs twice
add("auc", "FourClasses", np.mean([m.roc_auc_score(y4 == c, p4[:, c], sample_weight=WEIGHTS) for c in range(3)]))
add("log_loss", "FourClasses", m.log_loss(y4, p4, labels=range(4), sample_weight=WEIGHTS))
add("brier", "FourClasses", m.brier_score_loss(y4, p4, labels=range(4), sample_weight=WEIGHTS))
score = p4 @ np.arange(4)
add("ic", "FourClasses", daily(scipy.stats.pearsonr, score, y4.astype(float)).mean())
x, y = logits(2), numbers(2)
add("mse", "Numbers", keras_metric(k.MeanSquaredError(dtype="float64"), y, x))
add("mae", "Numbers", keras_metric(k.MeanAbsoluteError(dtype="float64"), y, x))
add("r2_score", "Numbers", m.r2_score(y, x, sample_weight=WEIGHTS))
assert abs(rows[-1][2] - keras_metric(k.R2Score(dtype="float64"), y, x)) < 1e-6
s, r = logits(1)[:, 0], numbers(1)[:, 0]
pearson, spearman = daily(scipy.stats.pearsonr, s, r), daily(scipy.stats.spearmanr, s, r)
add("ic", "Number", pearson.mean())
add("rank_ic", "Number", spearman.mean())
add("icir", "Number", pearson.mean() / pearson.std(ddof=1))
add("rank_icir", "Number", spearman.mean() / spearman.std(ddof=1))
for name, case, value in rows:
    print(f'    ("{name}", {case}, {value!r}),')
matrix = m.confusion_matrix(y4, guess, labels=range(4))
print("confusion of FourClasses, without weights:", matrix.tolist())
print("t statistic of the ic of Number:", scipy.stats.ttest_1samp(pearson, 0).statistic)
