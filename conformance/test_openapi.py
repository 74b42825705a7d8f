"""`/openapi.json` is a valid document, and the server does what it says: `schemathesis` finds no error of ours."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from program import Program, Server, wire_python

# What is not offered, is not ready, or took too long: said so in the documentation.
ALLOWED = ["2xx", "3xx", "4xx", "501", "503", "504"]
SECONDS_MAX = 120
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"


@pytest.fixture(scope="module")
def guarded(quickstart, tmp_path_factory) -> tuple[Server, str]:
    """A server that may be broken, and an administrator's key: whoever makes keys at random would lock itself out."""
    folder = tmp_path_factory.mktemp("openapi")
    shutil.copytree(quickstart.program.data_dir, folder / "data")
    program = Program(quickstart.program.binary, folder / "data", folder)
    key = program.succeed("key", "create", "--scope", "admin", "--all-projects")["key"]
    server = program.serve("--default-model", "sp500-deciles")
    yield server, key
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture(scope="module")
def document(guarded, tmp_path_factory) -> Path:
    server, key = guarded
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    subprocess.run(["curl", "-sSf", "-H", f"x-api-key: {key}", f"{server.url}/openapi.json", "-o", path], check=True)
    return path


def walked(guarded, document: Path, parameters: str, *arguments: str) -> None:
    server, key = guarded
    config = document.parent / "schemathesis.toml"
    config.write_text(f"{parameters}\n[checks.not_a_server_error]\nexpected-statuses = {json.dumps(ALLOWED)}\n")
    command = [
        str(Path(wire_python()).parent / "schemathesis"), "--config-file", str(config), "run", str(document),
        "--url", server.url, "--header", f"x-api-key: {key}", "--checks", CHECKS, "--request-timeout", "20",
        "--seed", "1", "--warnings", "off", "--no-color", *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=document.parent)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    assert "Tested: 0" not in done.stdout and "generated" in done.stdout, done.stdout[-2000:]


def test_the_document_is_valid(document: Path):
    command = [wire_python(), "-m", "openapi_spec_validator", str(document)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0 and "OK" in done.stdout, done.stdout + done.stderr
    paths = json.loads(document.read_text())["paths"]
    assert len(paths) > 60 and "post" in paths["/v1/models/{model}:predict"]


def test_whatever_is_sent_no_error_is_ours(guarded, document: Path):
    walked(guarded, document, "", "--phases", "examples,coverage,fuzzing", "--max-examples", "8")


def test_whatever_a_model_is_asked_no_error_is_ours(guarded, document: Path):
    names = (
        '[parameters]\n"path.model" = "sp500-deciles"\n"path.version" = 2\n"path.label" = "default"\n'
        '"path.endpoint" = "sp500-deciles"\n"path.project" = "default"\n'
    )
    included = [f"--include-path-regex={word}" for word in ["infer$|:predict$|:classify$|:regress$|invocations$|/stats$"]]
    walked(guarded, document, names, "--phases", "coverage,fuzzing", "--max-examples", "25", *included)
    server, key = guarded
    assert "panicked" not in server.log.read_text()


def test_the_walk_can_fail(guarded, document: Path):
    told = json.loads(document.read_text())
    told["paths"] = {"/v2": told["paths"]["/v2"]}
    told["paths"]["/v2"]["get"]["responses"]["200"]["content"] = {"text/html": {}}
    wrong = document.parent / "wrong.json"
    wrong.write_text(json.dumps(told))
    with pytest.raises(AssertionError, match="(?i)content.type"):
        walked(guarded, wrong, "", "--phases", "fuzzing", "--max-examples", "2")
