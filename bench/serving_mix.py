"""What a server that must last is asked at the same time: right questions in several protocols, wrong ones, connections that come
and go. Every reply is looked at: a right question must be answered, a wrong one refused with the status of its protocol.
"""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from serving_load import Started
from serving_wire import INFER, TIMEOUT_SECONDS

# `bellwether bench` runs so long at a time.
RUN_SECONDS = 10.0
# Between two wrong questions.
PAUSE_SECONDS = 0.01
HUGE = 2**40


@dataclass(frozen=True)
class Load:
    """Right questions: of which kind, over how many connections, how many a second (0: as many as are answered)."""

    kind: str
    connections: int
    rate: float = 0


@dataclass(frozen=True)
class Wrong:
    """A question of the Open Inference Protocol that is no question, and how it must be refused."""

    name: str
    body: bytes
    status: int
    path: str = "/v2/models/mlp/infer"
    has_key: bool = True


class Mix:
    """Asks until the end of a `with`. What went wrong is in `failures`; the first thing that stopped it is raised by `check`."""

    def __init__(self, running: Started, loads: list[Load], with_mistakes: bool):
        self.running = running
        self.answered: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.done, self.stopped = threading.Event(), None
        tasks: list[Callable[[], None]] = [lambda load=load: self.ask(load) for load in loads]
        tasks += [lambda: self.err(http_mistakes(running)), lambda: self.err(grpc_mistakes(running))] if with_mistakes else []
        self.threads = [threading.Thread(target=self.repeat, args=[task]) for task in tasks]

    def __enter__(self) -> "Mix":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def check(self) -> None:
        if self.stopped and not self.done.is_set():
            raise self.stopped

    def repeat(self, task: Callable[[], None]) -> None:
        try:
            while not self.done.is_set():
                task()
        except Exception as error:
            self.stopped = self.stopped or error

    def ask(self, load: Load) -> None:
        rows = self.running.model.rows(1)
        answers = self.running.load(load.kind, rows, load.connections, RUN_SECONDS, load.rate)
        self.answered[load.kind] += answers.requests
        for outcome, count in answers.failures.items():
            self.failures[f"{load.kind}: {outcome}"] += count

    def err(self, mistakes: dict[str, Callable[[], str]]) -> None:
        """Each is tried once; it says how it was not refused, or nothing."""
        for name, make in mistakes.items():
            if self.done.is_set():
                return
            if said := make():
                self.failures[f"{name}: {said}"] += 1
            else:
                self.answered["wrong"] += 1
            time.sleep(PAUSE_SECONDS)


def http_mistakes(running: Started) -> dict[str, Callable[[], str]]:
    tensor = {"name": "features", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}
    infer = lambda **changed: json.dumps({"inputs": [tensor | changed]}).encode()
    wrong = [
        Wrong("not JSON", b'{"inputs": [', 400), Wrong("deep JSON", b"[" * 10_000, 400), Wrong("not UTF-8", b'{"\xff": 1}', 400),
        Wrong("wrong shape", infer(shape=[1, 63]), 400), Wrong("huge shape", infer(shape=[HUGE, HUGE]), 400),
        Wrong("wrong type", infer(datatype="BYTES"), 400), Wrong("wrong name", infer(name="nobody"), 400),
        Wrong("too wide", infer(shape=[1, 65], data=[0.5] * 65), 400), Wrong("no model", infer(), 404, "/v2/models/nobody/infer"),
        Wrong("no path", infer(), 404, "/nowhere"), Wrong("no key", infer(), 401, has_key=False),
    ]
    mistakes = {case.name: lambda case=case: refusal(running, case) for case in wrong}
    return mistakes | {"left early": lambda: leave(running, infer()), "right": lambda: refusal(running, Wrong("right", infer(), 200))}


def refusal(running: Started, case: Wrong) -> str:
    """One question on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", running.launch.port, timeout=TIMEOUT_SECONDS)
    try:
        headers = {"content-type": "application/json"} | (key(running) if case.has_key else {})
        connection.request("POST", case.path, case.body, headers)
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    return "" if reply.status == case.status else f"{reply.status} instead of {case.status}"


def leave(running: Started, body: bytes) -> str:
    """Goes away in the middle of a question, and after one without waiting for the answer."""
    head = "".join(f"{name}: {value}\r\n" for name, value in key(running).items())
    head = f"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: here\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
    for sent in (head + body[: len(body) // 2], head + body):
        with socket.create_connection(("127.0.0.1", running.launch.port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(sent)
    return ""


def grpc_mistakes(running: Started) -> dict[str, Callable[[], str]]:
    right = running.launch.wires["grpc"].body(running.model.rows(1))[5:]
    code = grpc.StatusCode
    cases = {
        "gRPC, no message": (b"\xff" * 40, code.INVALID_ARGUMENT), "gRPC, half a message": (right[:-3], code.INVALID_ARGUMENT),
        "gRPC, wrong shape": (right[:-4], code.INVALID_ARGUMENT), "gRPC, right": (right, None),
    }
    return {name: lambda message=message, expected=expected: grpc_refusal(running, message, expected) for name, (message, expected) in cases.items()}


def grpc_refusal(running: Started, message: bytes, expected: grpc.StatusCode | None) -> str:
    """One call on a connection of its own."""
    with grpc.insecure_channel(f"127.0.0.1:{running.launch.port_of('grpc')}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(INFER)(message, timeout=TIMEOUT_SECONDS, metadata=list(key(running).items()))
        except grpc.RpcError as error:
            return "" if error.code() == expected else f"{error.code().name}: {error.details()}"
    return "" if expected is None else "answered"


def key(running: Started) -> dict[str, str]:
    """The header with the key that right questions have."""
    headers = running.launch.wires["binary"].headers
    return {name: value for name, value in headers.items() if name == "authorization"}
