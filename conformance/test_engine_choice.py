"""A deployment on another engine than its version's: asked for by name, held against the golden sample, never by itself."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from program import Program, environment

TOLERANCE = 1e-6


def network(path: Path) -> Path:
    """A small network with a softmax."""
    draw = np.random.default_rng(11)
    weights = [numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name) for name, shape in (("a", (6, 16)), ("b", (16, 3)))]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=1),
    ]
    tensor = lambda name, columns: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])  # noqa: E731
    graph = helper.make_graph(nodes, "network", [tensor("x", 6)], [tensor("y", 3)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library of Python's onnxruntime."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    return next(path for path in folder.iterdir() if path.name.startswith("libonnxruntime.so"))


def run(program: Program, library: Path | None, *arguments: str) -> subprocess.CompletedProcess:
    variables = environment() | ({"ORT_DYLIB_PATH": str(library)} if library else {})
    return subprocess.run(program.command(*arguments, "--json"), cwd=program.folder, env=variables, capture_output=True, text=True, timeout=120)


def test_an_engine_is_changed_by_name_alone(program: Program, library: Path, tmp_path: Path):
    path = network(tmp_path / "network.onnx")
    program.succeed("model", "upload", path, "--model", "network")
    program.succeed("endpoint", "create", "e")
    deploy = ("endpoint", "deploy", "e", "--model", "network", "--cpu-cores", "1", "--memory-gb", "1")
    first = program.succeed(*deploy)["deployment"]

    unknown = run(program, library, *deploy, "--engine", "magic")
    assert unknown.returncode == 2 and "rten, trees, onnxruntime" in json.loads(unknown.stdout)["error"]["message"]
    changed = run(program, library, *deploy, "--engine", "onnxruntime", "--traffic", f"0=100,{first}=0")
    assert changed.returncode == 0, changed.stdout
    second = json.loads(changed.stdout)["deployment"]
    uses = json.loads(run(program, library, "engines").stdout)["deployments"]
    assert {use["deployment"]: use["engine"] for use in uses} == {first: "rten", second: "onnxruntime"}

    os.environ["ORT_DYLIB_PATH"] = str(library)
    try:
        server = program.serve()
    finally:
        del os.environ["ORT_DYLIB_PATH"]
    try:
        x = np.random.default_rng(12).normal(size=(50, 6)).astype(np.float32)
        reply = server.post("/v1/projects/default/locations/l/endpoints/e:predict", {"instances": x.tolist()}).json
        assert reply["deployedModelId"] == second
        wanted = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        assert np.abs(np.array(reply["predictions"], np.float32) - wanted).max() <= TOLERANCE
        resource = json.loads(urllib.request.urlopen(f"{server.url}/v1/projects/default/locations/l/endpoints/e").read())
        engines = {one["id"]: one["resources"]["engine"].split()[0] for one in resource["deployedModels"]}
        assert engines == {first: "rten", second: "onnxruntime"}
        shown = program.succeed("engines", "--server", server.url)["deployments"]
        assert {use["deployment"]: use["engine"] for use in shown} == engines
    finally:
        assert server.stop() == 0


def test_an_engine_that_is_not_there_serves_nothing_else_instead(program: Program, tmp_path: Path):
    program.succeed("model", "upload", network(tmp_path / "network.onnx"), "--model", "network")
    program.succeed("endpoint", "create", "e")
    missing = tmp_path / "none.so"
    refused = run(
        program, missing, "endpoint", "deploy", "e", "--model", "network", "--memory-gb", "1", "--engine", "onnxruntime"
    )
    assert refused.returncode != 0
    assert "onnx" in json.loads(refused.stdout)["error"]["message"].lower()
    assert program.succeed("endpoint", "show", "e")["deployments"] == []
