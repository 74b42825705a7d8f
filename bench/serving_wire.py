"""How each server wants to be asked, and where its answer is: one `Wire` a form of request."""

import http.client
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import grpc
import numpy as np

TIMEOUT_SECONDS = 30
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Refused(Exception):
    """The server gave no answer to a request."""


class Misunderstood(Refused):
    """The server gave an answer of another form."""


@dataclass(frozen=True)
class Wire:
    """A form of request."""

    path: str
    body: Callable[[np.ndarray], bytes]
    # From the body of a reply to the probabilities [rows, classes].
    answer: Callable[[bytes], object]
    headers: dict[str, str] = field(default_factory=dict)
    # What some protocols say about a body in a header.
    headers_of: Callable[[np.ndarray], dict[str, str]] = lambda rows: {}
    http2: bool = False

    def with_key(self, key: str) -> "Wire":
        return replace(self, headers=self.headers | {"authorization": f"Bearer {key}"})

    def headers_for(self, rows: np.ndarray) -> dict[str, str]:
        return {"content-type": "application/json"} | self.headers | self.headers_of(rows)

    def ask(self, port: int, rows: np.ndarray) -> np.ndarray:
        """One request on a connection of its own. Raises OSError where nobody listens, `Refused` where there is no answer."""
        send = self.ask_grpc if self.http2 else self.ask_http
        reply = send(port, rows)
        try:
            return np.asarray(self.answer(reply), np.float64)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise Misunderstood(f"{self.path}: not understood: {reply[:300]!r}") from error

    def ask_http(self, port: int, rows: np.ndarray) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", self.path, self.body(rows), self.headers_for(rows))
            reply = connection.getresponse()
            data = reply.read()
        except http.client.HTTPException as error:
            raise Refused(f"{self.path}: {error!r}") from error
        finally:
            connection.close()
        if reply.status != 200:
            raise Refused(f"{self.path}: {reply.status}: {data[:300]!r}")
        return data

    def ask_grpc(self, port: int, rows: np.ndarray) -> bytes:
        metadata = [(key, value) for key, value in self.headers.items() if key not in ("te", "content-type")]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                # Without the five bytes before a message.
                return channel.unary_unary(self.path)(self.body(rows)[5:], timeout=TIMEOUT_SECONDS, metadata=metadata)
            except grpc.RpcError as error:
                raise Refused(f"{self.path}: {error.code().name}: {error.details()}") from error


def instances(path: str, answer: Callable[[dict], object] = lambda reply: reply["predictions"], key: str = "instances") -> Wire:
    """Rows in JSON: `{"instances": [[...], ...]}`."""
    return Wire(path, lambda rows: dump({key: rows.tolist()}), lambda reply: answer(json.loads(reply)))


def mlflow() -> Wire:
    """The scoring server of MLflow."""
    body = lambda rows: dump({"inputs": {"features": rows.tolist()}})
    return Wire("/invocations", body, lambda reply: json.loads(reply)["predictions"]["probabilities"])


def inference_json(path: str) -> Wire:
    """The Open Inference Protocol, version 2, in JSON."""

    def body(rows: np.ndarray) -> bytes:
        return dump({"inputs": [tensor(rows) | {"data": rows.ravel().tolist()}]})

    def answer(reply: bytes) -> np.ndarray:
        (output,) = json.loads(reply)["outputs"]
        return np.reshape(output["data"], output["shape"])

    return Wire(path, body, answer)


def inference_binary(path: str) -> Wire:
    """The Open Inference Protocol, version 2, with Triton's binary tensors both ways."""

    def head(rows: np.ndarray) -> bytes:
        given = tensor(rows) | {"parameters": {"binary_data_size": 4 * rows.size}}
        return dump({"inputs": [given], "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]})

    def answer(reply: bytes) -> np.ndarray:
        described, _ = json.JSONDecoder().raw_decode(reply.decode("latin-1"))
        (output,) = described["outputs"]
        return np.frombuffer(reply[-output["parameters"]["binary_data_size"] :], "<f4").reshape(output["shape"])

    return Wire(
        path, lambda rows: head(rows) + rows.astype("<f4").tobytes(), answer, {"content-type": "application/octet-stream"},
        headers_of=lambda rows: {"inference-header-content-length": str(len(head(rows)))},
    )


def inference_grpc(model: str) -> Wire:
    """The Open Inference Protocol, version 2, over gRPC, with raw tensors."""

    def body(rows: np.ndarray) -> bytes:
        shape = b"".join(map(varint, rows.shape))
        given = part(1, b"features") + part(2, b"FP32") + part(3, shape)
        message = part(1, model.encode()) + part(5, given) + part(7, rows.astype("<f4").tobytes())
        return struct.pack(">BI", 0, len(message)) + message

    def answer(reply: bytes) -> np.ndarray:
        fields = parts(reply)
        (output,) = (value for number, value in fields if number == 5)
        (raw,) = (value for number, value in fields if number == 6)
        shape = list(varints(b"".join(v if isinstance(v, bytes) else varint(v) for n, v in parts(output) if n == 3)))
        return np.frombuffer(raw, "<f4").reshape(shape)

    return Wire(INFER, body, answer, {"content-type": "application/grpc", "te": "trailers"}, http2=True)


def tensor(rows: np.ndarray) -> dict:
    return {"name": "features", "shape": list(rows.shape), "datatype": "FP32"}


def dump(document: object) -> bytes:
    return json.dumps(document).encode()


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(data + bytes([value]))


def varints(data: bytes):
    """All the numbers that are packed in `data`."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def part(number: int, data: bytes) -> bytes:
    """A field of a protocol buffer that has a length."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def parts(data: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a protocol buffer: numbers and bytes (a message that has others is not one of ours)."""
    found, place = [], 0

    def number() -> int:
        nonlocal place
        begin = place
        while data[place] >= 0x80:
            place += 1
        place += 1
        return next(varints(data[begin:place]))

    while place < len(data):
        tag = number()
        if tag & 7 == 2:
            length = number()
            found.append((tag >> 3, data[place : place + length]))
            place += length
        elif tag & 7 == 0:
            found.append((tag >> 3, number()))
        else:
            raise ValueError(f"a field of wire type {tag & 7}")
    return found
