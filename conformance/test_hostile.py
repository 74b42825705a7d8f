"""Bodies, names and methods that mean harm, to every protocol over HTTP: the protocol's own refusal with the right status, and a server
that goes on as if nothing had been."""

import gzip
import io
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from hostile import GOOD, GOOD_ROW, ROWS, SEVERAL, VERTEX, Answer, Hostile, tensor_bytes

# A body's limit, and one more; the rows' limit.
BODY_BYTES_MAX = 32 << 20
ROWS_MAX = 65_536
DEEP = 10_000
# What rounds of all cases may leave behind.
GROWTH_BYTES_MAX = 16 << 20
STREAM = "application/vnd.apache.arrow.stream"
JSON = "application/json"

P_VERTEX, P_SEVERAL = f"{VERTEX}/{ROWS}:predict", f"{VERTEX}/{SEVERAL}:predict"
P_V2, P_V2_SEVERAL = f"/v2/models/{ROWS}/infer", f"/v2/models/{SEVERAL}/infer"
P_TFS, P_TFS_SEVERAL = f"/v1/models/{ROWS}:predict", f"/v1/models/{SEVERAL}:predict"
P_CLASSIFY, P_REGRESS = f"/v1/models/{ROWS}:classify", f"/v1/models/{ROWS}:regress"
P_MLFLOW, P_SAGEMAKER = "/invocations", f"/endpoints/{ROWS}/invocations"
P_UPLOAD = "/upload/storage/v1/b/bucket/o"
P_KEYS = "/bellwether/v1/keys"

# Statuses of Google's APIs.
NAMES = {
    400: ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"), 403: ("PERMISSION_DENIED",), 404: ("NOT_FOUND",),
    405: ("INVALID_ARGUMENT",), 413: ("INVALID_ARGUMENT",), 415: ("INVALID_ARGUMENT",), 429: ("RESOURCE_EXHAUSTED",),
    501: ("UNIMPLEMENTED",),
}


@dataclass
class Case:
    """A request, and how it must be answered."""

    name: str
    path: str
    body: bytes
    status: int
    words: str = ""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    # The length in the head, if it is not the body's.
    announced: int | None = None

    def is_in_the_protocols_shape(self, answer: Answer) -> None:
        kind = answer.headers.get("content-type", "").split(";")[0]
        path = self.path.lower()
        if path.startswith(("/invocations", "/endpoints/")) and self.status == 415:
            assert kind == "text/plain" and answer.body
            return
        assert kind == JSON, (kind, answer.body[:300])
        said = answer.json
        if path.startswith(("/invocations", "/endpoints/")):
            assert set(said) >= {"error_code", "message"} and said["message"], said
            message = said["message"]
        elif path.startswith(("/v1/models", "/v2")) or (path.startswith("/v1/") and not path.startswith("/v1/projects")):
            assert set(said) == {"error"}, said
            message = said["error"]
        else:
            assert set(said) == {"error"} and {"code", "message", "status"} <= set(said["error"]), said
            assert said["error"]["code"] == self.status and said["error"]["status"] in NAMES[self.status], said
            message = said["error"]["message"]
        assert isinstance(message, str) and 0 < len(message) < 4000, said
        assert self.words.lower() in message.lower(), f"{self.words!r} is not in: {message}"
        for inside in ("/rustc/", ".rs:", "src/", "unwrap", "RefCell"):
            assert inside not in message, message


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()


def deep(before: bytes, after: bytes = b"", closed: bool = False) -> bytes:
    return before + b"[" * DEEP + (b"1" + b"]" * DEEP if closed else b"") + after


def row_with(value: str) -> str:
    return "[0.5, 1, 2, " + value + "]"


def bomb(coding: str) -> bytes:
    """A few kilobytes that become more than a body may have."""
    zeros = b" " * (BODY_BYTES_MAX + 1)
    return gzip.compress(zeros, 9) if coding == "gzip" else zlib.compress(zeros, 9)


BOMBS = {coding: bomb(coding) for coding in ("gzip", "deflate")}


# What is wrong in any protocol whose body is JSON.


def no_json(path: str, words: str, bare: bool) -> Iterator[Case]:
    good = GOOD if path not in (P_V2, P_V2_SEVERAL) else v2(data=GOOD_ROW)
    utf16 = good.decode().encode("utf-16")
    for name, body in [
        ("words", b"hello"), ("one byte", b"{"), ("nul", b"\0"), ("nuls", b"\0" * 1000), ("blanks", b" \n\t "), ("xml", b"<a/>"),
        ("pickle", b"\x80\x04\x95\x10\x00\x00\x00"), ("utf-16", utf16), ("bom", b"\xef\xbb\xbf" + good),
        ("single quotes", good.replace(b'"', b"'")), ("comment", b"/* */" + good), ("open text", b'{"instances'),
        ("no colon", b'{"instances" [[1]]}'), ("two commas", b'{"instances": [[1,,2]]}'), ("comma at the end", b'{"a": 1,}'),
        ("hex number", b'{"instances": [[0x10,1,1,1]]}'), ("leading zero", b'{"instances": [[01,1,1,1]]}'), ("plus", b'{"instances": [[+1,1,1,1]]}'),
        ("half number", b'{"instances": [[1.,1,1,1]]}'), ("half exponent", b'{"instances": [[1e,1,1,1]]}'),
        ("long number", b'{"instances": [[' + b"9" * 100_000 + b",1,1,1]]}"), ("huge exponent", b'{"instances": [[1e999999999999,1,1,1]]}'),
        ("odd escape", b'{"\\x": 1}'), ("half escape", b'{"\\u12": 1}'), ("lone surrogate", b'{"\\ud800": 1}'),
        ("no utf-8 in a key", b'{"\xff\xfe": 1}'), ("overlong utf-8", b'{"\xc0\xaf": 1}'), ("surrogate in utf-8", b'{"\xed\xa0\x80": 1}'),
        ("control character", b'{"a\nb": 1}'), ("deep lists", deep(b'{"instances": ')), ("deep and closed", deep(b'{"instances": ', b"}", True)),
        ("deep objects", b'{"a":' * DEEP), ("deep and unknown", deep(b'{"unknown": ', b"}", True)), ("deep at once", deep(b"")),
        ("a million brackets", b"[" * 1_000_000),
        *([] if bare else [("nan", b'{"instances": [[NaN,1,1,1]]}'), ("infinity", b'{"instances": [[-Infinity,1,1,1]]}')]),
    ]:
        yield Case(name, path, body, 400, words)
    yield Case("empty", path, b"", 400)
    for share in (0.1, 0.5, 0.9):
        yield Case(f"cut at {share}", path, good[: int(len(good) * share)], 400, words)


def any_body(path: str) -> Iterator[Case]:
    """What is refused before a body is looked at."""
    yield Case("too long", path, b"", 413, "limit", announced=BODY_BYTES_MAX + 1)
    yield Case("far too long", path, b"", 413, "limit", announced=(1 << 63) - 1)
    for coding in ("gzip", "deflate"):
        yield Case(f"{coding} bomb", path, BOMBS[coding], 413, "limit", headers={"content-encoding": coding})
        yield Case(f"no {coding}", path, b"{}", 400, coding, headers={"content-encoding": coding})
        yield Case(f"cut {coding}", path, BOMBS[coding][:1000], 400, coding, headers={"content-encoding": coding})
    yield Case("unknown coding", path, GOOD, 415, "br", headers={"content-encoding": "br"})
    yield Case("coding of a coding", path, gzip.compress(gzip.compress(GOOD)), 415, headers={"content-encoding": "gzip, gzip"})


# Vertex AI.


def vertex() -> Iterator[Case]:
    yield from no_json(P_VERTEX, "", bare=False)
    yield from any_body(P_VERTEX)
    rows = f"{{\"instances\": [[0.5, 1, 2, 3], %s]}}"
    for name, row, words in [
        ("short", "[1, 2, 3]", "instance 1"), ("long", "[1, 2, 3, 4, 5]", "instance 1"), ("no row", "[]", "instance 1"),
        ("number", "7", "instance 1"), ("text", '"AAPL"', "instance 1"), ("null", "null", "instance 1"), ("true", "true", "instance 1"),
        ("too deep", "[[1, 2, 3, 4]]", "instance 1"), ("an object in it", row_with("{}"), "place 3"), ("a text in it", row_with('"x"'), "place 3"),
        ("a flag in it", row_with("true"), "place 3"), ("beyond a single", row_with("1e39"), "place 3"),
        ("beyond, negative", row_with("-3.5e38"), "place 3"),
        ("an infinity's name", row_with('"Infinity"'), "place 3"), ("an empty object", "{}", "instance 1"),
        ("both forms", '{"features": [1,2,3,4], "symbol": "A"}', "instance 1"),
        ("a form twice", '{"features": [1,2,3,4], "features": [1,2,3,4]}', "instance 1"),
        ("an unknown form", '{"rows": [1,2,3,4]}', "instances[1].rows"), ("a long symbol", '{"symbol": "%s"}' % ("A" * 100_000), "instance 1"),
    ]:
        yield Case(f"a row that is {name}", P_VERTEX, (rows % row).encode(), 400, words)
    for name, body, words in [
        ("a list", [GOOD_ROW], "instances"), ("no instances", {}, "instances"), ("none", {"instances": []}, "instances"),
        ("not a list", {"instances": {"a": 1}}, "instances"), ("null", {"instances": None}, "instances"),
        ("unknown key", {"instances": [GOOD_ROW], "x": 1}, "x"), ("long unknown key", {"x" * 100_000: 1}, "xxx"),
        ("parameters of a list", {"instances": [GOOD_ROW], "parameters": [1]}, ""),
        ("unknown parameter", {"instances": [GOOD_ROW], "parameters": {"x": 1}}, "parameters.x"),
        ("no date", {"instances": [GOOD_ROW], "parameters": {"as_of": "2020-02-30"}}, "as_of"),
        ("too many rows", {"instances": [[1, 2, 3, 4]] * (ROWS_MAX + 1)}, "instances"),
        ("a symbol without data", {"instances": [{"symbol": "AAPL"}]}, ""),
    ]:
        yield Case(name, P_VERTEX, dumps(body), 400, words)
    good = json.dumps([GOOD_ROW])
    yield Case("a key twice", P_VERTEX, f'{{"instances": {good}, "instances": {good}}}'.encode(), 400, "twice")
    yield Case("something after it", P_VERTEX, GOOD + b" {}", 400)
    for name, instance, words in [
        ("a row", "[1, 2]", "instance 0"), ("one lacks", '{"x": [1, 2]}', '"n"'), ("one too many", '{"x": [1, 2], "n": [1], "z": 1}', "z"),
        ("one twice", '{"x": [1, 2], "x": [1, 2], "n": [1]}', ""), ("half an integer", '{"x": [1, 2], "n": [1.5]}', "n"),
        ("a large integer", '{"x": [1, 2], "n": [9223372036854775808]}', "n"), ("a missing integer", '{"x": [1, 2], "n": [null]}', "n"),
        ("ragged", '{"x": [1, 2, 3], "n": [1]}', "x"), ("beyond a single", '{"x": [1, 1e39], "n": [1]}', "x"),
        ("too deep", '{"x": [[1, 2]], "n": [1]}', "x"),
    ]:
        yield Case(f"tensors, {name}", P_SEVERAL, f'{{"instances": [{instance}]}}'.encode(), 400, words)
    yield Case("tensors, too many", P_SEVERAL, dumps({"instances": [{"x": [1, 2], "n": [1]}] * (ROWS_MAX + 1)}), 400, "instances")
    for name, path, status in [
        ("unknown endpoint", f"{VERTEX}/nobody:predict", 404), ("unknown verb", f"{VERTEX}/{ROWS}:drop", 404),
        ("no verb", f"{VERTEX}/{ROWS}:", 405), ("traversal", f"{VERTEX}/..%2f..%2fregistry.sqlite:predict", 404),
        ("dots", f"{VERTEX}/../../../../etc/passwd", 404), ("no utf-8", f"{VERTEX}/%ff:predict", 400), ("nul", f"{VERTEX}/a%00b:predict", 404),
        ("line break", f"{VERTEX}/a%0d%0ab:predict", 404), ("twice escaped", f"{VERTEX}/rows%253Apredict", 405),
        ("no location", "/v1/projects/default/locations//endpoints/rows:predict", 400),
        ("a project of dots", "/v1/projects/../locations/l/endpoints/rows:predict", 400), ("sql", f"{VERTEX}/rows'%20OR%201=1--:predict", 404),
        ("a long name", f"{VERTEX}/{'a' * 20_000}:predict", 404),
    ]:
        yield Case(name, path, GOOD, status)
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
        yield Case(method, P_VERTEX, b"", 405, method=method)
    for name, path, body in [
        ("upload", "/v1/projects/default/locations/l/models:upload", b'{"model": 7}'),
        ("upload, nothing", "/v1/projects/default/locations/l/models:upload", b"{}"),
        ("deploy", f"{VERTEX}/{ROWS}:deployModel", b'{"deployedModel": []}'),
        ("undeploy", f"{VERTEX}/{ROWS}:undeployModel", b'{"deployedModelId": {}}'),
        ("create", f"{VERTEX}?endpointId=..%2fx", b'{"displayName": "x"}'), ("create, deep", VERTEX, deep(b'{"displayName": ')),
        ("job", "/v1/projects/default/locations/l/customJobs", b'{"jobSpec": "x"}'),
    ]:
        yield Case(f"a change: {name}", path, body, 400)
    yield Case("a change: a field twice", VERTEX, b'{"displayName": "x", "displayName": "y"}', 400, "twice")
    yield Case("a folder of the machine", "/v1/projects/default/locations/l/models:upload",
        dumps({"modelId": "x", "model": {"displayName": "x", "artifactUri": "file:///etc"}}), 403)
    yield Case("a page of nothing", "/v1/projects/default/locations/l/models?pageSize=99999999999999999999", b"", 400, "page", method="GET")


# The Open Inference Protocol.


def v2(name="features", shape=(1, 4), datatype="FP32", data=None, **more) -> bytes:
    given = {"name": name, "shape": list(shape) if isinstance(shape, tuple) else shape,
        "datatype": datatype} | ({} if data is None else {"data": data}) | more
    return dumps({"inputs": [given]})


def open_inference() -> Iterator[Case]:
    yield from no_json(P_V2, "", bare=True)
    yield from any_body(P_V2)
    row = GOOD_ROW
    for name, body, words in [
        ("a list", b"[]", "object"), ("no inputs", b"{}", "inputs"), ("inputs of an object", b'{"inputs": {}}', "inputs"),
        ("inputs of numbers", b'{"inputs": [1]}', "inputs"),
        ("none", b'{"inputs": []}', ""), ("unknown name", v2("x", data=row), "unexpected inference input 'x'"),
        ("long name", v2("x" * 100_000, data=row), "unexpected inference input"),
        ("no name", dumps({"inputs": [{"shape": [1, 4], "datatype": "FP32", "data": row}]}), "name"),
        ("name of a number", v2(7, data=row), "name"), ("short row", v2(shape=(1, 3), data=[1, 2, 3]), "shape"),
        ("rank 1", v2(shape=(4,), data=row), "shape"),
        ("rank 3", v2(shape=(1, 1, 4), data=row), "shape"), ("rank 0", v2(shape=(), data=row), "shape"),
        ("rank 1000", v2(shape=[1] * 1000, data=row), "shape"),
        ("negative axis", v2(shape=(-1, 4), data=row), "shape"), ("half axis", v2(shape=[1.5, 4], data=row), "shape"),
        ("shape of a text", v2(shape="1,4", data=row), "shape"),
        ("huge shape", v2(shape=(1 << 62, 4), data=row), "rows"), ("largest shape", v2(shape=((1 << 63) - 1, 4), data=row), "rows"),
        ("beyond 64 bits", v2(shape=(1 << 64, 4), data=row), "shape"),
        ("rows of another time", v2(shape=(ROWS_MAX, 4), data=row), "elements"), ("no data", v2(), "data"),
        ("data of an object", v2(data={}), "data"),
        ("data of a number", v2(data=1), "data"), ("too few", v2(data=[1, 2, 3]), "3 elements"), ("too many", v2(data=[1, 2, 3, 4, 5]), "5 elements"),
        ("ragged", v2(shape=(2, 4), data=[[1, 2, 3, 4], [1, 2, 3]]), "ragged"), ("too deep", v2(data=[[[1, 2, 3, 4]]]), "nested"),
        ("mixed", v2(data=[1, [2], 3, 4]), ""),
        ("text", v2(data=[1, 2, 3, "x"]), "not fp32"), ("flag", v2(data=[1, 2, 3, True]), "not fp32"), ("object", v2(data=[1, 2, 3, {}]), "not fp32"),
        ("beyond a single", v2(data=[1, 2, 3, 1e39]), "does not fit"),
        ("infinity's name", v2(data=[1, 2, 3, "Infinity"]), "not fp32"),
        ("another type", v2(datatype="FP64", data=row), "FP64"), ("no type", v2(datatype="FLOAT", data=row), "FLOAT"),
        ("type of a number", v2(datatype=1, data=row), "datatype"),
        ("long type", v2(datatype="F" * 100_000, data=row), "datatype"), ("BYTES", v2(datatype="BYTES", data=["a"]), "BYTES"),
        ("an input twice", dumps({"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": row}] * 2}), "twice"),
        ("a key twice", b'{"inputs": [], "inputs": []}', "twice"),
        ("a key of an input twice", b'{"inputs": [{"name": "features", "name": "features"}]}', "twice"),
        ("300 keys", dumps({f"k{at}": 1 for at in range(300)}), "keys"),
        ("unknown output", dumps(json.loads(v2(data=row)) | {"outputs": [{"name": "x"}]}), "unexpected inference output"),
        ("an output twice", dumps(json.loads(v2(data=row)) | {"outputs": [{"name": "p"}, {"name": "p"}]}), "twice"),
        ("outputs of a text", dumps(json.loads(v2(data=row)) | {"outputs": "p"}), "outputs"),
        ("id of a number", dumps(json.loads(v2(data=row)) | {"id": 7}), "id"),
        ("parameters of a list", dumps(json.loads(v2(data=row)) | {"parameters": []}), "parameters"),
        ("negative classes", dumps(json.loads(v2(data=row)) | {"outputs": [{"name": "p", "parameters": {"classification": -1}}]}),
            "classification"),
        ("something after it", v2(data=row) + b" 1", ""), ("sizes without bytes", v2(parameters={"binary_data_size": 16}), "binary_data_size"),
        ("data and bytes", v2(data=row, parameters={"binary_data_size": 16}), "both"),
        ("shared memory", v2(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16}), ""),
    ]:
        yield Case(name, P_V2, body, 400, words)
    raw = tensor_bytes(GOOD_ROW)
    head = lambda size: v2(parameters={"binary_data_size": size})  # noqa: E731
    for name, json_bytes, rest, length, words in [
        ("cut", head(16), raw[:7], None, "left"), ("too small a size", head(12), raw[:12], None, "byte size"),
        ("too large a size", head(1 << 40), raw, None, "byte size"),
        ("negative size", head(-16), raw, None, "binary_data_size"), ("bytes nobody asked for", head(16), raw + b"1234", None, "additional"),
        ("head beyond the body", head(16), raw, 1 << 20, "body has"), ("negative head", head(16), raw, -1, "number of bytes"),
        ("head of a word", head(16), raw, "all", "number of bytes"),
        ("head of 20 digits", head(16), raw, "9" * 20, "number of bytes"), ("head cuts the JSON", head(16), raw, 10, ""),
        ("raw, short", b"", raw[:12], 0, "byte size"), ("raw, two rows", b"", raw * 2, 0, "byte size"),
        ("raw, nothing", b"", b"", 0, "byte size"),
    ]:
        length = len(json_bytes) if length is None else length
        yield Case(f"binary, {name}", P_V2, json_bytes + rest, 400, words, headers={"inference-header-content-length": str(length)})
    yield Case("raw for several inputs", P_V2_SEVERAL, raw, 400, "1 input", headers={"inference-header-content-length": "0"})
    for name, path, status in [
        ("unknown model", "/v2/models/nobody/infer", 404), ("unknown version", f"/v2/models/{ROWS}/versions/99/infer", 404),
        ("unknown alias", f"/v2/models/{ROWS}/versions/x/infer", 404),
        ("version of 11 digits", f"/v2/models/{ROWS}/versions/99999999999/infer", 400), ("empty name", "/v2/models//infer", 400),
        ("no utf-8", "/v2/models/%ff/infer", 400),
        ("nul", "/v2/models/a%00b/infer", 400), ("line break", "/v2/models/a%0d%0ab/infer", 400),
        ("traversal", "/v2/models/..%2f..%2fetc%2fpasswd/infer", 404),
        ("dots", "/v2/models/../../etc/passwd", 404), ("no verb", f"/v2/models/{ROWS}/drop", 404), ("no path", "/v2/nothing", 404),
        ("long name", f"/v2/models/{'m' * 20_000}/infer", 404),
        ("shared memory", "/v2/systemsharedmemory/region/..%2fx/register", 501),
    ]:
        yield Case(name, path, v2(data=GOOD_ROW), status)
    for method in ("GET", "PUT", "DELETE", "BREW"):
        yield Case(method, P_V2, b"", 405, method=method)
    yield Case("index of a text", "/v2/repository/index", b'"x"', 400)
    yield Case("index, deep", "/v2/repository/index", deep(b'{"ready": '), 400)
    yield Case("load of nobody", "/v2/repository/models/nobody/load", b"{}", 404)
    yield Case("load with a config", f"/v2/repository/models/{ROWS}/load", b'{"parameters": {"config": "{}"}}', 400)
    yield Case("load of files", f"/v2/repository/models/{ROWS}/load", dumps({"parameters": {"config": "{}", "file:../../x": "AAAA"}}), 400)
    yield Case("load, not JSON", f"/v2/repository/models/{ROWS}/load", b"{", 400)


# TensorFlow Serving.


def tensorflow_serving() -> Iterator[Case]:
    for path in (P_TFS, P_CLASSIFY, P_REGRESS):
        yield from no_json(path, "JSON", bare=True)
    yield from any_body(P_TFS)
    failed = "Failed to process element: 1 of 'instances' list"
    for name, row, words in [
        ("short", "[1, 2, 3]", f"{failed}. Error: INVALID_ARGUMENT: Expecting tensor size: 4 but got: 3"),
        ("long", "[1, 2, 3, 4, 5]", f"{failed}. Error: INVALID_ARGUMENT: Expecting tensor size: 4 but got: 5"),
        ("empty", "[]", failed), ("a number", "7", failed), ("too deep", "[[1, 2, 3, 4]]", failed),
        ("named", '{"features": [1,2,3,4]}', "Expecting value/list but got object at item 1"),
        ("a text in it", row_with('"x"'), 'JSON Value: "x" Type: String is not of expected type: float'),
        ("null in it", row_with("null"), "Type: Null is not of expected type: float"),
        ("a flag in it", row_with("true"), "Type: True is not of expected type: float"),
        ("an object in it", row_with("{}"), "Type: Object is not of expected type: float"), ("beyond a single", row_with("1e39"), "float"),
    ]:
        yield Case(f"a row that is {name}", P_TFS, f'{{"instances": [[0.5, 1, 2, 3], {row}]}}'.encode(), 400, words)
    for name, body, words in [
        ("a list", b"[1,2]", "Is not object"), ("a number", b"7", "Is not object"), ("neither", b"{}", "Missing 'inputs' or 'instances' key"),
        ("no list", b'{"instances": 7}', "Expecting 'instances' to be an list/array"),
        ("none", b'{"instances": []}', "No values in 'instances' array"),
        ("both", b'{"instances": [[1,2,3,4]], "inputs": [[1,2,3,4]]}',
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"),
        ("signature of a number", b'{"signature_name": 7, "instances": [[1,2,3,4]]}', "'signature_name' key must be a string value"),
        ("unknown signature", b'{"signature_name": "x", "instances": [[1,2,3,4]]}', 'Serving signature name: "x" not found in signature def'),
        ("a key twice", b'{"instances": [[1,2,3,4]], "instances": [[1,2,3,4]]}', "twice"), ("bytes", b'{"instances": [{"b64": "AAAA"}]}', ""),
        ("inputs of another name", b'{"inputs": {"x": [[1,2,3,4]]}}', "Missing named input: features in 'inputs' object."),
        ("too many rows", dumps({"instances": [[1, 2, 3, 4]] * (ROWS_MAX + 1)}), "more than"),
        ("too many rows in columns", dumps({"inputs": [[1, 2, 3, 4]] * (ROWS_MAX + 1)}), "more than"),
        ("rank 1", b'{"inputs": [1, 2, 3, 4]}', ""), ("rank 3", b'{"inputs": [[[1, 2, 3, 4]]]}', ""), ("no rows", b'{"inputs": []}', ""),
    ]:
        yield Case(name, P_TFS, body, 400, words)
    for name, body, words in [
        ("plain", b'{"instances": [[1, 2]]}', "expecting list of objects"),
        ("one lacks", b'{"instances": [{"x": [1, 2]}]}', "keys must be equal to: n,x"),
        ("one too many", b'{"instances": [{"x": [1, 2], "n": [1], "z": 1}]}', "does not have named input: z"),
        ("half an integer", b'{"instances": [{"x": [1, 2], "n": [1.0]}]}', "is not of expected type: int64"),
        ("large integer", b'{"instances": [{"x": [1, 2], "n": [9223372036854775808]}]}', "int64"),
        ("columns lack", b'{"inputs": {"x": [[1, 2]]}}', "Missing named input: n in 'inputs' object."),
        ("columns plain", b'{"inputs": [[1, 2]]}', "expecting an object"), ("uneven columns", b'{"inputs": {"x": [[1, 2]], "n": [[1], [2]]}}', ""),
    ]:
        yield Case(f"several, {name}", P_TFS_SEVERAL, body, 400, words)
    for path in (P_CLASSIFY, P_REGRESS):
        for name, body in [
            ("no examples", b"{}"), ("empty", b'{"examples": []}'), ("no list", b'{"examples": {}}'), ("a number", b'{"examples": [7]}'),
            ("unknown feature", b'{"examples": [{"nobody": 1}]}'),
            ("a text", b'{"examples": [{"features": "x"}]}'), ("context of a list", b'{"context": [], "examples": [{}]}'),
            ("beyond a single", b'{"examples": [{"features": [1, 2, 3, 1e39]}]}'), ("short", b'{"examples": [{"features": [1]}]}'),
        ]:
            yield Case(f"{path[-8:]}, {name}", path, body, 400)
    malformed = "Malformed request: "
    for name, path, status, words in [
        ("unknown model", "/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("unknown version", f"/v1/models/{ROWS}/versions/7:predict", 404, f"Servable not found for request: Specific({ROWS}, 7)"),
        ("unknown label", f"/v1/models/{ROWS}/labels/x:predict", 400, "label"), ("unknown verb", f"/v1/models/{ROWS}:explain", 400, malformed),
        ("no verb", f"/v1/models/{ROWS}", 400, malformed), ("no name", "/v1/models/:predict", 400, malformed),
        ("two colons", "/v1/models/a:b:predict", 400, malformed), ("half version", f"/v1/models/{ROWS}/versions/1.5:predict", 400, malformed),
        ("negative version", f"/v1/models/{ROWS}/versions/-1:predict", 400, malformed),
        ("version of 20 digits", f"/v1/models/{ROWS}/versions/99999999999999999999:predict", 400, "Failed to convert version"),
        ("no utf-8", "/v1/models/%ff:predict", 400, malformed), ("nul", "/v1/models/a%00:predict", 400, malformed),
        ("traversal", "/v1/models/..%2f..%2fetc:predict", 404, "Servable not found"), ("dots", "/v1/models/../../etc/passwd", 400, malformed),
        ("no call", "/v1/anything", 400, malformed), ("long name", f"/v1/models/{'m' * 20_000}:predict", 404, "Servable not found"),
    ]:
        yield Case(name, path, GOOD, status, words)
    for method in ("PUT", "DELETE", "PATCH", "BREW"):
        yield Case(method, P_TFS, b"", 400, malformed, method=method)
    yield Case("GET", P_TFS, b"", 400, malformed, method="GET")
    yield Case("no model", "/v1/models", b"", 400, "Missing model name in request.", method="GET")


# MLflow and SageMaker.


def stream(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def features(rows: int = 2, **columns) -> pa.Table:
    made = {str(at): pa.array(np.full(rows, 0.5, np.float32)) for at in range(4)}
    return pa.table(made | columns)


def mlflow() -> Iterator[Case]:
    json_kind, csv_kind, stream_kind = ({"content-type": kind} for kind in (JSON, "text/csv", STREAM))
    for path in (P_MLFLOW, P_SAGEMAKER):
        for case in [*no_json(path, "", bare=True), *any_body(path)]:
            case.headers = json_kind | case.headers
            yield case
    for name, body, words in [
        ("a list", b"[1]", "exactly one of the input fields"), ("nothing", b"{}", "exactly one of the input fields"),
        ("two forms", b'{"instances": [[1,2,3,4]], "inputs": [[1,2,3,4]]}', "exactly one of the input fields"),
        ("no form", b'{"data": [[1]]}', "exactly one of the input fields"),
        ("a form twice", b'{"instances": [[1,2,3,4]], "instances": [[1,2,3,4]]}', "twice"),
        ("100 keys", dumps({f"k{at}": 1 for at in range(100)}), ""),
        ("no rows", b'{"instances": []}', "no rows"), ("ragged", b'{"instances": [[1,2,3,4],[1,2,3]]}', ""),
        ("a text", b'{"instances": [[1,2,3,"x"]]}', ""), ("beyond a single", b'{"instances": [[1,2,3,1e39]]}', ""),
        ("rank 1", b'{"inputs": [1,2,3,4]}', ""), ("rank 3", b'{"inputs": [[[1,2,3,4]]]}', ""),
        ("split of a list", b'{"dataframe_split": []}', "dataframe_split"),
        ("split without data", b'{"dataframe_split": {"columns": ["a"]}}', "data"),
        ("split, unknown key", b'{"dataframe_split": {"rows": []}}', "rows"),
        ("split, ragged", b'{"dataframe_split": {"data": [[1,2,3,4],[1,2,3]]}}', "fewer"),
        ("split, wide", b'{"dataframe_split": {"data": [[1,2,3,4,5]]}}', ""),
        ("split, a text", b'{"dataframe_split": {"data": [[1,2,3,"x"]]}}', "does not fit"),
        ("split, columns of objects", b'{"dataframe_split": {"columns": [{}], "data": [[1]]}}', "columns"),
        ("records of a list", b'{"dataframe_records": [[1]]}', "dataframe_records"), ("records of nothing", b'{"dataframe_records": [{}]}', ""),
        ("records, twice", b'{"dataframe_records": [{"0":1,"1":2,"2":3,"3":4,"3":5}]}', "5 values"),
        ("records, one lacks", b'{"dataframe_records": [{"0":1,"1":2,"2":3,"3":4},{"0":1}]}', "record"),
        ("too many rows", dumps({"instances": [[1, 2, 3, 4]] * (ROWS_MAX + 1)}), "more than"),
    ]:
        yield Case(name, P_MLFLOW, body, 400, words, headers=json_kind)
    for name, body, words in [
        ("empty", b"", "empty"), ("a line", b"0,1,2,3\n", "no rows"), ("ragged", b"0,1,2,3\n1,2,3\n", "cells"),
        ("a text", b"0,1,2,3\n1,2,3,x\n", "does not fit"), ("beyond a single", b"0,1,2,3\n1,2,3,1e39\n", "does not fit"),
        ("infinity", b"0,1,2,3\n1,2,3,inf\n", "does not fit"),
        ("no utf-8", b"0,1,2,3\n1,2,3,\xff\n", "UTF-8"), ("too few columns", b"0,1,2\n1,2,3\n", ""), ("nul", b"\0" * 1000, ""),
        ("an open quote", b'0,1,2,3\n"1,2,3,4\n', ""),
        ("a hundred thousand columns", b",".join([b"x"] * 100_000) + b"\n", ""),
        ("too many rows", b"0,1,2,3\n" + b"1,2,3,4\n" * (ROWS_MAX + 1), "more than"), ("utf-16", "0,1,2,3\n1,2,3,4\n".encode("utf-16"), "UTF-8"),
    ]:
        yield Case(f"csv, {name}", P_MLFLOW, body, 400, words, headers=csv_kind)
    good = stream(features())
    for at in range(0, len(good) - 8, 56):
        # What ends after a whole message, and before the stream's end, is cut all the same.
        yield Case(f"arrow, cut at {at}", P_MLFLOW, good[:at], 400, headers=stream_kind)
    for name, body, words in [
        ("words", b"hello", "Arrow"), ("ones", b"\xff" * 1000, "Arrow"), ("huge", b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(64), "Arrow"),
        ("a file", b"ARROW1\0\0" + good, "Arrow"), ("compressed", stream(features(), compression="zstd"), "compressed"),
        ("a dictionary", stream(features(**{"3": pa.array([0.5, 0.5]).dictionary_encode()})), "dictionar"),
        ("a column lacks", stream(features().drop_columns(["2"])), ""),
        ("a column of texts", stream(features(**{"3": pa.array(["a", "b"])})), "numbers"),
        ("beyond a single", stream(features(**{"3": pa.array([1e39, 0.0])})), "does not fit"), ("no rows", stream(features(0)), "no rows"),
        ("too many rows", stream(features(ROWS_MAX + 1)), "more than"),
        ("ragged lists", stream(pa.table({"x": [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0]]})), "lists of 4 and of 3"),
        ("a list that lacks", stream(pa.table({"x": [[1.0, 2.0, 3.0, 4.0], None]})), "null in place of a list"),
    ]:
        yield Case(f"arrow, {name}", P_MLFLOW, body, 400, words, headers=stream_kind)
    for kind in ("", "text/plain", "application/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-16",
        "application/json" + "x" * 10_000, "text/csv; charset=latin-1"):
        yield Case(f"type {kind[:30]}", P_MLFLOW, GOOD, 415, headers={"content-type": kind})
    for name, path, status in [("unknown", "/endpoints/nobody/invocations", 404), ("traversal", "/endpoints/..%2f..%2fetc/invocations", 404),
        ("no utf-8", "/endpoints/%ff/invocations", 400), ("nul", "/endpoints/a%00/invocations", 400)]:
        yield Case(name, path, GOOD, status, headers=json_kind)
    for method in ("GET", "PUT", "DELETE", "BREW"):
        for path in (P_MLFLOW, P_SAGEMAKER):
            yield Case(f"{method} {path}", path, b"", 405, method=method, headers=json_kind)


# Storage and keys.


def storage() -> Iterator[Case]:
    related = {"content-type": "multipart/related; boundary=x"}
    described = b'--x\r\ncontent-type: application/json\r\n\r\n{"name": "%s"}\r\n--x\r\n\r\nbytes\r\n--x--'
    names = ["", "../x", "..%2fx", "a/../../x", "/x", "a//b", ".", "..", "a%00b", "%ff", "a%0ab", "%2e%2e%2fx", "a" * 3000, "..%5cx", "C:%5cx"]
    for name in names:
        # A backslash is a character like any other here.
        status = 200 if "%5c" in name else 400
        yield Case(f"media {name[:20]}", f"{P_UPLOAD}?uploadType=media&name={name}", b"x", status)
    for bucket in ("..", "%2e%2e", "a%2fb", "A", "a" * 300, "%ff", "a%00", "-", "."):
        yield Case(f"bucket {bucket[:20]}", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=x", b"x", 400)
    for name, body, headers in [
        ("no boundary", described % b"a", {"content-type": "multipart/related"}),
        ("another boundary", described % b"a", {"content-type": "multipart/related; boundary=y"}),
        ("an empty boundary", described % b"a", {"content-type": "multipart/related; boundary="}),
        ("nothing", b"", related), ("one part", b"--x\r\n\r\n{}\r\n--x--", related), ("cut", (described % b"a")[:-7], related),
        ("no JSON", b"--x\r\n\r\n{\r\n--x\r\n\r\nb\r\n--x--", related), ("no name", b"--x\r\n\r\n{}\r\n--x\r\n\r\nb\r\n--x--", related),
        ("name of a number", b'--x\r\n\r\n{"name": 7}\r\n--x\r\n\r\nb\r\n--x--', related), ("traversal", described % b"../../x", related),
        ("deep", b'--x\r\n\r\n{"name": ' + b"[" * DEEP + b"\r\n--x\r\n\r\nb\r\n--x--", related),
        ("odd checksum", b'--x\r\n\r\n{"name": "a", "crc32c": "zz"}\r\n--x\r\n\r\nb\r\n--x--', related),
        ("wrong checksum", b'--x\r\n\r\n{"name": "a", "crc32c": "AAAAAA=="}\r\n--x\r\n\r\nb\r\n--x--', related),
    ]:
        yield Case(f"multipart, {name}", f"{P_UPLOAD}?uploadType=multipart", body, 400, headers=headers)
    yield Case("too long", f"{P_UPLOAD}?uploadType=media&name=x", b"", 413, announced=BODY_BYTES_MAX + 1)
    yield Case("unknown kind", f"{P_UPLOAD}?uploadType=x&name=x", b"", 400)
    yield Case("resumable, no JSON", f"{P_UPLOAD}?uploadType=resumable", b"{", 400)
    yield Case("resumable, no name", f"{P_UPLOAD}?uploadType=resumable", b"{}", 400)
    for session in ("x", "..", "..%2f..%2fregistry.sqlite", "%ff", "a%00", "a" * 5000):
        for method in ("PUT", "DELETE"):
            yield Case(f"{method} of upload {session[:20]}", f"{P_UPLOAD}?uploadType=resumable&upload_id={session}", b"x" if method == "PUT" else b"",
                400 if session == "%ff" else 404, method=method)
    for span in ("bytes", "bytes 5-4/10", "bytes 0-10/10", "bytes -1-4/5", "items 0-4/5", "bytes 0-99999999999999999999/*", "bytes */x"):
        yield Case(f"range {span}", f"{P_UPLOAD}?uploadType=resumable&upload_id=x", b"12345", 400, method="PUT", headers={"content-range": span})
    for name, path, status in [
        ("no object", "/storage/v1/b/bucket/o/none", 404), ("traversal", "/storage/v1/b/bucket/o/..%2f..%2f..%2fregistry.sqlite?alt=media", 400),
        ("dots", "/storage/v1/b/bucket/o/../../../registry.sqlite?alt=media", 400),
        ("bucket of dots", "/storage/v1/b/%2e%2e/o/registry.sqlite?alt=media", 400),
        ("absolute", "/storage/v1/b/bucket/o/%2fetc%2fpasswd?alt=media", 400), ("no utf-8", "/storage/v1/b/bucket/o/%ff", 400),
        ("nul", "/storage/v1/b/bucket/o/a%00", 400), ("a page of nothing", "/storage/v1/b/bucket/o?maxResults=0", 400),
        ("a page of words", "/storage/v1/b/bucket/o?maxResults=x", 400),
        ("a prefix that is no utf-8", "/storage/v1/b/bucket/o?prefix=%ff", 400), ("no call", "/storage/v1/b/bucket/acl", 404),
    ]:
        yield Case(name, path, b"", status, method="GET")
    for method in ("PUT", "PATCH", "BREW"):
        yield Case(method, "/storage/v1/b/bucket/o/x", b"", 405, method=method)


def keys() -> Iterator[Case]:
    for name, body in [
        ("empty", b""), ("words", b"hello"), ("a list", b"[]"), ("no scope", b"{}"), ("unknown scope", b'{"scope": "root"}'),
        ("scope of a number", b'{"scope": 7}'), ("unknown field", b'{"scope": "predict", "x": 1}'),
        ("no date", b'{"scope": "predict", "expireTime": "soon"}'),
        ("the past", b'{"scope": "predict", "expireTime": "2001-01-01T00:00:00Z"}'), ("project of dots", b'{"scope": "predict", "project": "../x"}'),
        ("a field twice", b'{"scope": "predict", "scope": "admin"}'),
        ("both spellings", b'{"scope": "predict", "displayName": "a", "display_name": "b"}'), ("deep", deep(b'{"scope": ')),
        ("no utf-8", b'{"scope": "\xff"}'),
    ]:
        yield Case(name, P_KEYS, body, 400)
    yield Case("too long", P_KEYS, b" " * (17 << 10), 413)
    for name in ("x", "..%2fx", "'%20OR%201=1--"):
        yield Case(f"revoke {name}", f"{P_KEYS}/{name}:revoke", b"", 404)
    for name in ("%ff", "%00"):
        yield Case(f"revoke {name}", f"{P_KEYS}/{name}:revoke", b"", 400)
    yield Case("DELETE", P_KEYS, b"", 405, method="DELETE")


PROTOCOLS = {"vertex": vertex, "v2": open_inference, "tfs": tensorflow_serving, "mlflow": mlflow, "storage": storage, "keys": keys}


@pytest.fixture(scope="module")
def hostile(binary, tmp_path_factory):
    hostile = Hostile(binary, tmp_path_factory.mktemp("hostile"))
    yield hostile
    hostile.stop()


def ask(hostile: Hostile, case: Case) -> Answer:
    return hostile.ask(case.method, case.path, case.body, case.headers, case.announced)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_wrong_is_refused_in_the_protocols_words(hostile: Hostile, protocol: str):
    failures, count = [], 0
    for case in PROTOCOLS[protocol]():
        count += 1
        answer = ask(hostile, case)
        try:
            assert answer.status == case.status, (answer.status, answer.body[:300])
            if case.status >= 400:
                assert answer.headers.get("x-request-id")
                case.is_in_the_protocols_shape(answer)
        except (AssertionError, ValueError, KeyError) as error:
            failures.append(f"{case.method} {case.path[:80]} {case.name}: wanted {case.status}, {str(error).splitlines()[0][:400]}")
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
    hostile.is_unharmed()


def test_what_is_odd_and_no_harm_is_answered(hostile: Hostile):
    """What TensorFlow Serving and Triton take, whatever we would think of it."""
    for path, body, headers in [
        (P_TFS, GOOD + b" what follows is not read", {}), (P_TFS, GOOD, {"content-type": "text/plain"}),
        (P_V2, v2(data=GOOD_ROW), {"content-type": "application/x-www-form-urlencoded"}),
        (P_TFS, b'{"instances": [[NaN, 1, 2, 3]]}', {}), (P_V2, v2(data=[None, 1, 2, 3]), {}), (P_V2, v2(shape=(0, 4), data=[]), {}),
        (P_V2, dumps(json.loads(v2(data=GOOD_ROW)) | {"outputs": [{"name": "p", "parameters": {"classification": 10**15}}]}), {}),
        (P_VERTEX, gzip.compress(GOOD), {"content-encoding": "gzip"}), (P_TFS, gzip.compress(GOOD), {"content-encoding": "gzip"}),
        (P_MLFLOW, gzip.compress(GOOD), {"content-encoding": "gzip", "content-type": JSON}),
        (P_V2, zlib.compress(v2(data=GOOD_ROW)), {"content-encoding": "deflate"}),
        (P_VERTEX, b'{"instances": [[1e-400, -0.0, 1e38, 4.9e-324]]}', {}), (P_V2.replace(ROWS, "%72ows"), v2(data=GOOD_ROW), {}),
        (f"//v2/models/{ROWS}/infer"[1:], v2(data=GOOD_ROW), {}),
    ]:
        answer = hostile.ask("POST", path, body, headers)
        assert answer.status == 200, (path, body[:100], answer)


def test_much_that_means_nothing_takes_no_time(hostile: Hostile):
    """Names by the hundred thousand, in an order that makes a search of them slow."""
    names = [f"x{at}" for at in range(100_000)]
    own, inputs = ["0", "1", "2", "3"], {"x": [1, 2], "n": 3}
    slow = []
    for path, body in [
        (f"/endpoints/{SEVERAL}/invocations", {"dataframe_records": [inputs | dict.fromkeys(names, 1), dict.fromkeys(names[::-1], 1) | inputs]}),
        (P_MLFLOW, {"dataframe_split": {"columns": own + names, "data": [[1] * 100_004]}}),
        (P_CLASSIFY, {"examples": [dict.fromkeys(names, 1)]}), (P_TFS_SEVERAL, {"inputs": dict.fromkeys(names, [[1]])}),
        (P_TFS_SEVERAL, {"instances": [dict.fromkeys(names, [1])]}), (P_SEVERAL, {"instances": [dict.fromkeys(names, [1])]}),
        (P_VERTEX, {"instances": [GOOD_ROW], "labels": dict.fromkeys(names, "a")}), (P_V2, {"parameters": dict.fromkeys(names, 1)}),
        (VERTEX, {"displayName": "x", "labels": dict.fromkeys(names, "a")}),
    ]:
        sent = dumps(body)
        taken = []
        # What is slow by itself is so every time, other than what a busy machine keeps waiting.
        while len(taken) < 4 and not any(seconds <= 4 for seconds in taken):
            started = time.monotonic()
            answer = hostile.ask("POST", path, sent, {"content-type": JSON})
            assert answer.status in (200, 400), answer
            taken.append(time.monotonic() - started)
        if min(taken) > 4:
            slow.append(f"{path} {next(iter(body))}: {min(taken):.1f} s")
    assert not slow, slow
    hostile.is_unharmed()


def test_nothing_of_it_stays(hostile: Hostile):
    """All of it again and again: memory that only grows would be seen."""
    cases = [case for protocol in PROTOCOLS.values() for case in protocol()]
    held = []
    for _ in range(4):
        for case in cases:
            ask(hostile, case)
        held.append(hostile.resident_bytes())
    end = time.monotonic() + 15
    # What was freed is given back after a while.
    while (grown := hostile.resident_bytes() - held[0]) > GROWTH_BYTES_MAX and time.monotonic() < end:
        time.sleep(0.2)
    assert grown <= GROWTH_BYTES_MAX, (grown >> 20, [size >> 20 for size in held])
    hostile.is_unharmed()
    assert hostile.open_files() <= hostile.files + 8, "lines or files are left open"
