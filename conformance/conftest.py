"""What the tests share: the binary, one quickstart, one server on what it left behind."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import alpha158
from bundle import Bundle
from program import REPOSITORY, Outcome, Program, Server, find_binary


@dataclass
class Quickstart:
    """Two runs of `bellwether quickstart` on one data directory."""

    program: Program
    first: Outcome
    second: Outcome

    @property
    def bundle_folder(self) -> Path:
        return self.program.data_dir / "artifacts" / "default" / "sp500-deciles" / "1"


@pytest.fixture(scope="session")
def binary() -> Path:
    return find_binary()


@pytest.fixture
def program(binary: Path, tmp_path: Path) -> Program:
    """The binary on an empty data directory."""
    return Program(binary, tmp_path / "data", tmp_path)


@pytest.fixture(scope="session")
def quickstart(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    folder = tmp_path_factory.mktemp("quickstart")
    program = Program(binary, folder / "data", folder)
    first = program.run("quickstart", "--json")
    assert first.status == 0, first.stderr
    second = program.run("quickstart")
    assert second.status == 0, second.stderr
    return Quickstart(program, first, second)


@pytest.fixture
def copied(quickstart: Quickstart, tmp_path: Path) -> Program:
    """The quickstart's data directory, in a place of its own."""
    subprocess.run(["cp", "-r", quickstart.program.data_dir, tmp_path / "data"], check=True)
    (tmp_path / "data" / "LOCK").unlink(missing_ok=True)
    return Program(quickstart.program.binary, tmp_path / "data", tmp_path)


@pytest.fixture(scope="session")
def bundle(quickstart: Quickstart) -> Bundle:
    return Bundle(quickstart.bundle_folder)


@pytest.fixture(scope="session")
def tensorflow(bundle: Bundle):
    """The bundle's SavedModel in real TensorFlow."""
    return bundle.tensorflow()


@pytest.fixture(scope="session")
def prices(bundle: Bundle) -> pd.DataFrame:
    """The bundled closes of the model's universe."""
    frame = pd.read_parquet(REPOSITORY / "datasets" / "sp500-20" / "sp500_dataset.parquet")
    frame = frame.set_index(pd.to_datetime(frame["date"])).drop(columns="date")
    return frame[sorted(bundle.manifest["splits"]["universe"])]


@pytest.fixture(scope="session")
def features(prices: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Features by symbol, computed here; rows without a full history are left out."""
    return {symbol: alpha158.features(prices[symbol])[alpha158.LOOKBACK_BARS :] for symbol in prices}


@pytest.fixture(scope="session")
def allowed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that clients of the server may name."""
    return tmp_path_factory.mktemp("allowed")


@pytest.fixture(scope="session")
def server(quickstart: Quickstart, allowed_folder: Path):
    """`serve` on the quickstart's data directory."""
    server: Server = quickstart.program.serve("--allow-root", f"file://{allowed_folder}")
    yield server
    assert server.stop() == 0, server.log.read_text()


counts = {"passed": 0, "failed": 0}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        counts["failed"] += 1
    elif report.when == "call" and report.passed:
        counts["passed"] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        counts["failed"] += 1


def pytest_unconfigure() -> None:
    print(f"{counts['passed']} passed, {counts['failed']} failed")
