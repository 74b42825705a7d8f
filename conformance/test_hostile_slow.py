"""Clients that take their time: heads that do not end, connections on which nothing is asked, replies that nobody reads, messages a byte at a
time; over HTTP/1.1, HTTP/2 and gRPC, plain and encrypted. Each is cut off in the time that the documentation says, and who is quiet by
right is not. All of them at once, since each takes its minute."""

import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

import http2
from hostile import ROWS, Hostile
from program import environment, free_port
from test_hostile_connections import INFER, infer, message
from test_security import Certificate

# Of docs/serving.md: no head, a body that pauses, a reply that is not read.
HEAD_SECONDS, BODY_SECONDS, REPLY_SECONDS = 75, 10, 30
# What looking now and then adds, and a busy machine.
SLACK_SECONDS = 6
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
ALIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
LARGE = "/openapi.json"
# Far more than any socket holds for who does not read.
REPLIES = 400


def until_closed(line: socket.socket, seconds: float, byte: bytes = b"") -> None:
    """Returns when the server has ended the line, which gets this byte every second, or after so long."""
    begun = time.monotonic()
    line.settimeout(1)
    while time.monotonic() - begun < seconds:
        try:
            if byte:
                line.sendall(byte)
            if not line.recv(1):
                break
        except TimeoutError:
            continue
        except OSError:
            break


class Slow:
    """The clients, each on a thread of its own. Time counts from before the last that the server hears: it may hear it at once."""

    def __init__(self, hostile: Hostile, encrypted: tuple[tuple[str, int], ssl.SSLContext]):
        self.address = hostile.address
        self.encrypted, self.trust = encrypted

    def line(self, narrow: bool = False) -> socket.socket:
        line = socket.socket()
        if narrow:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(20)
        line.connect(self.address)
        return line

    def first_head(self) -> float:
        """Nothing for a minute, then the protocol, then slowly what it says."""
        begun = time.monotonic()
        with self.line() as line:
            time.sleep(HEAD_SECONDS - 15)
            until_closed(line, 2 * HEAD_SECONDS, b"G")
            return time.monotonic() - begun

    def later_head(self) -> float:
        with self.line() as line:
            begun = time.monotonic()
            line.sendall(ALIVE)
            assert line.recv(1000).startswith(b"HTTP/1.1 200")
            until_closed(line, 2 * HEAD_SECONDS, b"G")
            return time.monotonic() - begun

    def idle(self) -> float:
        with self.line() as line:
            begun = time.monotonic()
            line.sendall(ALIVE)
            assert line.recv(1000).startswith(b"HTTP/1.1 200")
            until_closed(line, 2 * HEAD_SECONDS)
            return time.monotonic() - begun

    def unread(self) -> int:
        """The share of the replies, in percent, that comes to who reads them late."""
        with self.line(narrow=True) as line:
            return self._reads(line, REPLY_SECONDS + SLACK_SECONDS)

    def unread_over_tls(self) -> int:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(20)
        line.connect(self.encrypted)
        with self.trust.wrap_socket(line, server_hostname="localhost") as encrypted:
            return self._reads(encrypted, REPLY_SECONDS + SLACK_SECONDS)

    def read_by_bytes(self) -> float:
        """Seconds until the server is tired of a client that reads a kilobyte a second."""
        with self.line(narrow=True) as line:
            line.sendall(f"GET {LARGE} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode() * REPLIES)
            begun = time.monotonic()
            while time.monotonic() - begun < 2 * HEAD_SECONDS:
                try:
                    if not line.recv(1000):
                        break
                    # It shows in what can be written: the server answers with a reset.
                    line.sendall(b"\r\n")
                except OSError:
                    break
                time.sleep(1)
            return time.monotonic() - begun

    def read_at_once(self) -> int:
        with self.line(narrow=True) as line:
            return self._reads(line, 0)

    def _reads(self, line: socket.socket, after: float) -> int:
        line.sendall(f"GET {LARGE} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode() * REPLIES)
        time.sleep(after)
        line.settimeout(20)
        heads, kept = 0, b""
        try:
            while got := line.recv(1 << 20):
                heads += (kept + got).count(b"HTTP/1.1 200")
                kept = got[-11:]
        except OSError:
            pass
        return 100 * heads // REPLIES

    def stopped_reply(self) -> float:
        """Seconds until a connection ends whose client answers every sign of life and takes nothing of a reply."""
        window = http2.frame(http2.SETTINGS, payload=struct.pack(">HI", 4, 0))
        with http2.Connection(self.address, http2.PREFACE + window) as connection:
            block = http2.request(LARGE, method="GET")
            begun = time.monotonic()
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, block))
            for event in connection.frames(2 * HEAD_SECONDS):
                if event is None or time.monotonic() - begun > HEAD_SECONDS:
                    break
                kind, flags, _, payload = event
                assert kind != http2.DATA or not payload
                if kind == http2.PING and not flags & http2.ACK:
                    connection.send(http2.frame(http2.PING, http2.ACK, payload=payload))
            return time.monotonic() - begun

    def slow_message(self, method: str) -> tuple[float, int | None]:
        """Seconds until a call is answered whose message comes a byte at a time, and its status."""
        with http2.Connection(self.address) as connection:
            begun = time.monotonic()
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.grpc(method)))
            connection.send(http2.frame(http2.DATA, 0, 1, message(b"\x0a", length=1000)))
            while time.monotonic() - begun < 3 * BODY_SECONDS:
                connection.send(http2.frame(http2.DATA, 0, 1, b"r"))
                for event in connection.frames(1):
                    if event is None:
                        return time.monotonic() - begun, None
                    if event[0] == http2.HEADERS and (status := http2.grpc_status(event[3])) is not None:
                        return time.monotonic() - begun, status
            return time.monotonic() - begun, None

    def quiet_stream(self) -> int:
        """How many answers come of questions with a long pause between them."""
        def questions():
            for _ in range(2):
                yield infer()
                time.sleep(REPLY_SECONDS + SLACK_SECONDS)

        with grpc.insecure_channel("%s:%d" % self.address) as channel:
            return len(list(channel.stream_stream(STREAM_INFER)(questions(), timeout=3 * HEAD_SECONDS)))

    def watched_health(self) -> bool:
        """Whether a stream that says nothing is open after longer than anything else may last."""
        with grpc.insecure_channel("%s:%d" % self.address) as channel:
            stream = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            assert next(stream)
            time.sleep(HEAD_SECONDS + SLACK_SECONDS)
            alive = stream.is_active()
            stream.cancel()
            return alive


@pytest.fixture(scope="module")
def hostile(binary: Path, tmp_path_factory: pytest.TempPathFactory):
    hostile = Hostile(binary, tmp_path_factory.mktemp("slow"))
    yield hostile
    hostile.is_unharmed()
    hostile.stop()


@pytest.fixture(scope="module")
def encrypted(binary: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("slow-encrypted")
    certificate, port = Certificate(folder, "slow"), free_port()
    pem, key = certificate.place()
    with (folder / "serve.log").open("w+") as log:
        command = [binary, "serve", "--data-dir", folder / "data", "--listen", f"127.0.0.1:{port}", "--tls-certificate", pem, "--tls-key", key]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    trust = ssl.create_default_context(cadata=certificate.pem.decode())
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < end, (folder / "serve.log").read_text()
            time.sleep(0.05)
    yield ("127.0.0.1", port), trust
    process.terminate()
    assert process.wait(60) == 0


@pytest.fixture(scope="module")
def outcome(hostile: Hostile, encrypted):
    """What became of each client; all of them begin at once."""
    slow = Slow(hostile, encrypted)
    clients: dict[str, Callable[[], object]] = {
        name: getattr(slow, name) for name in (
            "first_head", "later_head", "idle", "unread", "unread_over_tls", "read_by_bytes", "read_at_once", "stopped_reply", "quiet_stream",
            "watched_health",
        )
    }
    clients["unary"] = lambda: slow.slow_message(INFER)
    clients["streamed"] = lambda: slow.slow_message(STREAM_INFER)
    with ThreadPoolExecutor(len(clients)) as pool:
        running: dict[str, Future] = {name: pool.submit(client) for name, client in clients.items()}
        yield lambda name: running[name].result()


@pytest.mark.parametrize("client", ["first_head", "later_head", "idle"])
def test_a_connection_on_which_nothing_is_asked_is_ended(outcome, client: str):
    assert HEAD_SECONDS - 1 < outcome(client) < HEAD_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("client", ["unread", "unread_over_tls"])
def test_replies_that_nobody_reads_are_not_kept(outcome, client: str):
    assert outcome("read_at_once") == 100, "who reads gets all"
    assert outcome(client) < 50


def test_replies_that_are_read_byte_by_byte_are_not_kept(outcome):
    assert outcome("read_by_bytes") < REPLY_SECONDS + 2 * SLACK_SECONDS


def test_a_single_reply_that_its_client_stops_is_not_kept(outcome):
    assert REPLY_SECONDS - 1 < outcome("stopped_reply") < REPLY_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("client", ["unary", "streamed"])
def test_a_message_of_grpc_comes_at_the_pace_of_every_body(outcome, client: str):
    seconds, status = outcome(client)
    assert BODY_SECONDS - 1 < seconds < BODY_SECONDS + SLACK_SECONDS
    assert status == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def test_a_stream_may_be_quiet(outcome):
    assert outcome("quiet_stream") == 2
    assert outcome("watched_health")


def test_others_are_answered_meanwhile(hostile: Hostile, outcome):
    assert outcome("read_at_once") == 100
    assert hostile.predict() == hostile.bits
    assert ROWS in hostile.ask("GET", f"/v2/models/{ROWS}").body.decode()
