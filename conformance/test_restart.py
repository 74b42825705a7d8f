"""A server that begins again, asked by real clients while it loads and when it cannot: what is deployed is to be asked for later, and nobody
else answers in its place. One that is told to end while it loads, too: it does, and begins again as if it had not begun to load."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest

from bundle import difference
from onnx_networks import Network
from program import Outcome, Program, Reply, Server

import tensorflow as tf  # noqa: E402  after bundle, which silences it
import tritonclient.grpc as triton_grpc  # noqa: E402
import tritonclient.http as triton_http  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tritonclient.utils import InferenceServerException  # noqa: E402

# Loaded first, on the endpoint that comes first: others wait for it.
LARGE_MEGABYTES = 100
MODEL, SCALES = "vec", {1: 1.0, 2: 3.0}
ROW = np.asarray([[1.0, 2.0]], np.float32)
START_STATE, LOADING_STATE, AVAILABLE_STATE, END_STATE = 10, 20, 30, 50
ANSWERED, LATER = "answered", "later"
# Loads run when nothing else does: on a busy machine they take their time.
READY_SECONDS_MAX = 300
PAUSE_SECONDS = 0.02
# What docs/serving.md states; nothing but loads was under way.
END_SECONDS_MAX = 30
SLOW_SECONDS = 3
ENDPOINTS = "/v1/projects/default/locations/local/endpoints"
LARGE_ROW = [[0.0, 0.0, 1.0, 0.0]]
# A load takes less than a second: a busy machine may not let the test see it, which begins again then.
TRIES_MAX = 5


def scaled(path: Path, scale: float) -> Path:
    """Two numbers, multiplied."""
    net = Network()
    net.output("y", net("Mul", net.input("x", 2), net.constant("scale", np.asarray([scale], np.float32))), 2)
    onnx.save(net.model(), path)
    return path


def large(path: Path) -> Path:
    """So much that it is not loaded in a moment."""
    net = Network()
    place = net("ArgMax", net.input("x", 4), axis=1, keepdims=0)
    net.output("y", net("Gather", net.weight("table", LARGE_MEGABYTES * 10**6 // 16, 4), place), 4)
    onnx.save(net.model(), path)
    return path


def deploy(program: Program, endpoint: str, model: str) -> None:
    program.succeed("endpoint", "create", endpoint)
    program.succeed("endpoint", "deploy", endpoint, "--model", model)


@pytest.fixture
def ended(program: Program) -> Program:
    """Version 1 and, the default, version 2 are deployed on endpoints of their own; the server has ended."""
    for version, scale in SCALES.items():
        program.succeed("model", "upload", scaled(program.folder / "vec.onnx", scale), "--model", MODEL)
        deploy(program, f"vec-{version}", f"{MODEL}@{version}")
    program.succeed("model", "alias", f"{MODEL}@2", "default")
    return program


class Clients:
    """Asks the model without a version, by Triton's clients and TensorFlow Serving's stubs."""

    def __init__(self, server: Server):
        address = server.url.removeprefix("http://")
        self.server = server
        self.http = triton_http.InferenceServerClient(address)
        self.grpc = triton_grpc.InferenceServerClient(address)
        self.channel = grpc.insecure_channel(address)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_) -> None:
        self.http.close()
        self.grpc.close()
        self.channel.close()

    def triton(self, module, client, code: str, version: str = "") -> tuple[str, str, str]:
        """Whether it is answered, which version says so, and why not."""
        rows = module.InferInput("x", ROW.shape, "FP32")
        rows.set_data_from_numpy(ROW)
        try:
            result = client.infer(MODEL, [rows], version)
        except InferenceServerException as error:
            assert error.status() == code, error
            return LATER, "", error.message()
        named = result.get_response()
        number = named["model_version"] if isinstance(named, dict) else named.model_version
        assert difference(result.as_numpy("y"), ROW * SCALES[int(number)]) == 0
        return ANSWERED, number, ""

    def tensorflow(self) -> tuple[str, str, str]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(ROW))
        try:
            reply = self.predictions.Predict(request, timeout=30)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return LATER, "", error.details()
        number = reply.model_spec.version.value
        assert difference(tf.make_ndarray(reply.outputs["y"]), ROW * SCALES[number]) == 0
        return ANSWERED, str(number), ""

    def rest(self, path: str) -> tuple[str, str, str]:
        reply = self.server.post(path, {"instances": ROW.tolist()})
        if reply.status == 503:
            assert reply.headers["retry-after"] == "1", reply
            return LATER, "", reply.text
        assert reply.status == 200, reply
        number = reply.headers["x-bellwether-model-version"].removeprefix(f"{MODEL}@")
        assert reply.json["predictions"] == (ROW * SCALES[int(number)]).tolist()
        return ANSWERED, number, ""

    def ask_all(self) -> list[tuple[str, str, str]]:
        """One question by each client."""
        return [
            self.triton(triton_http, self.http, "503"),
            self.triton(triton_grpc, self.grpc, "StatusCode.UNAVAILABLE"),
            self.tensorflow(),
            self.rest(f"/v1/models/{MODEL}:predict"),
            self.rest(f"/v1/models/{MODEL}/labels/default:predict"),
            self.rest("/invocations"),
        ]

    def states(self) -> dict[int, tuple[int, str]]:
        """TensorFlow Serving's state of each version, and what is said of it."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL
        found = self.models.GetModelStatus(request, timeout=30).model_version_status
        return {status.version: (status.state, status.status.error_message) for status in found}

    def index(self) -> dict[str, tuple[str, str]]:
        """Triton's state of each version of the model, and the reason."""
        over_http = [entry for entry in self.http.get_model_repository_index() if entry["name"] == MODEL]
        return {entry["version"]: (entry["state"], entry.get("reason", "")) for entry in over_http}


def test_until_it_is_loaded_every_client_is_told_to_come_again(ended: Program):
    ended.succeed("model", "upload", large(ended.folder / "large.onnx"), "--model", "large")
    deploy(ended, "a-large", "large")
    for _ in range(TRIES_MAX):
        server = ended.start("--default-model", MODEL)
        server.wait_for("/healthz")
        refused, seen_waiting = 0, False
        with Clients(server) as clients:
            end = time.monotonic() + READY_SECONDS_MAX
            while server.get("/readyz").status != 200:
                assert time.monotonic() < end, server.log.read_text()
                for outcome, number, _ in clients.ask_all():
                    # Not the version that is loaded first: the one that is meant.
                    assert (outcome, number) in [(LATER, ""), (ANSWERED, "2")]
                    refused += outcome == LATER
                states, index = clients.states(), clients.index()
                assert set(states) == {1, 2} and set(index) == {"1", "2"}
                assert {state for state, _ in states.values()} <= {START_STATE, LOADING_STATE, AVAILABLE_STATE}
                assert {state for state, _ in index.values()} <= {"LOADING", "READY"}
                # Its turn comes after the large one's.
                seen_waiting |= states[2][0] == START_STATE and index["2"][0] == "LOADING"
                time.sleep(PAUSE_SECONDS)
            assert {outcome[:2] for outcome in clients.ask_all()} == {(ANSWERED, "2")}
            assert clients.http.is_model_ready(MODEL) and clients.grpc.is_model_ready(MODEL)
            assert clients.states() == {1: (AVAILABLE_STATE, ""), 2: (AVAILABLE_STATE, "")}
        assert server.stop() == 0, server.log.read_text()
        if refused and seen_waiting:
            break
    assert refused > 0 and seen_waiting, "it was loaded before anybody asked"


def test_what_cannot_be_loaded_is_not_answered_by_another_version(ended: Program):
    file = ended.data_dir / "artifacts" / "default" / MODEL / "2" / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    server = ended.start()
    server.wait_for("/healthz")
    end = time.monotonic() + READY_SECONDS_MAX
    while "being brought back" in server.get("/readyz").text:
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(PAUSE_SECONDS)
    with Clients(server) as clients:
        for outcome, _, reason in clients.ask_all():
            assert outcome == LATER and "model.onnx" in reason, reason
        states, index = clients.states(), clients.index()
        assert states[1] == (AVAILABLE_STATE, "") and states[2][0] == END_STATE and "model.onnx" in states[2][1]
        assert index["1"] == ("READY", "") and index["2"] == ("UNAVAILABLE", states[2][1])
        assert not clients.http.is_model_ready(MODEL) and not clients.grpc.is_model_ready(MODEL)
        assert clients.http.is_model_ready(MODEL, "1") and clients.grpc.is_model_ready(MODEL, "1")
        for module, client, code in [(triton_http, clients.http, "503"), (triton_grpc, clients.grpc, "StatusCode.UNAVAILABLE")]:
            assert clients.triton(module, client, code, "1")[:2] == (ANSWERED, "1")
            with pytest.raises(InferenceServerException, match="failed to load") as caught:
                client.load_model(MODEL)
            assert caught.value.status() == code
    assert server.stop() == 0, server.log.read_text()


@contextmanager
def all_cores_busy() -> Iterator[None]:
    """What runs only when nothing else does gets next to nothing meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def is_loading(server: Server) -> bool:
    """Whether a thread of the server loads a model."""
    for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
        try:
            if (thread / "comm").read_text().strip() == "load":
                return True
        except OSError:
            # It has ended meanwhile.
            continue
    return False


def serve_and_rest(program: Program) -> Server:
    """A server that has loaded what is deployed, so that whatever it loads now was asked for."""
    server = program.serve()
    end = time.monotonic() + READY_SECONDS_MAX
    while is_loading(server):
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(PAUSE_SECONDS)
    return server


def is_seen_loading(server: Server, is_over: Callable[[], bool]) -> bool:
    """Waits until it loads, and says whether that was seen before all was over."""
    end = time.monotonic() + READY_SECONDS_MAX
    while not is_loading(server):
        assert time.monotonic() < end, server.log.read_text()
        if is_over():
            return False
        time.sleep(0.002)
    return True


def end_while_loading(server: Server, asked: Future) -> None:
    """Tells it to end as soon as it loads, or has loaded what was asked for."""
    is_seen_loading(server, asked.done)
    begun = time.monotonic()
    assert server.stop() == 0, server.log.read_text()
    assert time.monotonic() - begun < END_SECONDS_MAX


def begins_again(program: Program, endpoints: list[str]) -> Server:
    """The registry is whole and says that so much is deployed, and a server that begins now brings all of it back."""
    with sqlite3.connect(program.data_dir / "registry.sqlite") as registry:
        assert registry.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    server = program.serve()
    deployed = server.get(ENDPOINTS).json["endpoints"]
    names = [endpoint["name"].rpartition("/")[2] for endpoint in deployed if endpoint.get("deployedModels")]
    assert sorted(names) == endpoints
    assert server.post(f"/v1/models/{MODEL}:predict", {"instances": ROW.tolist()}).json == {"predictions": (ROW * 3).tolist()}
    return server


def test_a_deployment_in_flight_is_given_up_at_the_end_and_can_be_made_then(ended: Program):
    ended.succeed("model", "upload", large(ended.folder / "large.onnx"), "--model", "large")
    ended.succeed("endpoint", "create", "large")
    for _ in range(TRIES_MAX):
        server = serve_and_rest(ended)
        # Beside what answers it is loaded when nothing else is to be done.
        with all_cores_busy(), ThreadPoolExecutor(1) as others:
            deploying: Future[Outcome] = others.submit(
                ended.run, "endpoint", "deploy", "large", "--model", "large", "--server", server.url, "--json"
            )
            end_while_loading(server, deploying)
            outcome = deploying.result()
        if outcome.status != 0:
            break
        ended.succeed("endpoint", "undeploy", "large", "--deployment", outcome.json["deployment"])
    assert outcome.status != 0 and "the server is stopping" in outcome.error["message"], outcome
    assert begins_again(ended, ["vec-1", "vec-2"]).stop() == 0
    ended.succeed("endpoint", "deploy", "large", "--model", "large")
    server = begins_again(ended, ["large", "vec-1", "vec-2"])
    assert server.post("/v1/models/large:predict", {"instances": LARGE_ROW}).status == 200
    assert server.stop() == 0


def test_a_server_that_brings_back_what_is_deployed_ends_when_told(ended: Program):
    ended.succeed("model", "upload", large(ended.folder / "large.onnx"), "--model", "large")
    deploy(ended, "a-large", "large")
    # What is under way is answered, however long its client takes: no deadline but that of the end holds.
    body = json.dumps({"displayName": "made at the end"}).encode()
    head = f"POST {ENDPOINTS}?endpointId=made HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    for _ in range(TRIES_MAX):
        server = ended.start()
        server.wait_for("/healthz")
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=END_SECONDS_MAX) as client:
            client.sendall(head.encode())
            # Now it is under way.
            assert client.recv(1024).startswith(b"HTTP/1.1 100 "), server.log.read_text()
            client.sendall(body[:5])
            if not is_seen_loading(server, lambda: server.get("/readyz").status == 200):
                server.process.kill()
                server.process.wait()
                continue
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            time.sleep(SLOW_SECONDS)
            assert server.process.poll() is None, server.log.read_text()
            client.sendall(body[5:])
            assert client.recv(1024).startswith(b"HTTP/1.1 200 "), server.log.read_text()
            break
    else:
        pytest.fail("it was loaded before anybody looked")
    assert server.process.wait(timeout=END_SECONDS_MAX) == 0, server.log.read_text()
    assert time.monotonic() - begun < END_SECONDS_MAX
    server = begins_again(ended, ["a-large", "vec-1", "vec-2"])
    assert server.get(f"{ENDPOINTS}/made").status == 200
    assert server.post("/v1/models/large:predict", {"instances": LARGE_ROW}).status == 200
    assert server.stop() == 0


def test_who_waits_for_a_model_on_demand_is_told_of_the_end(ended: Program):
    ended.succeed("model", "upload", large(ended.folder / "large.onnx"), "--model", "large")
    ended.succeed("endpoint", "create", "large")
    ended.succeed("endpoint", "deploy", "large", "--model", "large", "--load", "on-demand")
    for _ in range(TRIES_MAX):
        server = serve_and_rest(ended)
        with ThreadPoolExecutor(1) as others:
            asked: Future[Reply] = others.submit(server.post, "/v1/models/large:predict", {"instances": LARGE_ROW})
            end_while_loading(server, asked)
            reply = asked.result()
        if reply.status != 200:
            break
    assert reply.status == 503 and "the server is stopping" in reply.text, reply
    server = begins_again(ended, ["large", "vec-1", "vec-2"])
    assert server.post("/v1/models/large:predict", {"instances": LARGE_ROW}).status == 200
    assert server.stop() == 0
