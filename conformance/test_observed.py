"""What a server tells of itself: metrics for Prometheus, a log for programs, traces; and that it ends when it is told to."""

import json
import queue
import shutil
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http

from bundle import Bundle
from program import Program, Server, call, environment, free_port, wire_python

MODEL = "sp500-deciles"
PREDICT = f"/v1/projects/default/locations/us-central1/endpoints/{MODEL}:predict"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = PARENT[3:35]
# A drain that waits for idle streams takes 30 s.
STOP_SECONDS_MAX = 8


def copied(quickstart, folder: Path) -> Program:
    shutil.copytree(quickstart.program.data_dir, folder / "data")
    return Program(quickstart.program.binary, folder / "data", folder)


@dataclass
class Logged:
    """A server whose stderr is kept apart."""

    server: Server
    stderr: Path

    def lines(self) -> list[dict]:
        """Each line of stderr, which must be one JSON object."""
        return [json.loads(line) for line in self.stderr.read_text().splitlines()]


def serve_logged(program: Program, *arguments: str) -> Logged:
    port, stderr = free_port(), program.folder / "stderr.log"
    process = subprocess.Popen(
        program.command("serve", "--listen", f"127.0.0.1:{port}", *arguments), cwd=program.folder,
        env=environment(), stdout=subprocess.DEVNULL, stderr=stderr.open("w"),
    )
    server = Server(f"http://127.0.0.1:{port}", process, stderr)
    server.wait_until_ready()
    return Logged(server, stderr)


def whole_rows(bundle: Bundle, count: int, seed: int) -> np.ndarray:
    """Rows that every protocol can write: JSON has no NaN."""
    return np.nan_to_num(bundle.random_rows(count, seed=seed))


def features(rows: np.ndarray) -> list[triton.InferInput]:
    given = triton.InferInput("features", rows.shape, "FP32")
    given.set_data_from_numpy(rows)
    return [given]


def http_features(rows: np.ndarray) -> list:
    given = triton_http.InferInput("features", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows)
    return [given]


# Metrics.


def metrics_of(text: str) -> dict[str, list]:
    """The samples of a page that Prometheus' parser takes and finds nothing wrong with."""
    command = [wire_python(), str(Path(__file__).parent / "prometheus_text.py")]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def value(samples: dict[str, list], name: str, **labels: str) -> float:
    matching = [v for its, v in samples.get(name, []) if labels.items() <= its.items()]
    return sum(matching)


def test_metrics_are_prometheus_and_count_what_was_done(server: Server, bundle: Bundle):
    before = metrics_of(server.get("/metrics").text)
    rows = whole_rows(bundle, 7, seed=3)
    address = server.url.removeprefix("http://")
    with triton.InferenceServerClient(address) as client:
        for _ in range(3):
            client.infer(MODEL, features(rows))
        with pytest.raises(Exception, match="other"):
            client.infer("other", features(rows))
    with triton_http.InferenceServerClient(address) as client:
        client.infer(MODEL, http_features(rows))
    assert server.post(f"/v1/models/{MODEL}:predict", {"instances": rows.tolist()}).status == 200
    assert server.post(PREDICT, {"instances": rows.tolist()}).status == 200
    assert server.post("/endpoints/zzz-nobody/invocations", {"instances": rows.tolist()}).status == 404
    text = server.get("/metrics").text
    after = metrics_of(text)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    answers = "bellwether_deployment_answer_seconds_count"
    for protocol, count in [("open_inference_grpc", 3), ("open_inference", 1), ("tensorflow_serving", 1), ("vertex", 1)]:
        assert grown(answers, protocol=protocol, model=MODEL, version="2") == count, protocol
    route = "grpc.inference.ModelInfer"
    assert grown("bellwether_grpc_requests_total", route=route, code="OK") == 3
    assert grown("bellwether_grpc_requests_total", route=route, code="NOT_FOUND") == 1
    assert grown("bellwether_http_requests_total", route=route) == 0
    assert grown("bellwether_http_requests_total", route="sagemaker.invocations", code="404") == 1
    assert grown("bellwether_deployment_rows_total", model=MODEL) == 6 * 7
    assert grown("bellwether_deployment_batch_rows_sum", model=MODEL) == 6 * 7
    assert grown("bellwether_deployment_batch_rows_count", model=MODEL) == 6
    assert grown("bellwether_request_body_bytes_total", protocol="open_inference_grpc") > 4 * rows.nbytes
    assert value(after, "bellwether_swaps_total", outcome="loaded") >= 1
    assert value(after, "bellwether_connections") >= 1
    (engine,) = {labels["engine"] for labels, _ in after["bellwether_deployment_engine_info"] if labels["model"] == MODEL}
    assert engine == "rten" and "zzz-nobody" not in text


def test_a_broken_page_is_found():
    good = "# HELP a_total x\n# TYPE a_total counter\na_total 1\n"
    assert metrics_of(good) == {"a_total": [[{}, 1.0]]}
    for bad in [good + good, good.replace("counter", "histogram"), good.replace("a_total 1", "a_total -1")]:
        with pytest.raises(AssertionError):
            metrics_of(bad)


# The log.


def test_the_log_is_an_object_a_line_and_knows_no_secrets(quickstart, bundle: Bundle, tmp_path: Path):
    program = copied(quickstart, tmp_path)
    admin = program.succeed("key", "create", "--scope", "admin", "--all-projects", "--name", "desk")["key"]
    logged = serve_logged(program, "--log", "trace", "--log-format", "json", "--log-requests")
    server, rows = logged.server, whole_rows(bundle, 2, seed=4)
    body = json.dumps({"instances": rows.tolist()}).encode()
    made = []
    try:
        for name, text in [
            ("authorization", f"Bearer {admin}"), ("x-api-key", admin), ("x-goog-api-key", admin),
            ("authorization", "Bearer bw-0123456789ab-wrongwrongwrong"), ("x-api-key", "wrongwrongwrong"),
        ]:
            headers = {name: text, "content-type": "application/json", "x-request-id": f"mine-{name}", "traceparent": PARENT}
            reply = call(urllib.request.Request(server.url + PREDICT, body, headers))
            assert reply.status == (401 if "wrong" in text else 200), reply.text
            assert reply.headers["traceparent"].startswith(f"00-{TRACE}-") and PARENT != reply.headers["traceparent"]
        headers = {"x-api-key": admin, "content-type": "application/json"}
        keys = urllib.request.Request(f"{server.url}/bellwether/v1/keys", b'{"scope": "predict"}', headers)
        made.append(call(keys).json["key"])
        with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
            client.infer(MODEL, features(rows), headers={"authorization": f"Bearer {admin}", "x-request-id": "mine-grpc"})
            with pytest.raises(Exception, match="other"):
                client.infer("other", features(rows), headers={"x-api-key": made[0], "traceparent": PARENT})
    finally:
        assert server.stop() == 0, logged.stderr.read_text()[-2000:]
    text = logged.stderr.read_text()
    for secret in [admin, *made, "wrongwrongwrong", admin.rsplit("-", 1)[1]]:
        assert secret not in text
    lines = logged.lines()
    for line in lines:
        assert abs(datetime.now(timezone.utc) - datetime.fromisoformat(line["time"])).total_seconds() < 600
        assert line["level"] in ("ERROR", "WARN", "INFO", "DEBUG", "TRACE") and line["target"] and "message" in line
    access = [line for line in lines if line["target"] == "access"]
    by_id = {line["request_id"]: line for line in access}
    answered = by_id["mine-x-goog-api-key"]
    wanted = {
        "protocol": "vertex", "model": MODEL, "version": 2, "project": "default", "status": 200, "method": "POST",
        "route": "vertex.Predict", "trace_id": TRACE,
    }
    assert wanted.items() <= answered.items() and answered["latency_us"] > 0 and len(answered["span_id"]) == 16
    over_grpc = by_id["mine-grpc"]
    assert (over_grpc["protocol"], over_grpc["status"], over_grpc["model"]) == ("open_inference_grpc", "OK", MODEL)
    assert [line["status"] for line in access if line["protocol"] == "open_inference_grpc"].count("NOT_FOUND") == 1
    assert sum(line["status"] == 401 for line in access) == 2


def test_nothing_is_logged_unless_asked_and_one_of_n_if_asked(quickstart, tmp_path: Path):
    for arguments, expected in [((), 0), (("--log-requests", "5"), 4)]:
        folder = tmp_path / str(expected)
        folder.mkdir()
        logged = serve_logged(copied(quickstart, folder), "--log-format", "json", *arguments)
        count = len(logged.lines())
        while len(logged.lines()) == count:
            # Ready was asked until it was; where nothing is logged nothing comes.
            if expected == 0:
                break
            logged.server.get("/v2")
        before = len(logged.lines())
        for _ in range(20):
            assert logged.server.get("/v2").status == 200
        assert logged.server.stop() == 0
        lines = logged.lines()
        assert len(lines) - before == expected, lines
        assert all(line["target"] == "access" for line in lines)


# Traces over gRPC, with a client that was not written for it.


def test_a_trace_goes_through_grpc(server: Server):
    with grpc.insecure_channel(server.url.removeprefix("http://")) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        for parent, kept in [(PARENT, True), (PARENT.upper(), False), ("00-0-0-00", False)]:
            _, done = check.with_call(b"", metadata=[("traceparent", parent), ("tracestate", "a=1")], timeout=10)
            said = dict(done.initial_metadata())
            assert said.get("traceparent", "").startswith(f"00-{TRACE}-") == kept
            assert ("tracestate" in said) == kept


# The end.


def test_open_streams_do_not_hold_the_end_up(quickstart, bundle: Bundle, tmp_path: Path):
    server = copied(quickstart, tmp_path).serve()
    address = server.url.removeprefix("http://")
    rows = whole_rows(bundle, 1, seed=5)
    answers: queue.Queue = queue.Queue()
    with triton.InferenceServerClient(address) as client, grpc.insecure_channel(address) as channel:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        client.async_stream_infer(MODEL, features(rows))
        assert answers.get(timeout=30)[1] is None
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=bytes, response_deserializer=bytes)
        watching = watch(b"", timeout=60)
        assert next(watching) == b"\x08\x01"
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert next(watching) == b"\x08\x02"
        with pytest.raises(grpc.RpcError) as ended:
            next(watching)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(timeout=STOP_SECONDS_MAX) == 0, server.log.read_text()
        assert time.monotonic() - begun < STOP_SECONDS_MAX
        _, error = answers.get(timeout=10)
        assert "stopped" in str(error), error
        client.stop_stream()
