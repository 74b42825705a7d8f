"""One server under load: started, its answers checked, asked by `bellwether bench`, and what that cost it."""

import hashlib
import json
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from installed import Failed
from processes import Server, clean_environment
from serving_engines import Engine, Launch
from serving_models import Model
from serving_wire import Misunderstood, Refused, Wire

START_SECONDS_MAX = 90
SETTLE_SECONDS = 12.0
# Largest difference of a probability between engines.
TOLERANCE = 1e-5
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclass
class Answers:
    """What came back from a run of `bellwether bench`, and what it cost the server."""

    requests: int
    failures: dict[str, int]
    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float


@dataclass
class Started:
    """A server that answers, and how long it took from the start of its process to its first answer."""

    engine: Engine
    model: Model
    launch: Launch
    server: Server
    onnx: Path
    ready_seconds: float

    def check(self, kind: str, rows: np.ndarray) -> None:
        """Refuses to time a server that answers something else."""
        found = self.launch.wires[kind].ask(self.launch.port_of(kind), rows)
        expected = np.asarray(self.engine.expected(self.onnx, rows), np.float64)
        if found.shape != expected.shape:
            raise Failed(f"{kind}: answers {found.shape} instead of {expected.shape}")
        if not (gap := np.abs(found - expected).max()) <= TOLERANCE:
            raise Failed(f"{kind}: differs from onnxruntime by {gap}")

    def load(self, kind: str, rows: np.ndarray, connections: int, seconds: float, rate: float = 0) -> Answers:
        """All replies are counted, so there is no warm-up here: make one with a call before."""
        before = self.server.cpu_seconds()
        document = load(self.launch.wires[kind], self.launch.port_of(kind), rows, connections, seconds, rate, self.onnx.parent)
        cpu = self.server.cpu_seconds() - before
        if self.server.has_ended():
            raise Failed(f"ended under load: {self.server.last_words()}")
        requests, failures = document["requests"], document["failures"]
        total = requests + sum(failures.values())
        cpu_us = 1e6 * cpu / total if total else 0.0
        return Answers(requests, failures, document["requests_per_second"], document["p50_us"], document["p99_us"], cpu_us)


def load(wire: Wire, port: int, rows: np.ndarray, connections: int, seconds: float, rate: float, folder: Path) -> dict:
    """What `bellwether bench` says."""
    content = wire.body(rows)
    body = folder / f"body-{hashlib.sha256(content).hexdigest()[:12]}"
    body.write_bytes(content)
    command = [os.environ["BELLWETHER"], "bench", "--url", f"http://127.0.0.1:{port}{wire.path}", "--body", body]
    command += ["--connections", connections, "--seconds", seconds, "--warm-up", 0, "--json"]
    command += [word for name, value in wire.headers_for(rows).items() for word in ("--header", f"{name}={value}")]
    command += ["--rate", rate] if rate else []
    command += ["--http2"] if wire.http2 else []
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr}")
    return json.loads(done.stdout)


def scratch() -> tempfile.TemporaryDirectory:
    """A folder for a server; some write to theirs until they are ended."""
    return tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True)


@contextmanager
def started(engine: Engine, model: Model, folder: Path):
    """An engine that serves a model, ended afterwards."""
    onnx = folder / "model.onnx"
    model.write_onnx(onnx)
    launch = engine.launch(model, folder)
    with Server(launch.command, folder, clean_environment() | ONE_THREAD | launch.environment) as server:
        ready = wait(server, launch, model.rows(1))
        refuse_strangers(launch, model.rows(1))
        yield Started(engine, model, launch, server, onnx, ready)


def wait(server: Server, launch: Launch, rows: np.ndarray) -> float:
    """Seconds from the start of the process to the first answer."""
    last = ""
    while (took := time.perf_counter() - server.began) < START_SECONDS_MAX:
        if server.has_ended():
            raise Failed(f"ended before it answered: {server.last_words()}")
        try:
            launch.wires["json"].ask(launch.port, rows)
            return time.perf_counter() - server.began
        except Misunderstood as error:
            raise Failed(str(error)) from error
        except (OSError, Refused) as error:
            last = str(error)
        # What asks costs time itself: less often, the longer it takes.
        time.sleep(max(0.001, took / 50))
    raise Failed(f"did not answer within {START_SECONDS_MAX} s ({last}): {server.last_words()}")


def refuse_strangers(launch: Launch, rows: np.ndarray) -> None:
    """A server that is asked with a key must not answer without: looking at it is part of the price."""
    wire = launch.wires["json"]
    if "authorization" not in wire.headers:
        return
    try:
        replace(wire, headers={}).ask(launch.port, rows)
    except Refused:
        return
    raise Failed("answers without a key")
