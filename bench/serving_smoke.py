"""Single predictions of 1 and 20 rows by vector over loopback: ours, MLflow's scoring server, FastAPI with onnxruntime.

Every engine serves the model of the same quickstart bundle, one after the other, on this machine, to one client on one
keep-alive connection. The replies of all are compared before anything is timed.
"""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from connection import Connection, measure, percentile
from figures import Figures
from processes import Server, clean_environment, free_port

WARM_UP, REQUESTS = 300, 2000
ROWS = (1, 20)
OURS = "bellwether"
START_SECONDS_MAX = 120
# Largest difference of a probability between engines.
TOLERANCE = 1e-5


def main() -> None:
    binary = os.environ["BELLWETHER"]
    figures = Figures("serving-smoke")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run([binary, "quickstart", "--data-dir", folder / "data"], folder)
        bundle = folder / "data/artifacts/default/sp500-deciles/1"
        golden = json.loads((bundle / "bundle.json").read_text())["golden"]
        rows, expected = golden["inputs"], golden["outputs"]
        for engine, peer in [
            (OURS, lambda port: ours(binary, folder, port)),
            (f"FastAPI+uvicorn {version('fastapi')}, onnxruntime {version('onnxruntime')}", lambda port: fastapi(bundle, port)),
            (f"MLflow {version('mlflow')}, onnxruntime {version('onnxruntime')}", lambda port: mlflow(bundle, folder, port)),
        ]:
            with peer(free_port()) as (port, path, request, reply):
                for count in ROWS:
                    wait = Connection(port, path, request(rows[:count]))
                    check(engine, reply(json.loads(wait.call())), expected[:count])
                    seconds = measure(wait, WARM_UP, REQUESTS)
                    for percent in (50, 99):
                        figures.add(f"predict {count} rows", engine, f"p{percent}", 1e6 * percentile(seconds, percent), "us")
    figures.show(OURS)


def check(engine: str, found: list[list[float]], expected: list[list[float]]) -> None:
    """Refuses to time an engine that answers something else."""
    gap = max(abs(x - y) for a, b in zip(found, expected, strict=True) for x, y in zip(a, b, strict=True))
    if not gap <= TOLERANCE:
        raise SystemExit(f"{engine} differs from the recorded answers by {gap}")


@contextmanager
def ours(binary: str, folder: Path, port: int):
    command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", folder / "data"]
    with started(command, folder, port):
        path = "/v1/projects/default/locations/us-central1/endpoints/sp500-deciles:predict"
        yield port, path, lambda rows: {"instances": rows}, lambda reply: reply["predictions"]


@contextmanager
def fastapi(bundle: Path, port: int):
    command = [sys.executable, Path(__file__).parent / "peers/fastapi_server.py", bundle / "model.onnx", str(port)]
    with started(command, bundle, port):
        yield port, "/predict", lambda rows: {"instances": rows}, lambda reply: reply["predictions"]


@contextmanager
def mlflow(bundle: Path, folder: Path, port: int):
    model = folder / "mlflow-model"
    run([sys.executable, Path(__file__).parent / "peers/mlflow_model.py", bundle / "model.onnx", model], folder)
    command = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with started(command, folder, port):
        yield port, "/invocations", lambda rows: {"inputs": {"features": rows}}, lambda reply: reply["predictions"]["probabilities"]


@contextmanager
def started(command: list, folder: Path, port: int):
    """A server that listens, ended afterwards with all it started."""
    with Server(command, folder, clean_environment()) as server:
        end = time.monotonic() + START_SECONDS_MAX
        while not ready(port):
            if server.has_ended() or time.monotonic() > end:
                raise SystemExit(f"{command} is not ready: {server.last_words()}")
            time.sleep(0.1)
        yield


def ready(port: int) -> bool:
    """Every one of the servers answers one of these with 200 once its model is loaded."""
    for path in ("/readyz", "/ping"):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                probe.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
                if b" 200 " in probe.recv(1 << 12).split(b"\r\n")[0] + b" ":
                    return True
        except OSError:
            return False
    return False


def run(command: list, folder: Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=folder, env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed: {done.stderr}")


def version(package: str) -> str:
    return importlib.metadata.version(package)


if __name__ == "__main__":
    main()
