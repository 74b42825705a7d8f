"""Connections that mean harm: requests that two readers would cut in two places, lines that never end, frames that are none, messages of
gRPC that are noise. The server closes what it must not read on, answers the others as if nothing had been, and keeps nothing."""

import gzip
import json
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import http2
from hostile import GOOD, ROWS, SEVERAL, VERTEX, Hostile, Line, tensor_bytes

PREDICT = f"/v1/models/{ROWS}:predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
TFS_PREDICT = "/tensorflow.serving.PredictionService/Predict"
GROWTH_BYTES_MAX = 64 << 20
# Clients are told apart by their addresses.
GREEDY, ALSO_GREEDY = "127.0.0.2", "127.0.0.3"
# A body that does not come is given up after 10 s.
BODY_SECONDS = 10
# Until what is over holds nothing any more.
FREE_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def hostile(binary, tmp_path_factory):
    hostile = Hostile(binary, tmp_path_factory.mktemp("connections"))
    yield hostile
    hostile.stop()


# HTTP/1.1: where a request ends. RFC 9112, sections 6 and 11.2.

SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\n".encode()


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n", b"content-length: 5, 6\r\n", b"content-length: +5\r\n", b"content-length: -5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: 5 5\r\n", b"content-length: 5a\r\n", b"content-length: 99999999999999999999999\r\n", b"content-length:\r\n",
        b"content-length: \xb5\r\n",
        b"transfer-encoding: xchunked\r\n", b"transfer-encoding: chunked, identity\r\n", b"transfer-encoding: identity, gzip\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", b"transfer-encoding: \xb5, chunked\r\n",
        b"content-length : 5\r\n", b"content-length\r\n", b" content-length: 5\r\n", b"x: y\r\n content-length: 5\r\n", b"x\0y: 1\r\n",
        b"x: a\0b\r\n", b"x: a\rb\r\n", b": 1\r\n", b"x y: 1\r\n", b"\xff: 1\r\n",
    ],
    ids=repr,
)
def test_a_request_of_doubtful_length_is_no_request(hostile: Hostile, head: bytes):
    with hostile.line() as line:
        line.send(POST + head + b"\r\n12345" + SMUGGLED)
        first = line.answer()
        assert first.status in (400, 501), first
        assert line.is_closed(), "what follows is read as a request"


@pytest.mark.parametrize("encoding", [b"chunked", b"Chunked", b" chunked ", b"\tchunked"], ids=repr)
def test_a_length_beside_chunks_hides_nothing(hostile: Hostile, encoding: bytes):
    """The chunks count; and the line ends, or nothing after them is believed to be another client's request."""
    good = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    with hostile.line() as line:
        line.send(POST + b"content-length: 4\r\ntransfer-encoding: " + encoding + b"\r\n\r\n" + good + SMUGGLED)
        first = line.answer()
        assert first.status in (200, 400), first
        assert line.is_closed(), "RFC 9112 6.1: the server MUST close the connection after it"


def test_chunks_that_are_none(hostile: Hostile):
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n"
    for body in [
        b"0x5\r\n12345\r\n0\r\n\r\n", b"-5\r\n12345\r\n0\r\n\r\n", b"+5\r\n12345\r\n0\r\n\r\n", b"fffffffffffffffff\r\n12345\r\n0\r\n\r\n",
        b"5\n12345\n0\n\n", b"5\r\n12345X0\r\n\r\n", b"g\r\n", b"\r\n\r\n",
        b"5 5\r\n12345\r\n0\r\n\r\n", b"5;" + b"x" * 100_000 + b"\r\n12345\r\n0\r\n\r\n", b"0\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"%x\r\n%b\r\n0\r\nno trailer\r\n\r\n" % (len(GOOD), GOOD), b"%x\r\n%b\r\n0\r\na\0: b\r\n\r\n" % (len(GOOD), GOOD),
    ]:
        with hostile.line() as line:
            line.send(chunked + body + SMUGGLED)
            first = line.answer()
            # What goes on after the answer may have the line reset before it is read.
            assert first.status in ((0, 400) if len(body) > 1000 else (400,)), (body[:40], first)
            assert first.status == 0 or first.headers["x-request-id"] and "CR LF" in first.json["error"], (body[:40], first)
            assert line.is_closed(), body[:40]
    hostile.is_unharmed()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"transfer-encoding: chunked, chunked\r\n", 400), (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
        (b"transfer-encoding: gzip, chunked\r\n", 501), (b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 501),
        (b"transfer-encoding: identity, Chunked\r\n", 501),
    ],
    ids=repr,
)
def test_a_body_is_chunked_once_and_nothing_else(hostile: Hostile, head: bytes, status: int):
    """RFC 9112, section 6.1: never chunked twice, and 501 for a coding that is not understood."""
    with hostile.line() as line:
        line.send(POST + head + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD) + SMUGGLED)
        first = line.answer()
        assert first.status == status and "transfer-encoding" in first.json["error"] and first.headers["x-request-id"], first
        assert line.is_closed(), "what follows is read as a request"


def test_chunked_is_of_http_1_1_alone(hostile: Hostile):
    with hostile.line() as line:
        line.send(POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)
        first = line.answer()
        assert first.status == 400 and line.is_closed(), first


def test_requests_that_are_none(hostile: Hostile):
    for request in [
        b"\r\n" * 50_000, b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n", b"G\0T / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / /x HTTP/1.1\r\nhost: a\r\n\r\n", b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\xff\xfe / HTTP/1.1\r\nhost: a\r\n\r\n", b"GET http:// HTTP/1.1\r\nhost: a\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"SSH-2.0-x\r\n",
        b"GET nowhere HTTP/1.1\r\nhost: a\r\n\r\n", b"PRI * HTTP/1.1\r\nhost: a\r\n\r\n",
    ]:
        with hostile.line() as line:
            line.send(request)
            line.finish()
            first = line.answer("GET")
            assert first.status in (0, 400, 404, 431, 505), (request[:60], first)
    hostile.is_unharmed()


def test_heads_without_end(hostile: Hostile):
    for request, statuses in [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", (0, 400, 414, 431)),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", (0, 431)),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", (0, 431)),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x%d: y\r\n" % at for at in range(5000)) + b"\r\n", (0, 431)),
    ]:
        with hostile.line() as line:
            line.send(request)
            first = line.answer("GET")
            assert first.status in statuses and line.is_closed(), first
    hostile.is_unharmed()


def test_a_host_is_named_once(hostile: Hostile):
    """RFC 9112, section 3.2: 400 for a request of HTTP/1.1 without a host, with two, or with none that can be one; it has an id and is counted."""
    name = 'bellwether_http_requests_total{route="unmatched",code="400"} '
    counted = lambda: [line for line in hostile.ask("GET", "/metrics").body.decode().splitlines() if line.startswith(name)]  # noqa: E731
    before = counted()
    for head in [b"", b"host: a\r\nhost: b\r\n", b"host: a b\r\n", b"host: a/b\r\n", b"host: a@b\r\n"]:
        with hostile.line() as line:
            line.send(b"GET /v2/health/live HTTP/1.1\r\n" + head + b"\r\n")
            answer = line.answer("GET")
            assert answer.status == 400 and answer.headers["x-request-id"] and "host" in answer.json["error"], (head, answer)
    assert counted() != before


# Pages in a browser on this machine: what browsers send, byte by byte.

FOREIGN = {"host": "127.0.0.1:8080", "origin": "http://evil.example", "content-type": "application/json"}
# The page's site has let its own name lead to this machine (DNS rebinding).
REBOUND = {"host": "evil.example", "origin": "http://evil.example", "content-type": "application/json"}
PATHS = {
    PREDICT: lambda answer: answer.json["error"],
    f"/v2/models/{ROWS}/infer": lambda answer: answer.json["error"],
    "/invocations": lambda answer: answer.json["error_code"] == "PERMISSION_DENIED" and answer.json["message"],
    f"/endpoints/{ROWS}/invocations":
        lambda answer: answer.headers["x-amzn-errortype"] == "AccessDeniedException" and answer.json["message"],
    f"{VERTEX}/{ROWS}:predict": lambda answer: answer.json["error"]["status"] == "PERMISSION_DENIED" and answer.json["error"]["message"],
    "/bellwether/v1/keys": lambda answer: answer.json["error"]["status"] == "PERMISSION_DENIED" and answer.json["error"]["message"],
}


@pytest.mark.parametrize("page", [FOREIGN, REBOUND], ids=["foreign", "rebound"])
def test_pages_of_other_sites_hear_no_in_the_words_of_each_protocol(hostile: Hostile, page: dict[str, str]):
    for path, said in PATHS.items():
        answer = hostile.ask("POST", path, GOOD, page)
        assert answer.status == 403 and "web pages" in said(answer), (path, answer)
    for path in (INFER, TFS_PREDICT):
        answer = hostile.ask("POST", path, b"", page | {"content-type": "application/grpc"})
        assert (answer.status, answer.headers["grpc-status"], answer.body) == (200, "7", b""), (path, answer)
    hostile.is_unharmed()


def test_pages_of_its_own_and_programs_are_answered_under_any_name(hostile: Hostile):
    for host in ("localhost:8080", "models.localhost", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5"):
        own = {"host": host, "origin": f"http://{host}", "content-type": "application/json"}
        assert hostile.ask("POST", PREDICT, GOOD, own).status == 200, host
        assert hostile.ask("GET", "/bellwether/v1/keys", headers={"host": host, "accept-language": "en"}).status == 200, host
    for host in ("models:8080", "models.internal", "evil.example"):
        assert hostile.ask("POST", PREDICT, GOOD, {"host": host, "content-type": "application/json"}).status == 200, host
        for program in ({}, {"user-agent": "node", "accept": "*/*", "accept-language": "*", "sec-fetch-mode": "cors"}):
            assert hostile.ask("GET", "/bellwether/v1/keys", headers={"host": host} | program).status == 200, (host, program)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "added",
    [
        # Firefox and Chrome over http to a name send no Sec-Fetch-*; a page can do without Referer, not without Accept-Language.
        {"accept-language": "en-US,en;q=0.5", "referer": "http://evil.example/"}, {"accept-language": "en-US,en;q=0.9"},
        {"referer": "http://evil.example/"}, {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
    ],
    ids=lambda added: " ".join(added),
)
def test_a_rebound_page_reads_nothing(hostile: Hostile, method: str, added: dict[str, str]):
    for path in ("/bellwether/v1/keys", f"/v1/models/{ROWS}", "/v2", "/metrics", "/storage/v1/b"):
        answer = hostile.ask(method, path, headers={"host": "evil.example", "user-agent": "Mozilla/5.0", "accept": "*/*"} | added)
        assert answer.status == 403, (path, answer)
        assert method == "HEAD" or b"web pages" in answer.body, (path, answer)


def test_what_is_announced_is_not_waited_for(hostile: Hostile):
    with hostile.line() as line:
        line.send(POST + b"expect: 100-continue\r\ncontent-length: 1000000000000\r\n\r\n")
        assert line.answer().status == 413, "the client is asked for a body nobody wants"
    with hostile.line() as line:
        line.send(POST + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(GOOD))
        assert line.answer().status == 100
        line.send(GOOD)
        assert line.answer().status == 200


def test_requests_in_a_row_are_answered_in_their_order(hostile: Hostile):
    requests = b""
    for at in range(30):
        body = GOOD if at % 3 else b"{"
        requests += POST + b"content-length: %d\r\n\r\n" % len(body) + body
    with hostile.line() as line:
        line.send(requests)
        assert [line.answer().status for _ in range(30)] == [200 if at % 3 else 400 for at in range(30)]


# Lines that take their time.


def test_slow_clients_keep_nobody_waiting(hostile: Hostile):
    """Heads and bodies a few bytes at a time, replies nobody reads, on hundreds of lines: others are answered at once, a body that does
    not come is given up, and what the slow ones held is free again."""
    before, files = hostile.resident_bytes(), hostile.open_files()
    heads, bodies, readers = ([hostile.line(60) for _ in range(200)] for _ in range(3))
    grown = json.dumps({"instances": [[1, 2, 3, 4]] * 20_000}).encode()
    for line in heads:
        line.send(b"GET /v2/health/live HTTP/1.1\r\nhost")
    for line in bodies:
        line.send(POST + b"content-length: 1000\r\n\r\n{")
    for line in readers[:40]:
        line.send(POST + b"content-length: %d\r\n\r\n" % len(grown) + grown)
    begun = time.monotonic()
    taken = []
    given_up = None
    while given_up is None and time.monotonic() - begun < 3 * BODY_SECONDS:
        started = time.monotonic()
        assert hostile.predict() == hostile.bits
        taken.append(time.monotonic() - started)
        for line in heads[:50]:
            line.send(b"x")
        for line in bodies[1:]:
            line.send(b" ")
        bodies[0].socket.settimeout(0.2)
        try:
            given_up = bodies[0].answer()
        except TimeoutError:
            pass
    assert given_up is not None and given_up.status == 408, given_up
    assert "slowly" in given_up.json["error"]
    assert time.monotonic() - begun < 2 * BODY_SECONDS
    # A busy machine may keep one of them; slow clients would keep all of them, or one until a body is given up.
    median, slowest = sorted(taken)[len(taken) // 2], max(taken)
    assert median < 1 and slowest < BODY_SECONDS - 2, f"good questions waited {median:.1f} s, one {slowest:.1f} s"
    # A byte at a time is no better than none.
    for line in bodies[1:]:
        line.socket.settimeout(BODY_SECONDS)
        assert line.answer().status == 408
    for line in (*heads, *bodies, *readers):
        line.close()
    end = time.monotonic() + FREE_SECONDS_MAX
    while hostile.open_files() > files and time.monotonic() < end:
        time.sleep(0.1)
    assert hostile.open_files() <= files
    # What was freed is given back after a while.
    while (grown := hostile.resident_bytes() - before) >= GROWTH_BYTES_MAX and time.monotonic() < end:
        time.sleep(0.2)
    assert grown < GROWTH_BYTES_MAX, grown >> 20
    hostile.is_unharmed()


def test_clients_that_leave_cost_nothing(hostile: Hostile):
    files = hostile.open_files()
    half = POST + b"content-length: 100000\r\n\r\n" + b"{" * 100
    for _ in range(300):
        with hostile.line() as line:
            line.send(half)
    end = time.monotonic() + FREE_SECONDS_MAX
    while hostile.open_files() > files and time.monotonic() < end:
        time.sleep(0.05)
    assert hostile.open_files() <= files
    hostile.is_unharmed()


@pytest.fixture
def patient(binary, tmp_path):
    """A server that gives up no body while a busy machine gets to it."""
    hostile = Hostile(binary, tmp_path, "--body-timeout-s", "60")
    yield hostile
    hostile.stop()


def refused(lines: list[Line], count: int) -> list[int]:
    """The statuses that have come when so many have, or after a while."""
    end = time.monotonic() + 10
    while sum(line.is_readable() for line in lines) < count and time.monotonic() < end:
        time.sleep(0.05)
    return [line.answer().status for line in lines if line.is_readable()]


def test_too_many_at_once_are_refused_at_once(patient: Hostile):
    """1,024 requests in progress are enough, and half of them for one client: others are told to come back, and the operator still sees the server."""
    lines = [patient.line(source=source) for source in (GREEDY, ALSO_GREEDY) for _ in range(600)]
    try:
        for line in lines[:600]:
            line.send(POST + b"content-length: 1000\r\n\r\n{")
        # Those that are over the limit hear so; the others hold the 512 places that the next is told of.
        assert refused(lines[:600], 88) == [429] * 88
        answer = patient.ask("POST", PREDICT, GOOD, source=GREEDY)
        assert answer.status == 429 and "512 requests of this address" in answer.json["error"], answer
        assert patient.ask("POST", PREDICT, GOOD).status == 200, "another client is answered"
        for line in lines[600:]:
            line.send(POST + b"content-length: 1000\r\n\r\n{")
        assert refused(lines[600:], 88) == [429] * 88
        for path, body in [(PREDICT, GOOD), (f"{VERTEX}/{ROWS}:predict", GOOD), ("/invocations", GOOD), (f"/v2/models/{ROWS}/infer", b"{}")]:
            answer = patient.ask("POST", path, body, {"content-type": "application/json"})
            assert answer.status == 429 and answer.headers["retry-after"] and "1024" in answer.body.decode(), (path, answer)
        with grpc.insecure_channel("%s:%d" % patient.address) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER)(b"\x0a\x04rows", timeout=10)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert patient.ask("GET", "/healthz").status == 200 and patient.ask("GET", "/metrics").status == 200
    finally:
        for line in lines:
            line.close()
    end = time.monotonic() + FREE_SECONDS_MAX
    while patient.ask("POST", PREDICT, GOOD).status != 200:
        assert time.monotonic() < end, "what was left holds its place"
    patient.is_unharmed()


def test_one_model_flooded_leaves_the_other_alone(hostile: Hostile):
    """Large questions to one model, as many as 16 lines can send; small ones to another are answered in between."""
    large = json.dumps({"instances": [[1, 2, 3, 4]] * 20_000}).encode()
    small = json.dumps({"instances": [{"x": [1, 2], "n": [3]}]}).encode()
    end, stop = time.monotonic() + 3, threading.Event()
    taken = []

    def flood() -> set[int]:
        statuses = set()
        while not stop.is_set():
            statuses.add(hostile.ask("POST", PREDICT, large).status)
        return statuses

    with ThreadPoolExecutor(16) as pool:
        floods = [pool.submit(flood) for _ in range(16)]
        try:
            # On a busy machine the time alone may be over after one of them.
            while time.monotonic() < end or len(taken) < 5:
                started = time.monotonic()
                answer = hostile.ask("POST", f"/v1/models/{SEVERAL}:predict", small)
                assert answer.status == 200 and answer.json == {"predictions": [[4.0, 5.0]]}, answer
                taken.append(time.monotonic() - started)
        finally:
            stop.set()
        statuses = set().union(*(one.result() for one in floods))
    assert statuses <= {200, 429}, statuses
    assert sorted(taken)[len(taken) // 2] < 1, f"half of the small questions waited over {sorted(taken)[len(taken) // 2]:.2f} s"


# HTTP/2.

F = http2.frame
OPEN = http2.HEADERS, http2.END_HEADERS, 1


@pytest.mark.parametrize(
    ("name", "frames", "ends"),
    [
        ("a frame longer than allowed", F(http2.DATA, 0, 1, bytes(20_000), length=1 << 20), {"goaway", "closed"}),
        ("data before a request", F(http2.DATA, 0, 1, b"x"), {"goaway"}),
        ("data of no stream", F(http2.DATA, 0, 0, b"x"), {"goaway"}),
        ("headers of no stream", F(http2.HEADERS, http2.END_HEADERS, 0, http2.request("/")), {"goaway"}),
        ("headers of an even stream", F(http2.HEADERS, http2.END_HEADERS, 2, http2.request("/")), {"goaway"}),
        ("a promise of a client", F(http2.PUSH_PROMISE, http2.END_HEADERS, 1, struct.pack(">I", 2) + http2.request("/")), {"goaway"}),
        ("a window of nothing", F(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)), {"goaway"}),
        ("a window beyond all", F(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)), {"goaway"}),
        ("settings of 5 bytes", F(http2.SETTINGS, 0, 0, b"12345"), {"goaway"}),
        ("settings of a stream", F(http2.SETTINGS, 0, 1, bytes(6)), {"goaway"}),
        ("a ping of 7 bytes", F(http2.PING, 0, 0, b"1234567"), {"goaway"}),
        ("a continuation of nothing", F(http2.CONTINUATION, http2.END_HEADERS, 1, b""), {"goaway"}),
        ("headers cut by data", F(http2.HEADERS, 0, 1, http2.request("/")) + F(http2.DATA, 0, 1, b"x"), {"goaway"}),
        ("an index of no table", F(*OPEN, b"\xff\xff\xff\xff\x0f"), {"goaway"}),
        ("a table beyond the agreed", F(*OPEN, b"\x3f\xff\xff\xff\x07" + http2.request("/")), {"goaway"}),
        ("a header that is cut", F(*OPEN, b"\0\x7f\xff"), {"goaway"}),
        ("a capital letter", F(*OPEN, http2.request("/", ("X-Y", "z"))), {"reset", "goaway", "status"}),
        ("a line break in a header", F(*OPEN, http2.request("/", ("x", "a\r\nb: c"))), {"reset", "goaway", "status"}),
        ("a header of a connection", F(*OPEN, http2.request("/", ("connection", "close"))), {"reset", "goaway", "status"}),
        ("chunks", F(*OPEN, http2.request("/", ("transfer-encoding", "chunked"))), {"reset", "goaway", "status"}),
        ("no path", F(*OPEN, http2.headers((":method", "GET"), (":scheme", "http"))), {"reset", "goaway", "status"}),
        ("an empty path", F(*OPEN, http2.request("")), {"reset", "goaway", "status"}),
        ("two paths", F(*OPEN, http2.request("/", (":path", "/x"))), {"reset", "goaway", "status"}),
        ("an unknown pseudo header", F(*OPEN, http2.request("/", (":x", "y"))), {"reset", "goaway", "status"}),
        ("less than its length", F(*OPEN, http2.request(PREDICT, ("content-length", "9"))) + F(http2.DATA, http2.END_STREAM, 1, b"{}"),
            {"reset", "goaway", "status"}),
        ("more than its length", F(*OPEN, http2.request(PREDICT, ("content-length", "1"))) + F(http2.DATA, http2.END_STREAM, 1, b"{}"),
            {"reset", "goaway", "status"}),
        ("headers of 200 kB", F(http2.HEADERS, 0, 1, http2.request("/", *(("x", "y" * 1000) for _ in range(16)))) + b"".join(F(http2.CONTINUATION, 0,
            1, http2.headers(("x", "y" * 16_000))) for _ in range(12)) + F(http2.CONTINUATION, http2.END_HEADERS, 1, b""),
                {"reset", "goaway", "status", "closed"}),
        ("headers without end", F(http2.HEADERS, 0, 1, http2.request("/")) + b"".join(F(http2.CONTINUATION, 0, 1, b"") for _ in range(50_000)),
            {"goaway", "closed"}),
        ("a reset a request", b"".join(F(http2.HEADERS, http2.END_HEADERS, 2 * at + 1, http2.request("/v2/health/live")) + F(http2.RST_STREAM, 0,
            2 * at + 1, struct.pack(">I", 8)) for at in range(5000)), {"goaway"}),
        ("an unknown frame", F(0x77, 0xFF, 1, b"x" * 100), {"alive"}),
        ("many pings", F(http2.PING, 0, 0, b"12345678") * 5000, {"alive", "goaway"}),
        ("many settings", F(http2.SETTINGS) * 5000, {"alive", "goaway"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_are_none(hostile: Hostile, name: str, frames: bytes, ends: set[str]):
    with http2.Connection(hostile.address) as connection:
        connection.send(frames)
        outcome = connection.outcome(ends=ends)
    assert outcome & ends, (name, outcome)
    if "status" not in ends and "alive" not in ends:
        assert "status" not in outcome, "it was taken for a request"
    hostile.is_unharmed()


def test_streams_that_wait_are_bounded(hostile: Hostile):
    """More requests at a time than agreed on are refused, stream by stream or all of them."""
    with http2.Connection(hostile.address) as connection:
        for at in range(400):
            connection.send(F(http2.HEADERS, http2.END_HEADERS, 2 * at + 1, http2.request(PREDICT)))
        assert connection.outcome() & {"reset", "goaway"}
    hostile.is_unharmed()


# gRPC.


def message(payload: bytes, flag: int = 0, length: int | None = None) -> bytes:
    return bytes([flag]) + struct.pack(">I", len(payload) if length is None else length) + payload


@pytest.mark.parametrize(
    ("name", "more", "body", "codes"),
    [
        ("nothing", (), b"", {13, 12, 3}),
        ("half a head", (), b"\0\0\0", {13}),
        ("less than it says", (), message(b"\x0a\x04rows", length=1000), {13}),
        ("more than all", (), message(b"", length=0xFFFFFFFF), {8}),
        ("packed, by no method", (), message(b"\x0a\x04rows", flag=1), {13}),
        ("an unknown flag", (), message(b"\x0a\x04rows", flag=7), {13}),
        ("no gzip", (("grpc-encoding", "gzip"),), message(b"\x0a\x04rows", flag=1), {13, 3}),
        ("a bomb", (("grpc-encoding", "gzip"),), message(gzip.compress(bytes(40 << 20), 9), flag=1), {8}),
        ("an unknown method of packing", (("grpc-encoding", "br"),), message(b"\x0a\x04rows", flag=1), {12}),
        ("a timeout of words", (("grpc-timeout", "soon"),), message(b"\x0a\x04rows"), {3, 13}),
        ("a timeout of 9 digits", (("grpc-timeout", "123456789S"),), message(b"\x0a\x04rows"), {3, 13}),
        ("a timeout that has passed", (("grpc-timeout", "0n"),), message(b"\x0a\x04rows"), {4}),
        ("no messages but text", (), b"hello world, this is no message", {8, 13}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_messages_that_are_none(hostile: Hostile, name: str, more: tuple, body: bytes, codes: set[int]):
    with http2.Connection(hostile.address) as connection:
        data = b"".join(F(http2.DATA, 0, 1, body[at : at + 16_000]) for at in range(0, len(body), 16_000))
        connection.send(F(*OPEN, http2.grpc(INFER, *more)) + data + F(http2.DATA, http2.END_STREAM, 1))
        outcome = connection.outcome()
    assert outcome & {f"grpc {code}" for code in codes}, (name, outcome)
    hostile.is_unharmed()


def test_what_is_no_call_is_no_grpc(hostile: Hostile):
    assert hostile.ask("GET", INFER).status == 405
    answer = hostile.ask("POST", INFER, b"{}", {"content-type": "application/json"})
    assert answer.status == 415
    assert hostile.ask("POST", INFER, b"{}", {"content-type": "application/grpc+json"}).status == 415


def pb(*fields: tuple[int, bytes | int]) -> bytes:
    """Fields of a message: bytes by their length, numbers as varints."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += http2.number(number << 3) + http2.number(value & (1 << 64) - 1)
        else:
            out += http2.number(number << 3 | 2) + http2.number(len(value)) + value
    return out


def infer(name=b"features", dtype=b"FP32", shape=(1, 4), raw=(tensor_bytes([1, 2, 3, 4]),), contents=None, model=ROWS.encode(), times=1) -> bytes:
    axes = b"".join(http2.number(size & (1 << 64) - 1) for size in shape)
    tensor = pb((1, name), (2, dtype), (3, axes), *([(5, contents)] if contents is not None else []))
    return pb((1, model), *[(5, tensor)] * times, *((7, one) for one in raw))


def predict(name=b"features", dtype=1, shape=(1, 4), content=tensor_bytes([1, 2, 3, 4]), model=ROWS.encode(), times=1) -> bytes:
    dims = b"".join(pb((2, pb((1, size)))) for size in shape)
    tensor = pb((1, dtype), (2, dims), (4, content))
    return pb((1, pb((1, model))), *[(2, pb((1, name), (2, tensor)))] * times)


Code = grpc.StatusCode
WRONG = [
    (INFER, "noise", b"\xff" * 100, Code.INVALID_ARGUMENT), (INFER, "a group", b"\x0b" * 10_000, Code.INVALID_ARGUMENT),
    (INFER, "field 0", b"\x02\x01a", Code.INVALID_ARGUMENT), (INFER, "cut", infer()[:-3], Code.INVALID_ARGUMENT),
    (INFER, "no utf-8", infer(model=b"\xff\xfe"), Code.INVALID_ARGUMENT), (INFER, "unknown model", infer(model=b"nobody"), Code.NOT_FOUND),
    (INFER, "traversal", infer(model=b"../../etc/passwd"), Code.NOT_FOUND), (INFER, "nothing", b"", Code.NOT_FOUND),
    (INFER, "unknown input", infer(name=b"x"), Code.INVALID_ARGUMENT), (INFER, "no input", infer(times=0, raw=()), Code.INVALID_ARGUMENT),
    (INFER, "an input twice", infer(times=2, raw=(tensor_bytes([1, 2, 3, 4]),) * 2), Code.INVALID_ARGUMENT),
    (INFER, "another type", infer(dtype=b"FP64"), Code.INVALID_ARGUMENT), (INFER, "no type", infer(dtype=b"FLOAT"), Code.INVALID_ARGUMENT),
    (INFER, "bytes", infer(dtype=b"BYTES"), Code.INVALID_ARGUMENT),
    (INFER, "rank 1", infer(shape=(4,)), Code.INVALID_ARGUMENT), (INFER, "rank 1000", infer(shape=(1,) * 1000), Code.INVALID_ARGUMENT),
    (INFER, "negative", infer(shape=(-1, 4)), Code.INVALID_ARGUMENT), (INFER, "huge", infer(shape=(1 << 62, 4)), Code.INVALID_ARGUMENT),
    (INFER, "short row", infer(shape=(1, 3)), Code.INVALID_ARGUMENT), (INFER, "short bytes", infer(raw=(b"123",)), Code.INVALID_ARGUMENT),
    (INFER, "long bytes", infer(raw=(bytes(20),)), Code.INVALID_ARGUMENT), (INFER, "no bytes", infer(raw=()), Code.INVALID_ARGUMENT),
    (INFER, "bytes for nobody", infer(raw=(bytes(16), bytes(16))), Code.INVALID_ARGUMENT),
    (INFER, "bytes and contents", infer(contents=pb((6, bytes(16)))), Code.INVALID_ARGUMENT),
    (INFER, "contents of another type", infer(raw=(), contents=pb((3, b"\1\1\1\1"))), Code.INVALID_ARGUMENT),
    (INFER, "too few contents", infer(raw=(), contents=pb((6, bytes(12)))), Code.INVALID_ARGUMENT),
    (INFER, "too many rows", infer(shape=(65_537, 4), raw=(bytes(16 * 65_537),)), Code.INVALID_ARGUMENT),
    (INFER, "over the limit", b"\x2a\0" * 17_000_000, Code.RESOURCE_EXHAUSTED),
    (INFER, "empty inputs", b"\x2a\0" * 2_000_000, Code.RESOURCE_EXHAUSTED),
    (INFER, "empty contents", pb((1, ROWS.encode())) + pb((5, pb((5, pb((8, b"")))))) * 500_000, Code.RESOURCE_EXHAUSTED),
    (INFER, "a long name", infer(name=b"x" * 1_000_000), Code.INVALID_ARGUMENT),
    (INFER, "a long model", infer(model=b"m" * 1_000_000), Code.NOT_FOUND),
    (INFER, "a long type", infer(dtype=b"F" * 1_000_000), Code.INVALID_ARGUMENT),
    (INFER, "a long version", infer() + pb((2, b"9" * 1_000_000)), Code.NOT_FOUND),
    (INFER, "an unknown output", infer() + pb((6, pb((1, b"x" * 1_000_000)))), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "a long name", predict(name=b"x" * 1_000_000), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "a long model", predict(model=b"m" * 1_000_000), Code.NOT_FOUND),
    ("/inference.GRPCInferenceService/ModelReady", "a long model", pb((1, b"m" * 1_000_000)), None),
    (TFS_PREDICT, "noise", b"\xff" * 100, Code.INVALID_ARGUMENT), (TFS_PREDICT, "nothing", b"", Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "cut", predict()[:-3], Code.INVALID_ARGUMENT), (TFS_PREDICT, "unknown model", predict(model=b"nobody"), Code.NOT_FOUND),
    (TFS_PREDICT, "no utf-8", predict(model=b"\xff"), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "unknown input", predict(name=b"x"), Code.INVALID_ARGUMENT), (TFS_PREDICT, "no input", predict(times=0), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "another type", predict(dtype=2), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "no type", predict(dtype=12345), Code.INVALID_ARGUMENT), (TFS_PREDICT, "strings", predict(dtype=7), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "rank 1", predict(shape=(4,)), Code.INVALID_ARGUMENT), (TFS_PREDICT, "rank 300", predict(shape=(1,) * 300), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "negative", predict(shape=(-1, 4)), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "huge", predict(shape=(1 << 62, 4)), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "product beyond 64 bits", predict(shape=(1 << 40, 1 << 40)), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "short content", predict(content=bytes(15)), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "long content", predict(content=bytes(17)), Code.INVALID_ARGUMENT),
    (TFS_PREDICT, "one value for all", pb((1, pb((1, ROWS.encode()))),
        (2, pb((1, b"features"), (2, pb((1, 1), (2, pb((2, pb((1, 65_537))), (2, pb((1, 4))))), (5, bytes(4))))))), Code.INVALID_ARGUMENT),
    ("/inference.GRPCInferenceService/ModelReady", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/tensorflow.serving.PredictionService/Classify", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/tensorflow.serving.PredictionService/GetModelMetadata", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/tensorflow.serving.ModelService/GetModelStatus", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/grpc.health.v1.Health/Check", "noise", b"\xff" * 100, Code.INVALID_ARGUMENT),
    ("/grpc.health.v1.Health/Check", "an unknown service", pb((1, b"nobody")), Code.NOT_FOUND),
    ("/inference.GRPCInferenceService/", "no method", b"", Code.UNIMPLEMENTED), ("/nobody.Service/Method", "no service", b"", Code.UNIMPLEMENTED),
]


def test_calls_that_are_wrong_have_their_status(hostile: Hostile):
    failures = []
    held = []
    with grpc.insecure_channel("%s:%d" % hostile.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        for _ in range(3):
            for method, name, body, code in WRONG:
                try:
                    channel.unary_unary(method)(body, timeout=20)
                    if code is None:
                        continue
                    failures.append(f"{method} {name}: it was answered")
                except grpc.RpcError as error:
                    details = error.details() or ""
                    if error.code() != code or not details or len(details) > 3000 or ".rs:" in details:
                        failures.append(f"{method} {name}: wanted {code.name}, {error.code().name}: {details[:200]}")
            held.append(hostile.resident_bytes())
    assert not failures, "\n".join(failures)
    assert held[2] - held[0] < GROWTH_BYTES_MAX, held
    hostile.is_unharmed()
    assert infer() and predict(), "the good ones the others were made of"
    with grpc.insecure_channel("%s:%d" % hostile.address) as channel:
        assert channel.unary_unary(INFER)(infer(), timeout=20) and channel.unary_unary(TFS_PREDICT)(predict(), timeout=20)
