"""Models of trees: as LightGBM, XGBoost and scikit-learn are exported, and by hand with every way of ONNX-ML to combine trees."""

import itertools
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper

FEATURES = 10


def features(rows: int, seed: int = 0, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, FEATURES)).astype(np.float32)
    x[random.random(x.shape) < missing] = np.nan
    return x


def targets(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A number, two classes, three classes."""
    y = 2 * x[:, 0] + x[:, 1] ** 2 + np.sin(3 * x[:, 2])
    return y.astype(np.float32), (y > 1).astype(int), np.digitize(y, [-0.5, 1.5])


def exported() -> dict[str, tuple[onnx.ModelProto, bool]]:
    """Models by name, and whether they take missing values."""
    import lightgbm
    import xgboost
    from onnxmltools.convert import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from skl2onnx import to_onnx
    from sklearn import ensemble, tree
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = features(600)
    number, two, three = targets(x)
    positive, share = np.abs(number), np.clip(np.abs(number) / 20, 0, 1)
    kinds = [("input", FloatTensorType([None, FEATURES]))]
    models: dict[str, tuple[onnx.ModelProto, bool]] = {}

    def lgb(name: str, model, y: np.ndarray, **form) -> None:
        models[f"lightgbm {name}"] = convert_lightgbm(model.fit(x, y), initial_types=kinds, **form), True

    lgb("regression", lightgbm.LGBMRegressor(n_estimators=60, verbose=-1), number)
    lgb("quantile", lightgbm.LGBMRegressor(objective="quantile", alpha=0.9, n_estimators=20, verbose=-1), number)
    lgb("poisson", lightgbm.LGBMRegressor(objective="poisson", n_estimators=20, verbose=-1), positive)
    forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    lgb("random forest", lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, **forest), number)
    for zipmap in (True, False):
        lgb(f"binary, zipmap={zipmap}", lightgbm.LGBMClassifier(n_estimators=30, verbose=-1), two, zipmap=zipmap)
        lgb(f"multiclass, zipmap={zipmap}", lightgbm.LGBMClassifier(n_estimators=30, verbose=-1), three, zipmap=zipmap)
    with_missing = features(600, missing=0.1)
    lgb_missing = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1).fit(with_missing, number)
    models["lightgbm missing"] = convert_lightgbm(lgb_missing, initial_types=kinds), True

    def xgb(name: str, model, y: np.ndarray) -> None:
        models[f"xgboost {name}"] = convert_xgboost(model.fit(with_missing, y), initial_types=kinds), True

    xgb("regression", xgboost.XGBRegressor(n_estimators=40), number)
    xgb("poisson", xgboost.XGBRegressor(objective="count:poisson", n_estimators=20), positive)
    xgb("logistic", xgboost.XGBRegressor(objective="reg:logistic", n_estimators=20), share)
    xgb("binary", xgboost.XGBClassifier(n_estimators=30), two)
    xgb("multiclass", xgboost.XGBClassifier(n_estimators=30), three)

    def skl(name: str, model, y: np.ndarray, **form) -> None:
        versions = {"": 18, "ai.onnx.ml": 3}
        models[f"sklearn {name}"] = to_onnx(model.fit(x, y), x[:1], target_opset=versions, **form), False

    plain = {"options": {"zipmap": False}}
    text = np.array(["low", "mid", "high"])[three]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        skl("forest regression", ensemble.RandomForestRegressor(30, random_state=0), number)
        skl("forest of two targets", ensemble.RandomForestRegressor(10, random_state=0), np.stack([number, -number], axis=1))
        skl("forest binary", ensemble.RandomForestClassifier(30, random_state=0), two)
        skl("forest multiclass", ensemble.RandomForestClassifier(30, random_state=0), three)
        skl("forest multiclass, zipmap=False", ensemble.RandomForestClassifier(30, random_state=0), three, **plain)
        skl("forest with labels of text", ensemble.RandomForestClassifier(10, random_state=0), text)
        skl("extra trees", ensemble.ExtraTreesClassifier(20, random_state=0), three)
        skl("boosting regression", ensemble.GradientBoostingRegressor(n_estimators=30), number)
        skl("boosting binary", ensemble.GradientBoostingClassifier(n_estimators=30), two)
        skl("boosting multiclass", ensemble.GradientBoostingClassifier(n_estimators=30), three)
        skl("boosting multiclass, zipmap=False", ensemble.GradientBoostingClassifier(n_estimators=30), three, **plain)
        skl("one tree", tree.DecisionTreeClassifier(random_state=0), three)
        skl("bagging", ensemble.BaggingClassifier(n_estimators=5, random_state=0), three)
        skl("AdaBoost", ensemble.AdaBoostClassifier(n_estimators=5, random_state=0), three)
        skl("scaled forest", make_pipeline(StandardScaler(), ensemble.RandomForestClassifier(10, random_state=0)), three)
        voting = [("a", ensemble.RandomForestRegressor(5, random_state=0)), ("b", ensemble.GradientBoostingRegressor(n_estimators=5))]
        skl("voting", ensemble.VotingRegressor(voting), number)
        skl("stacking", ensemble.StackingRegressor(voting), number)
    return models


def pipelines() -> dict[str, onnx.ModelProto]:
    """Scikit-learn without trees, written in ONNX-ML's operators."""
    from skl2onnx import to_onnx
    from sklearn import linear_model
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Binarizer, Normalizer, StandardScaler

    x = features(600)
    number, two, three = targets(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {
            "linear": make_pipeline(StandardScaler(), linear_model.LinearRegression()).fit(x, number),
            "ridge, two targets": linear_model.Ridge().fit(x, np.stack([number, -number], axis=1)),
            "imputed lasso": make_pipeline(SimpleImputer(), linear_model.Lasso(alpha=0.01)).fit(features(600, missing=0.1), number),
            "logistic, binary": make_pipeline(StandardScaler(), linear_model.LogisticRegression()).fit(x, two),
            "logistic, multiclass": make_pipeline(Normalizer(), linear_model.LogisticRegression()).fit(x, three),
            "normalised l1": make_pipeline(Normalizer("l1"), linear_model.LinearRegression()).fit(x, number),
            "binarised": make_pipeline(Binarizer(threshold=0.3), linear_model.LinearRegression()).fit(x, number),
            "mlp": MLPClassifier((16,), max_iter=30, random_state=0).fit(x, three),
        }
    return {name: to_onnx(model, x[:1], target_opset={"": 18, "ai.onnx.ml": 3}) for name, model in models.items()}


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]


def attributes(random: np.random.Generator, part: str, positive: bool, weighed: list[int], one: bool = False) -> dict:
    """Three random trees of seven nodes; every leaf weighs for `weighed`, or for one of them."""
    nodes, weights = [], []
    for tree in range(3):
        for at in range(7):
            if at < 3:
                threshold = float(np.round(random.normal(), 1))
                nodes.append((tree, at, str(random.choice(MODES)), int(random.integers(FEATURES)), threshold, 2 * at + 1, 2 * at + 2,
                              int(random.integers(2))))
            else:
                nodes.append((tree, at, "LEAF", 0, 0.0, 0, 0, 0))
                for target in [int(random.choice(weighed))] if one else weighed:
                    weight = float(random.random() / 4 + 0.01 if positive else random.normal())
                    weights.append((tree, at, target, weight))
    columns = ["nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_values", "nodes_truenodeids",
               "nodes_falsenodeids", "nodes_missing_value_tracks_true"]
    found = dict(zip(columns, map(list, zip(*nodes))))
    of_weights = [f"{part}_treeids", f"{part}_nodeids", f"{part}_ids", f"{part}_weights"]
    return found | dict(zip(of_weights, map(list, zip(*weights))))


def ensemble(operator: str, outputs: list[tuple[str, int, list]], form: dict) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x"], [name for name, _, _ in outputs], domain="ai.onnx.ml", **form)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])
    graph = helper.make_graph([node], "g", [x], [helper.make_tensor_value_info(*output) for output in outputs])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def by_hand() -> dict[str, onnx.ModelProto]:
    """Every aggregate, transform, count of targets or classes, kind of base values and of weights."""
    random = np.random.default_rng(3)
    models = {}
    for aggregate, transform, count, base in itertools.product(["SUM", "AVERAGE", "MIN", "MAX"], TRANSFORMS, [1, 2, 3], [False, True]):
        form = attributes(random, "target", transform == "PROBIT", list(range(count)))
        form |= {"n_targets": count, "aggregate_function": aggregate, "post_transform": transform}
        if base:
            form["base_values"] = [0.1 * (at + 1) for at in range(count)]
        models[f"regressor {aggregate} {transform} {count} base={base}"] = ensemble(
            "TreeEnsembleRegressor", [("y", TensorProto.FLOAT, ["N", count])], form)
    weighed = [(2, [0]), (2, [1]), (2, [0, 1]), (3, [0, 1, 2]), (3, [0, 2])]
    for transform, positive, base, (classes, each), one in itertools.product(
            TRANSFORMS, [True, False], [0, 1, 2, 3], weighed, [False, True]):
        if base > classes or (classes == 3 and base in (1, 2)) or (one and len(each) == 1):
            continue
        # Where only the first of two classes is weighed, onnxruntime leaves what the second gets unwritten.
        if classes == 2 and ((one and base == 1) or (transform == "PROBIT" and base < 2 and (one or each == [0]))):
            continue
        form = attributes(random, "class", positive, each, one)
        form |= {"classlabels_int64s": [3, 7, 11][:classes], "post_transform": transform}
        if base:
            form["base_values"] = [0.05 * (at + 1) for at in range(base)]
        outputs = [("label", TensorProto.INT64, ["N"]), ("y", TensorProto.FLOAT, ["N", classes])]
        name = f"classifier {transform} {classes} weighed={each} one={one} positive={positive} base={base}"
        models[name] = ensemble("TreeEnsembleClassifier", outputs, form)
    return models
