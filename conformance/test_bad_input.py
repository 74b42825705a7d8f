"""Wrong input, through the binary and over the wire: a clear error with the way out, and nothing changed. What is wrong with bodies and
connections whatever the model is in test_hostile.py."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

import planted
from conftest import Quickstart
from program import REPOSITORY, Program, Server

INVALID, NOT_FOUND, PRECONDITION = 2, 3, 4
PREDICT = "/v1/projects/default/locations/us-central1/endpoints/sp500-deciles:predict"
GOOD_CSV = "date,symbol,close\n2020-01-02,AAA,10\n2020-01-02,BBB,20\n2020-01-03,AAA,10.1\n2020-01-03,BBB,19.9\n"


def state(data_dir: Path) -> dict[str, str]:
    """Digest of every stored object, and the rows of the registry."""
    found = {}
    for folder in ["datasets", "artifacts"]:
        for path in sorted((data_dir / folder).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(data_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
    registry = data_dir / "registry.sqlite"
    if registry.exists():
        with sqlite3.connect(f"file:{registry}?mode=ro", uri=True) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            for table in tables:
                rows = sorted(map(repr, connection.execute(f'SELECT * FROM "{table}"')))
                # An empty registry is as good as none; its schema is not the user's state.
                if rows and table != "_sqlx_migrations":
                    found[table] = repr(rows)
        connection.close()
    return found


@pytest.fixture
def refused(program: Program):
    """Runs a verb that must fail with a status and say some words, changing nothing."""

    def check(status: int, words: list[str], *arguments: str | Path) -> None:
        before = state(program.data_dir)
        outcome = program.run(*arguments, "--json")
        assert outcome.status == status, f"{outcome.status}: {outcome.stderr}"
        message = outcome.error["message"]
        for word in words:
            assert word in message, f"{word!r} is not in: {message}"
        assert message in outcome.stderr and "panicked" not in outcome.stderr
        assert state(program.data_dir) == before

    return check


def csv(folder: Path, text: str) -> Path:
    path = folder / "prices.csv"
    path.write_text(text)
    return path


def test_good_data_is_imported(program: Program, tmp_path: Path):
    program.succeed("data", "import", csv(tmp_path, GOOD_CSV), "--name", "good")
    assert "good" in json.dumps(program.succeed("data", "list"))
    assert state(program.data_dir)


def test_a_missing_file(refused, tmp_path: Path):
    refused(NOT_FOUND, ["absent.csv"], "data", "import", tmp_path / "absent.csv", "--name", "x")


def test_an_unreadable_file(refused, tmp_path: Path):
    path = tmp_path / "prices.parquet"
    path.write_bytes(b"PAR1" + bytes(range(256)) + b"PAR1")
    refused(INVALID, ["prices.parquet"], "data", "import", path, "--name", "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("date,symbol,close", "date,symbol,prize"), ["prices.csv", "close"]),
        (("2020-01-03,AAA", "03.01.2020x,AAA"), ["prices.csv", "03.01.2020x", "line 4"]),
        (("2020-01-03,BBB", "2020-01-03,AAA"), ["prices.csv", "AAA", "2020-01-03"]),
        (("AAA,10.1", "AAA,0"), ["prices.csv", "line 4", "\"close\""]),
        (("AAA,10.1", "AAA,-10.1"), ["prices.csv", "line 4", "-10.1"]),
        (("AAA,10.1", "AAA,inf"), ["prices.csv", "inf"]),
        (("AAA,10.1", "AAA,ten"), ["prices.csv", "ten"]),
        (("AAA,10.1", "AAA,5.0"), ["AAA", "2020-01-03", "--accept-jumps"]),
        ((GOOD_CSV, ""), ["prices.csv"]),
    ],
    ids=["column", "date", "duplicate", "zero", "negative", "infinite", "word", "split", "empty"],
)
def test_bad_prices(refused, tmp_path: Path, change: tuple[str, str], words: list[str]):
    text = GOOD_CSV.replace(*change)
    assert text != GOOD_CSV
    refused(INVALID, words, "data", "import", csv(tmp_path, text), "--name", "x")


def test_a_jump_can_be_accepted(program: Program, tmp_path: Path):
    path = csv(tmp_path, GOOD_CSV.replace("AAA,10.1", "AAA,5.0"))
    program.succeed("data", "import", path, "--name", "jump", "--accept-jumps=AAA:2020-01-03")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[split]", "[split]\nembargo = 3"), ["embargo", "embargo_days"]),
        (("epochs = 10", "epoch = 10"), ["epoch", "epochs"]),
        (("Ref($close,-2)/Ref($close,-1)-1", "Reff($close,-2)-1"), ["Reff", "Ref"]),
        (("Ref($close,-2)/Ref($close,-1)-1", "Ref($clse,-2)/$clse"), ["$clse", "close"]),
        (('test = ["2018-01-01", "2022-12-31"]', 'test = ["2030-01-01", "2031-12-31"]'), ["test", "2030", "2022-12-28"]),
        (('valid = ["2015-01-01"', 'valid = ["2014-01-01"'), ["valid", "train"]),
        (('[features]', '[features.custom]\nahead = "Ref($close,-1)/$close"\n[features]'), ["ahead"]),
        (('"AAPL", "AMD"', '"APPL", "AMD"'), ["APPL", "AAPL"]),
        (("units = 10\n", "units = 7\n"), ["7", "10"]),
    ],
    ids=["key", "nested-key", "operator", "field", "empty-split", "overlap", "look-ahead", "symbol", "units"],
)
def test_a_bad_pipeline(program: Program, refused, tmp_path: Path, change: tuple[str, str], words: list[str]):
    text = (REPOSITORY / "examples" / "sp500-deciles.toml").read_text()
    changed = text.replace(change[0], change[1], 1)
    assert changed != text
    # Imported before, so that the refused run finds the data it would have brought.
    folder = REPOSITORY / "datasets" / "sp500-20"
    program.succeed("data", "import", *sorted(folder.glob("*.parquet")), "--name", "sp500-20")
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(changed.replace('source = "builtin:sp500-20"', ""))
    refused(INVALID, words, "train", pipeline, "--out", tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "bundle.json").exists()


def test_the_operator_is_named_with_its_position(program: Program, tmp_path: Path):
    text = (REPOSITORY / "examples" / "sp500-deciles.toml").read_text()
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(text.replace("Ref($close,-2)/Ref($close,-1)-1", "Ref($close,-2)/Reff($close,-1)-1"))
    message = program.run("train", pipeline, "--json").error["message"]
    assert "Reff" in message and "16" in message, message


@pytest.mark.parametrize("file", ["model.onnx", "saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_bundle_with_a_wrong_digest(quickstart: Quickstart, refused, tmp_path: Path, file: str):
    folder = Path(shutil.copytree(quickstart.bundle_folder, tmp_path / "bundle"))
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)
    refused(INVALID, [file], "model", "upload", folder)


def test_a_bundle_without_a_file_or_of_another_version(quickstart: Quickstart, refused, tmp_path: Path):
    folder = Path(shutil.copytree(quickstart.bundle_folder, tmp_path / "bundle"))
    text = (folder / "bundle.json").read_text()
    manifest = json.loads(text)
    (folder / "bundle.json").write_text(json.dumps(manifest | {"version": "99"}))
    refused(INVALID, ["99"], "model", "upload", folder)
    (folder / "bundle.json").write_text(text)
    (folder / "model.onnx").rename(folder / "elsewhere.onnx")
    outcome_words = ["model.onnx"]
    refused(INVALID, outcome_words, "model", "upload", folder)


def test_an_address_that_is_not_loopback(refused):
    refused(INVALID, ["0.0.0.0"], "serve", "--listen", "0.0.0.0:0")


def test_a_second_process_is_told_who_holds_the_data_directory(quickstart: Quickstart, server: Server):
    outcome = quickstart.program.run("model", "list", "--json")
    assert outcome.status == PRECONDITION
    message = outcome.error["message"]
    assert str(server.process.pid) in message and "--server" in message and server.url in message


def test_verbs_work_through_a_server(quickstart: Quickstart, server: Server):
    listed = quickstart.program.succeed("model", "list", "--server", server.url)
    assert "sp500-deciles" in json.dumps(listed)
    said = quickstart.program.succeed(
        "predict", "--endpoint", "sp500-deciles", "--symbol", "AAPL,MSFT", "--as-of", "2022-12-28", "--server", server.url
    )
    assert [row["symbol"] for row in said["predictions"]] == ["AAPL", "MSFT"] and said["version"] == 2


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"instances": [[0.0] * 74]}, 400, ["74", "75"]),
        ({"instances": [{"symbol": "APPL"}]}, (400, 404), ["APPL", "AAPL"]),
        ({"instances": [{"symbol": "AAPL"}], "parameters": {"as_of": "1980-01-02"}}, 400, ["1980-01-02"]),
        ({"instances": [{"symbol": "AAPL"}], "parameters": {"as_of": "1990-02-01"}}, 400, ["1990-02-01"]),
        ({"instances": [{"symbol": "AAPL"}], "parameters": {"as_of": "2022-13-01"}}, 400, ["2022-13-01"]),
    ],
    ids=["length", "symbol", "before-data", "short-history", "no-date"],
)
def test_a_bad_prediction_request(quickstart, server: Server, body, status, words):
    before = state(quickstart.program.data_dir)
    reply = server.post(PREDICT, body)
    assert reply.status in (status if isinstance(status, tuple) else (status,)), reply.text
    error = reply.json["error"]
    assert error["code"] == reply.status and error["status"] in ("INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "FAILED_PRECONDITION")
    for word in words:
        assert word in error["message"], error["message"]
    assert state(quickstart.program.data_dir) == before


def test_unknown_endpoints_models_and_routes(server: Server):
    unknown = server.post(PREDICT.replace("sp500-deciles", "sp500-decile"), {"instances": [[0.0] * 75]})
    assert unknown.status == 404 and "sp500-decile" in unknown.json["error"]["message"]
    assert "sp500-deciles" in unknown.json["error"]["message"], "it does not name what exists"
    assert server.get("/v1/projects/default/locations/us-central1/models/none").status == 404
    assert server.get("/nowhere").status == 404


def test_a_date_inside_the_training_window_is_answered_with_a_warning(server: Server):
    ask = lambda day: server.post(PREDICT, {"instances": [{"symbol": "AAPL"}], "parameters": {"as_of": day}})  # noqa: E731
    inside, after = ask("2010-06-01"), ask("2022-06-01")
    assert inside.status == after.status == 200
    assert any("train" in warning for warning in inside.json["metadata"]["warnings"]), inside.text
    assert not after.json.get("metadata", {}).get("warnings"), after.text


def test_every_answer_names_its_version_and_the_location_is_echoed(server: Server):
    reply = server.post(PREDICT.replace("us-central1", "europe-west4"), {"instances": [{"symbol": "AAPL"}]})
    assert reply.status == 200 and "/locations/europe-west4/" in reply.json["model"]
    assert reply.json["modelVersionId"] == "2"
    assert reply.headers["x-bellwether-model-version"] == "sp500-deciles@2"
    assert reply.headers["x-request-id"]


def test_missing_values_where_the_policy_forbids_them(program: Program, tmp_path: Path):
    pipeline = planted.write(tmp_path, "strict", 0.05, seed=1)
    text = pipeline.read_text()
    assert 'nan = "reject"' in text
    pipeline.write_text(text.replace("epochs = 6", "epochs = 1"))
    program.succeed("run", pipeline)
    server = program.serve()
    try:
        url = PREDICT.replace("sp500-deciles", "strict")
        good = server.post(url, {"instances": [[0.5] * 20]})
        assert good.status == 200, good.text
        for missing in [None, "NaN"]:
            reply = server.post(url, {"instances": [[0.5] * 20, [0.5] * 19 + [missing]]})
            assert reply.status == 400 and reply.json["error"]["status"] == "INVALID_ARGUMENT", reply.text
            assert "1" in reply.json["error"]["message"] and "RANK60" in reply.json["error"]["message"], reply.text
    finally:
        assert server.stop() == 0


def test_health_and_metrics(server: Server):
    assert server.get("/healthz").status == 200
    assert server.get("/readyz").status == 200
    text = server.get("/metrics").text
    assert "# TYPE" in text and "sp500-deciles" in text


def test_a_kill_at_any_moment_leaves_a_directory_that_works(quickstart: Quickstart, program: Program):
    import subprocess
    import time

    from program import environment

    for seconds in [0.3, 1.5, 4.0]:
        process = subprocess.Popen(
            program.command("quickstart"), cwd=program.folder, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        process.kill()
        process.wait()
    said = program.succeed("quickstart")
    assert said["version"] >= 1 and len(said["predictions"]) == 20
    for folder in (program.data_dir / "artifacts" / "default" / "sp500-deciles").iterdir():
        manifest = json.loads((folder / "bundle.json").read_text())
        assert all((folder / name).stat().st_size == entry["size"] for name, entry in manifest["files"].items())
