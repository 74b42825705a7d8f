"""Runs the binary under test as a user would: arguments in; exit status, text and JSON out."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS_MAX = 600
# What loads a model gives way to all that runs: a busy machine takes its time for it.
START_SECONDS_MAX = REPLY_SECONDS_MAX = 300


def find_binary() -> Path:
    """BELLWETHER, or the release binary of the target folder."""
    if named := os.environ.get("BELLWETHER"):
        binary = Path(named).resolve()
    else:
        target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
        binary = REPOSITORY / target / "release" / "bellwether"
    if not binary.exists():
        raise SystemExit(f"{binary} does not exist: run `cargo build --release`, or set BELLWETHER to a binary")
    return binary


def qlib_python() -> str:
    """The Python that has pyqlib, as conformance/run made it."""
    named = os.environ.get("QLIB_PYTHON")
    if not named:
        raise SystemExit("QLIB_PYTHON is not set: run the tests by conformance/run")
    return named


def wire_python() -> str:
    """The Python that checks documents and metrics, as conformance/run made it."""
    named = os.environ.get("WIRE_PYTHON")
    if not named:
        raise SystemExit("WIRE_PYTHON is not set: run the tests by conformance/run")
    return named


def environment() -> dict[str, str]:
    """Ours, without settings of the binary that a developer may have."""
    return {key: value for key, value in os.environ.items() if not key.startswith("BELLWETHER")}


@dataclass
class Outcome:
    """How one run ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        """The one document on stdout."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict:
        """`kind` and `message` of a run with --json that failed."""
        return self.json["error"]


@dataclass
class Program:
    """The binary, on one data directory, in a working folder without configuration."""

    binary: Path
    data_dir: Path
    folder: Path

    def run(self, *arguments: str | Path) -> Outcome:
        """Runs a verb and waits for its end."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self._environment(), capture_output=True, text=True,
            timeout=SECONDS_MAX,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def succeed(self, *arguments: str | Path) -> dict:
        """Runs a verb with --json that must succeed, and returns its document."""
        outcome = self.run(*arguments, "--json")
        assert outcome.status == 0, f"{arguments} ended with {outcome.status}: {outcome.stderr}\n{outcome.stdout}"
        return outcome.json

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a verb."""
        return [str(self.binary), *map(str, arguments), "--data-dir", str(self.data_dir)]

    def _environment(self) -> dict[str, str]:
        return environment()

    def serve(self, *arguments: str | Path) -> "Server":
        """Starts `serve` on a free port and waits until it is ready."""
        server = self.start(*arguments)
        server.wait_until_ready()
        return server

    def start(self, *arguments: str | Path) -> "Server":
        """Starts `serve` on a free port, with more time for a request than usual unless the arguments say how much."""
        if "--request-timeout-s" not in arguments:
            arguments = (*arguments, "--request-timeout-s", str(REPLY_SECONDS_MAX))
        port = free_port()
        log = (self.folder / f"serve-{port}.log").open("w+")
        process = subprocess.Popen(
            self.command("serve", "--listen", f"127.0.0.1:{port}", *arguments), cwd=self.folder,
            env=self._environment(), stdout=log, stderr=subprocess.STDOUT,
        )
        return Server(f"http://127.0.0.1:{port}", process, Path(log.name))


@dataclass
class Server:
    """A running `bellwether serve`."""

    url: str
    process: subprocess.Popen
    log: Path

    def wait_until_ready(self) -> None:
        """Waits until all that is deployed is in service."""
        self.wait_for("/readyz")

    def wait_for(self, path: str) -> None:
        """Waits until a path is answered with 200."""
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}: {self.log.read_text()}")
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as reply:
                    if reply.status == 200:
                        return
            except OSError:
                # Also what is late with its reply; an error of urllib is one of these.
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"{path} is not 200 after {START_SECONDS_MAX} s: {self.log.read_text()}")

    def get(self, path: str) -> "Reply":
        """GET."""
        return call(urllib.request.Request(self.url + path))

    def post(self, path: str, body: object, kind: str = "application/json") -> "Reply":
        """POST a JSON document, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return call(urllib.request.Request(self.url + path, data, {"content-type": kind}))

    def stop(self) -> int:
        """Ends it as an operator does, and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@dataclass
class Reply:
    """A reply of the server."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict:
        """Its body."""
        return json.loads(self.text)


def call(request: urllib.request.Request) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=REPLY_SECONDS_MAX) as reply:
            return Reply(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read().decode())
    except urllib.error.HTTPError as error:
        return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
