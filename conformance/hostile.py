"""A server with two small models for input that means harm: bytes straight onto the wire, and what it holds of memory and files."""

import json
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from program import Program, Server

SECONDS_MAX = 20
VERTEX = "/v1/projects/default/locations/l/endpoints"
# A row of four numbers, and a model of several tensors.
ROWS, SEVERAL = "rows", "several"
GOOD_ROW = [0.5, -1.25, 3.0, 0.1]
GOOD = json.dumps({"instances": [GOOD_ROW]}).encode()


def rows_model(path: Path) -> Path:
    """`features` [batch, 4] to `p` [batch, 3]."""
    draw = np.random.default_rng(3)
    weights = [numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name) for name, shape in (("a", (4, 16)), ("b", (16, 3)))]
    nodes = [
        helper.make_node("MatMul", ["features", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["l"]),
        helper.make_node("Softmax", ["l"], ["p"], axis=1),
    ]
    tensor = lambda name, columns: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])  # noqa: E731
    graph = helper.make_graph(nodes, "rows", [tensor("features", 4)], [tensor("p", 3)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def several_model(path: Path) -> Path:
    """`x` [batch, 2] and the integers `n` [batch, 1] to `y` [batch, 2]."""
    nodes = [helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "f"], ["y"])]
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["batch", 2]), value("n", TensorProto.INT64, ["batch", 1])]
    graph = helper.make_graph(nodes, "several", inputs, [value("y", TensorProto.FLOAT, ["batch", 2])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@dataclass
class Answer:
    """A reply as it came over the wire; status 0: the line was closed without one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    # Whether the server closed the line after it.
    closed: bool = False

    @property
    def json(self):
        return json.loads(self.body)


class Line:
    """A connection of HTTP/1.1 on which anything can be sent."""

    def __init__(self, address: tuple[str, int], seconds: float = SECONDS_MAX, source: str | None = None):
        self.socket = socket.create_connection(address, timeout=seconds, source_address=source and (source, 0))
        self.kept = b""

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """What the server will not read any more is not our fault."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def finish(self) -> None:
        """Nothing more will be sent; the server may have closed the line before."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _more(self) -> bool:
        try:
            got = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.kept += got
        return bool(got)

    def answer(self, method: str = "POST") -> Answer:
        """The next reply."""
        while b"\r\n\r\n" not in self.kept:
            if not self._more():
                assert not self.kept, f"a reply broke off: {self.kept!r}"
                return Answer(0, closed=True)
        head, self.kept = self.kept.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        status = int(first.split(" ")[1])
        length = 0 if method == "HEAD" or status in (100, 204, 304) else int(headers.get("content-length", 0))
        assert "transfer-encoding" not in headers, "replies of this server are of one piece"
        while len(self.kept) < length:
            assert self._more(), "a reply broke off"
        body, self.kept = self.kept[:length], self.kept[length:]
        return Answer(status, headers, body)

    def is_readable(self) -> bool:
        """Whether something has come."""
        seconds = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            return bool(self.kept or self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(seconds)

    def is_closed(self, seconds: float = SECONDS_MAX) -> bool:
        """Whether the server ends the line within some time without another word."""
        self.socket.settimeout(seconds)
        try:
            return not self.kept and not self.socket.recv(1)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


class Hostile:
    """The server."""

    def __init__(self, binary: Path, folder: Path, *arguments: str):
        program = Program(binary, folder / "data", folder)
        for name, path in ((ROWS, rows_model(folder / "rows.onnx")), (SEVERAL, several_model(folder / "several.onnx"))):
            program.succeed("model", "upload", path, "--model", name)
            program.succeed("endpoint", "create", name)
            program.succeed("endpoint", "deploy", name, "--model", name, "--cpu-cores", "1", "--memory-gb", "1")
        self.folder = folder
        # The time for a request is the default, which test_hostile_slow.py outlasts.
        self.server: Server = program.serve("--default-model", ROWS, "--request-timeout-s", "60", *arguments)
        host, port = self.server.url.removeprefix("http://").split(":")
        self.address = host, int(port)
        self.bits = self.predict()
        self.files = self.open_files()

    def line(self, seconds: float = SECONDS_MAX, source: str | None = None) -> Line:
        """A line to it, from another address than usual if one is given."""
        return Line(self.address, seconds, source)

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, announced: int | None = None, source: str | None = None) -> Answer:
        """One request on a line of its own."""
        length = len(body) if announced is None else announced
        given = {"host": "localhost", "content-length": str(length), "connection": "close"} | (headers or {})
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"
        with self.line(source=source) as line:
            line.send(head.encode("latin-1") + body)
            return line.answer(method)

    def predict(self) -> bytes:
        """The answer to a good question, bit by bit."""
        json_bytes = json.dumps({
            "inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": GOOD_ROW}],
            "parameters": {"binary_data_output": True},
        }).encode()
        reply = self.ask("POST", f"/v2/models/{ROWS}/infer", json_bytes)
        assert reply.status == 200, reply
        return reply.body[int(reply.headers["inference-header-content-length"]):]

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.server.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.server.process.pid}/fd"))

    def is_unharmed(self) -> None:
        """It lives, answers with the same bits, has not panicked and holds no line open."""
        assert self.server.process.poll() is None, self.server.log.read_text()
        assert self.predict() == self.bits
        assert "panicked" not in self.server.log.read_text()

    def stop(self) -> None:
        assert self.server.stop() == 0, self.server.log.read_text()
        assert "panicked" not in self.server.log.read_text()


def tensor_bytes(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)
