"""ONNX that others wrote, read by our import and run by our engines, beside onnxruntime in Python: single operators from the
`onnx` package, old versions of operators, trees and pipelines as they are exported.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

import onnx_trees
from onnx_cases import Case, cases, old_operators, whole_models
from onnx_import import Answer, Runner

# Largest difference of a tree's score, relative to the larger of 1 and the score.
TOLERANCE = 1e-6
# Cases whose answer on rten is not that of the `onnx` package, and why that is not refused.
KNOWN = {
    # Half floats are computed as float32, which is nearer to the truth than what the case records.
    "test_attention_4d_gqa_with_past_and_present_fp16",
    "test_attention_4d_gqa_with_past_and_present_fp16_expanded",
    # A value on the border of two steps falls to the other one.
    "test_dynamicquantizelinear_expanded",
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("onnx_import"))
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def operators() -> list[Case]:
    return cases()


def differs(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> str:
    """How two arrays differ, or nothing."""
    if got.shape != wanted.shape:
        return f"shape {got.shape}, not {wanted.shape}"
    if wanted.dtype.kind in "iub" and got.dtype.kind in "iub":
        return "" if np.array_equal(got.astype(np.int64), wanted.astype(np.int64)) else "other numbers"
    with np.errstate(all="ignore"):
        close = np.isclose(got.astype(np.float64), wanted.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True)
    return "" if close.all() else f"{np.count_nonzero(~close)} of {close.size} numbers"


def judged(case: Case, answer: Answer) -> tuple[str, str]:
    if answer.is_refused:
        return "refused", f"{answer.stage}: {answer.error}"
    for name, wanted in case.expected.items():
        largest = np.abs(wanted[np.isfinite(wanted)].astype(np.float64)).max(initial=1)
        if problem := differs(answer.outputs[name], wanted, max(case.rtol, 1e-3), max(case.atol, 1e-6 * largest)):
            return "wrong", f"{name}: {problem}"
    return "pass", ""


def test_the_engines_are_there(runner: Runner):
    engines = "\n".join(runner.engines())
    assert "BuiltIn" in engines and f'version: Some("{onnxruntime.__version__}")' in engines, engines


def in_python(case: Case) -> Case:
    """The case, with what onnxruntime in Python makes of it."""
    session = onnxruntime.InferenceSession(case.model, providers=["CPUExecutionProvider"])
    given = {value.name: value.type for value in session.get_inputs()}
    narrow = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    inputs = {name: x.astype(narrow.get(given[name], x.dtype)) for name, x in case.inputs.items()}
    return replace(case, expected=dict(zip(case.expected, session.run(list(case.expected), inputs))))


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
def test_single_operators(runner: Runner, operators: list[Case], engine: str, capsys: pytest.CaptureFixture):
    """No engine of ours gives an answer that is not ONNX's: what it cannot do it refuses."""
    assert len(operators) > 900
    counts, wrong, refused = defaultdict(Counter), {}, Counter()
    for case in operators:
        answer = runner.run(case.model, case.inputs, engine)
        verdict, detail = judged(case, answer)
        if verdict == "wrong" and engine == "onnxruntime" and judged(in_python(case), answer)[0] == "pass":
            verdict = "other than the case, as in Python"
        counts[verdict][case.operator] += 1
        if verdict == "wrong":
            wrong[case.name] = detail
        if verdict == "refused":
            refused[detail.split(":")[0]] += 1
    with capsys.disabled():
        totals = {verdict: sum(operators.values()) for verdict, operators in counts.items()}
        print(f"\n{engine}, cases of the onnx package {onnx.__version__}: {totals}; refused {dict(refused)}")
        print(f"  only refused: {', '.join(sorted(set(counts['refused']) - set(counts['pass'])))}")
        print(f"  wrong: {wrong}")
    assert set(wrong) == (KNOWN if engine == "rten" else set())
    assert sum(counts["pass"].values()) > len(operators) / 2


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
def test_old_operators_mean_what_they_meant(runner: Runner, engine: str):
    x = np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    passed = 0
    for name, opset, model in old_operators():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (wanted,) = session.run(["y"], {"x": x})
        answer = runner.run(model.SerializeToString(), {"x": x}, engine)
        if not answer.is_refused:
            assert differs(answer.outputs["y"], wanted, 1e-5, 1e-6) == "", (name, opset)
            passed += 1
    assert passed >= len(old_operators()) - 4


def by_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """What Python's onnxruntime gives on one thread; maps as arrays, in the order of their keys in the model. With more threads it
    adds trees in other orders, and labels of classes that are level depend on that.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))
    for name, values in outputs.items():
        if isinstance(values, list):
            outputs[name] = np.array([list(row.values()) for row in values], np.float32)
    return outputs


def compare(runner: Runner, model: onnx.ModelProto, x: np.ndarray, tolerance: float = TOLERANCE, wanted_kind: str = "trees") -> None:
    (input_name,) = [value.name for value in model.graph.input]
    for rows in (1, 5, 32, len(x)):
        wanted = by_onnxruntime(model, x[:rows])
        answer = runner.run(model.SerializeToString(), {input_name: x[:rows]})
        assert not answer.is_refused, answer.error
        assert answer.kind == wanted_kind, answer
        for name, values in wanted.items():
            if values.dtype == object:
                assert name not in answer.outputs and any("is text" in note for note in answer.notes)
                continue
            got = answer.outputs[name]
            assert got.shape == values.shape, (name, got.shape, values.shape)
            if values.dtype.kind == "i":
                assert np.array_equal(got, values), name
            else:
                assert differs(got, values, tolerance, tolerance) == "", (name, rows)


def test_exported_trees_are_those_of_onnxruntime(runner: Runner):
    models = onnx_trees.exported()
    assert len(models) >= 30
    for name, (model, takes_missing) in models.items():
        x = onnx_trees.features(700, seed=5, missing=0.05 if takes_missing else 0)
        try:
            compare(runner, model, x)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_a_changed_threshold_is_found(runner: Runner):
    model, _ = onnx_trees.exported()["lightgbm regression"]
    x = onnx_trees.features(700, seed=5)
    wanted = by_onnxruntime(model, x)["variable"]
    (values,) = [a for node in model.graph.node for a in node.attribute if a.name == "nodes_values"]
    values.floats[0] += 0.1
    answer = runner.run(model.SerializeToString(), {"input": x})
    assert differs(answer.outputs["variable"], wanted, TOLERANCE, TOLERANCE) != ""


def test_every_way_to_combine_trees(runner: Runner):
    x = np.round(onnx_trees.features(300, seed=6, missing=0.05), 1)
    problems = {}
    models = onnx_trees.by_hand()
    for name, model in models.items():
        try:
            # The approximation behind PROBIT takes the root of a difference of nearly equal numbers: near a score of one half half the
            # digits are lost, in onnxruntime as in ours.
            compare(runner, model, x, 1e-3 if "PROBIT" in name else TOLERANCE)
        except AssertionError as error:
            problems[name] = str(error)[:200]
    assert problems == {} and len(models) > 200


def test_the_newest_form_of_trees(runner: Runner):
    models = whole_models("TreeEnsemble")
    assert len(models) >= 2
    for case in models:
        answer = runner.run(case.model, case.inputs)
        assert (answer.kind, judged(case, answer)) == ("trees", ("pass", "")), (case.name, answer)


def test_pipelines_run_without_onnxruntime(runner: Runner):
    for name, model in onnx_trees.pipelines().items():
        x = onnx_trees.features(200, seed=7, missing=0.05 if "imputed" in name else 0)
        try:
            compare(runner, model, x, wanted_kind="rten")
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
