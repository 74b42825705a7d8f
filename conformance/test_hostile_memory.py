"""Bodies that say little with many bytes, or unpack to many: what the server holds at most while it refuses each is a few times the limit
of a body, and so it is for several of them at once."""

import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hostile import ROWS, SEVERAL, VERTEX, Hostile

JSON, CSV = "application/json", "text/csv"
RESOURCES = "/v1/projects/default/locations/l"
# Just under the limits of a question and of a change.
QUESTION, CHANGE = 31 << 20, (4 << 20) - 1000
# The body as it came and as it was unpacked, and what is made of it; and with that what the threads that had the bodies before still keep.
BODY_BYTES_MAX, HELD_BYTES_MAX = 128 << 20, 256 << 20
# Of six bodies at once.
SEVERAL_BYTES_MAX = 960 << 20
SECONDS_MAX = 4
# How often a body is sent that a busy machine may have kept waiting: what is slow by itself is so every time.
TRIES_MAX = 4


def filled(before: bytes, item: bytes, after: bytes, length: int = QUESTION) -> bytes:
    """As many items as make it about so long."""
    return before + item * ((length - len(before) - len(after)) // len(item)) + after


def keys(before: bytes, count: int, after: bytes) -> bytes:
    """Names that are all different."""
    return before + b",".join(b'"%d":1' % at for at in range(count)) + after


# Path, body, its type, and the statuses that will do.
PLAIN = {
    "upload, lists": (f"{RESOURCES}/models:upload", filled(b'{"model":{"labels":[{}', b",{}", b"]}}"), JSON, 413),
    "upload, a short one": (f"{RESOURCES}/models:upload", filled(b'{"model":{"labels":[{}', b",{}", b"]}}", CHANGE), JSON, 400),
    "upload, names": (f"{RESOURCES}/models:upload", keys(b'{"model":{"labels":{', 300_000, b"}}}"), JSON, 400),
    "job": (f"{RESOURCES}/customJobs", filled(b'{"x":[[]', b",[]", b"]}"), JSON, 413),
    "job, a short one": (f"{RESOURCES}/customJobs", filled(b'{"x":[[]', b",[]", b"]}", CHANGE), JSON, 400),
    "batch prediction": (f"{RESOURCES}/batchPredictionJobs", filled(b'{"x":[[]', b",[]", b"]}"), JSON, 413),
    "data set": (f"{RESOURCES}/datasets", filled(b'{"x":[[]', b",[]", b"]}"), JSON, 400),
    "bucket": ("/storage/v1/b", filled(b'{"x":[[]', b",[]", b"]}"), JSON, 413),
    "resumable": ("/upload/storage/v1/b/bucket/o?uploadType=resumable", filled(b'{"x":[[]', b",[]", b"]}"), JSON, 413),
    "tensors, names": (f"{VERTEX}/{SEVERAL}:predict", keys(b'{"instances":[{', 2_500_000, b"}]}"), JSON, 400),
    "tensors, names beside": (f"{VERTEX}/{SEVERAL}:predict", keys(b'{"labels":{', 2_500_000, b"}}"), JSON, 400),
    "tensors, numbers": (f"{VERTEX}/{SEVERAL}:predict", filled(b'{"instances":[{"x":[1', b",1", b"]}]}"), JSON, 400),
    "tensors, lists": (f"{VERTEX}/{SEVERAL}:predict", filled(b'{"instances":[[]', b",[]", b"]}"), JSON, 400),
    "rows": (f"{VERTEX}/{ROWS}:predict", filled(b'{"instances":[[]', b",[]", b"]}"), JSON, 400),
    "columns": ("/invocations", filled(b'{"dataframe_split":{"columns":[""', b',""', b'],"data":[]}}'), JSON, 400),
    "records": ("/invocations", filled(b'{"dataframe_records":[{"":0', b',"":0', b"}]}"), JSON, 400),
    "records of tensors": (f"/endpoints/{SEVERAL}/invocations", filled(b'{"dataframe_records":[{"":0', b',"":0', b"}]}"), JSON, 400),
}
PACKED = {
    "header": (f"/endpoints/{ROWS}/invocations", b"," * QUESTION, CSV, 400),
    "row": (f"/endpoints/{ROWS}/invocations", filled(b"0,1,2,3\n1", b",", b"\n"), CSV, 400),
    "a cell": (f"/endpoints/{ROWS}/invocations", filled(b"0,1,2,", b"3", b"\n"), CSV, 400),
    "blank lines": ("/invocations", filled(b"0,1,2,3\n", b"\n", b""), CSV, 400),
    "columns": ("/invocations", PLAIN["columns"][1], JSON, 400),
    "tensors": (f"{VERTEX}/{SEVERAL}:predict", PLAIN["tensors, lists"][1], JSON, 400),
}
BODIES = {name: (path, body, {"content-type": kind}, status) for name, (path, body, kind, status) in PLAIN.items()}
BODIES |= {
    f"packed {name}": (path, gzip.compress(body, 6), {"content-type": kind, "content-encoding": "gzip"}, status)
    for name, (path, body, kind, status) in PACKED.items()
}


@pytest.fixture(scope="module")
def hostile(binary, tmp_path_factory):
    hostile = Hostile(binary, tmp_path_factory.mktemp("memory"))
    yield hostile
    hostile.is_unharmed()
    hostile.stop()


def forget_peak(hostile: Hostile) -> None:
    Path(f"/proc/{hostile.server.process.pid}/clear_refs").write_text("5")


def peak_bytes(hostile: Hostile) -> int:
    """The most that was resident since `forget_peak`."""
    status = Path(f"/proc/{hostile.server.process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


def refused(hostile: Hostile, name: str) -> str:
    """What is wrong with how a body was refused, if something is."""
    path, body, headers, status = BODIES[name]
    for _ in range(TRIES_MAX):
        started = time.monotonic()
        answer = hostile.ask("POST", path, body, headers)
        seconds = time.monotonic() - started
        if answer.status != status:
            break
        if seconds < SECONDS_MAX:
            return ""
    return f"{name}: {answer.status} after {seconds:.1f} s: {answer.body[:200]!r}"


def test_no_body_takes_many_times_its_bytes(hostile: Hostile):
    wrong, most, resting = [], 0, hostile.resident_bytes()
    for name in BODIES:
        forget_peak(hostile)
        before = hostile.resident_bytes()
        wrong.append(refused(hostile, name))
        peak = peak_bytes(hostile)
        most = max(most, peak - before)
        if peak - before > BODY_BYTES_MAX or peak - resting > HELD_BYTES_MAX:
            wrong.append(f"{name}: {peak - before >> 20} MiB, {peak - resting >> 20} MiB with what was there")
    assert not any(wrong), "\n".join(filter(None, wrong))
    assert most > QUESTION, "a body at least was held, so it is the peak that was read"


def test_several_at_once_take_as_much_each(hostile: Hostile):
    forget_peak(hostile)
    before = hostile.resident_bytes()
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: hostile.ask("POST", *BODIES["packed header"][:3]).status, range(12)))
    assert answers == [400] * 12
    assert peak_bytes(hostile) - before < SEVERAL_BYTES_MAX
