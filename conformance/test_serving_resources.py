"""What a deployment takes of the machine: the CPU time that the kernel counts for the server's threads under load, and memory at load."""

import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_networks import INT64, Network
from program import Program, Server

TICKS = os.sysconf("SC_CLK_TCK")
ENDPOINTS = "/v1/projects/default/locations/l/endpoints"
CPU_SECONDS_MAX = 1.1
WARM_UP_SECONDS, SECONDS = 1, 6
CONNECTIONS = 16
# A question of HEAVY takes milliseconds on a thread of the engine, one of QUICK is computed in microseconds by the thread that read it.
HEAVY, QUICK = "heavy", "quick"
# Features, hidden layers and classes; rows a question.
WIDTHS = {HEAVY: (64, 2048, 2048, 10), QUICK: (158, 512, 256, 10)}
ROWS = {HEAVY: 250, QUICK: 32}
# Of the CPU time of a server that computes HEAVY: threads that compute have so much together, and each of them so much. One thread takes no
# more than a CPU second a second: so the first holds the limit also where others use the machine meanwhile, and the clock of the wall says little.
ENGINE_SHARE_MIN, THREAD_SHARE_MIN = 1 / CPU_SECONDS_MAX, 0.2


def perceptron(path: Path, widths: tuple[int, ...]) -> Path:
    """Relu between the layers, softmax at the end."""
    net = Network()
    last = net.input("features", widths[0])
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        last = net("MatMul", last, net.weight(f"w{index}", inputs, outputs, scale=inputs**-0.5))
        last = net("Relu", last) if index < len(widths) - 2 else net("Softmax", last, axis=1)
    net.output("p", last, widths[-1])
    onnx.save(net.model(), path)
    return path


def table(path: Path, megabytes: int) -> Path:
    """So many megabytes of weights, of which each row of four features looks one row up."""
    net = Network()
    x = net.input("features", 4)
    place = net("ArgMax", x, axis=1, keepdims=0)
    net.output("p", net("Gather", net.weight("table", megabytes * 10**6 // 16, 4), place), 4)
    onnx.save(net.model(), path)
    return path


def binary_question(rows: np.ndarray) -> tuple[bytes, int]:
    """A body of Open Inference v2 with Triton's binary tensors, and the length of its head."""
    given = {"name": "features", "shape": rows.shape, "datatype": "FP32", "parameters": {"binary_data_size": rows.nbytes}}
    head = json.dumps({"inputs": [given], "outputs": [{"name": "p", "parameters": {"binary_data": True}}]}).encode()
    return head + rows.tobytes(), len(head)


def load(program: Program, server: Server, model: str, seconds: float) -> subprocess.Popen:
    """`bellwether bench`, started."""
    rows = np.random.default_rng(1).normal(size=(ROWS[model], WIDTHS[model][0])).astype(np.float32)
    body, head = binary_question(rows)
    file = program.folder / f"{model}.body"
    file.write_bytes(body)
    command = [program.binary, "bench", "--url", f"{server.url}/v2/models/{model}/infer", "--body", file, "--connections", CONNECTIONS]
    command += ["--header", "content-type=application/octet-stream", "--header", f"inference-header-content-length={head}"]
    command += ["--seconds", seconds, "--warm-up", 0, "--json"]
    return subprocess.Popen(list(map(str, command)), cwd=program.folder, stdout=subprocess.PIPE, text=True)


def thread_seconds(pid: int) -> Counter[str]:
    """CPU time of each thread that lives, user and system, by its number and name."""
    found: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        fields = rest.split()
        found[f"{task.name} {name}"] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def process_seconds(pid: int) -> float:
    """CPU time of the process, threads that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Measured:
    """A server under load for some seconds: CPU seconds a second of the process and of each thread, by the clock of the wall."""

    def __init__(self, program: Program, server: Server, model: str):
        pid = server.process.pid
        asking = load(program, server, model, WARM_UP_SECONDS + SECONDS + 1)
        time.sleep(WARM_UP_SECONDS)
        began, process, threads = time.monotonic(), process_seconds(pid), thread_seconds(pid)
        compute = compute_seconds(server, model)
        time.sleep(SECONDS)
        took, all_threads = time.monotonic() - began, thread_seconds(pid) - threads
        self.process = (process_seconds(pid) - process) / took
        self.compute = (compute_seconds(server, model) - compute) / took
        self.threads = {name: seconds / took for name, seconds in all_threads.most_common()}
        self.engine = [share for share in self.threads.values() if share >= THREAD_SHARE_MIN * self.process]
        self.answers = json.loads(asking.communicate()[0])
        assert asking.returncode == 0 and self.answers["requests"] > 0 and not self.answers["failures"], self.answers

    def __str__(self) -> str:
        threads = ", ".join(f"{name}: {share:.3f}" for name, share in self.threads.items())
        return f"{self.process:.3f} CPU seconds a second ({threads}), {self.answers['requests_per_second']:.0f} requests a second"


def compute_seconds(server: Server, model: str) -> float:
    """How long the deployment's engine has computed, by the clock of the wall: each call once, whoever made it."""
    (stats,) = server.get(f"/v2/models/{model}/stats").json["model_stats"]
    return sum(int(one["compute_infer"]["ns"]) for one in stats["batch_stats"]) / 1e9


@pytest.fixture
def served(program: Program):
    """Both models on one core each."""
    for model, widths in WIDTHS.items():
        program.succeed("model", "upload", perceptron(program.folder / f"{model}.onnx", widths), "--model", model)
        program.succeed("endpoint", "create", model)
        program.succeed("endpoint", "deploy", model, "--model", model, "--cpu-cores", "1")
    server = program.serve()
    yield server
    assert server.stop() == 0, server.log.read_text()


def test_a_deployment_of_one_core_uses_one_core(program: Program, served: Server):
    one = Measured(program, served, HEAVY)
    assert one.process <= CPU_SECONDS_MAX, str(one)
    assert len(one.engine) == 1 and one.engine[0] >= ENGINE_SHARE_MIN * one.process, str(one)

    # With two cores two threads compute: it is the deployment's size that holds it.
    (deployment,) = program.succeed("endpoint", "show", HEAVY, "--server", served.url)["deployments"]
    program.succeed("endpoint", "resize", HEAVY, "--deployment", deployment["id"], "--cpu-cores", "2", "--server", served.url)
    two = Measured(program, served, HEAVY)
    assert len(two.engine) == 2 and sum(two.engine) >= ENGINE_SHARE_MIN * two.process, str(two)


def test_what_connections_compute_themselves_stays_within_the_core(program: Program, served: Server):
    # Their threads read and write too, and there is one for each core: what the deployment takes is what was computed.
    quick = Measured(program, served, QUICK)
    assert 0.02 < quick.compute <= CPU_SECONDS_MAX, f"computed {quick.compute:.3f} s a second; {quick}"


def test_200_megabytes_of_weights_in_50_are_refused_with_the_numbers(program: Program):
    program.succeed("model", "upload", table(program.folder / "large.onnx", 200), "--model", "large")
    program.succeed("endpoint", "create", "e")
    server = program.serve()
    try:
        deploy = {"deployedModel": {"model": "projects/default/locations/l/models/large", "memoryGb": 0.05}}
        refused = server.post(f"{ENDPOINTS}/e:deployModel", deploy)
        error = refused.json["error"]
        assert (refused.status, error["status"]) == (429, "RESOURCE_EXHAUSTED"), refused.text
        needs, budget = re.search(r"needs ([\d.]+) MB of memory and its budget is ([\d.]+) MB; raise memory_gb", error["message"]).groups()
        assert 200 <= float(needs) < 250 and float(budget) == 50, error["message"]
        assert server.get(f"{ENDPOINTS}/e").json["deployedModels"] == []

        deploy["deployedModel"]["memoryGb"] = 1
        assert server.post(f"{ENDPOINTS}/e:deployModel", deploy).status == 200
        assert len(server.get(f"{ENDPOINTS}/e").json["deployedModels"]) == 1
    finally:
        assert server.stop() == 0, server.log.read_text()


def test_memory_is_measured_the_same_every_time(program: Program):
    """What was freed before hides nothing of it, and what loading took for a while is no part of it: an accepted model comes back."""
    program.succeed("model", "upload", table(program.folder / "table.onnx", 60), "--model", "table")
    program.succeed("endpoint", "create", "e")
    server, sizes = program.serve(), []
    deploy = {"deployedModel": {"model": "projects/default/locations/l/models/table", "memoryGb": 0.1}}
    for again in range(6):
        if again == 3:
            server.process.kill()
            server.process.wait()
            server = program.serve()
        else:
            answer = server.post(f"{ENDPOINTS}/e:deployModel", deploy)
            assert answer.status == 200, answer.text
        sizes += [deployed["resources"]["memoryBytes"] for deployed in server.get(f"{ENDPOINTS}/e").json["deployedModels"]]
    assert server.stop() == 0, server.log.read_text()
    assert 60e6 <= min(sizes) and max(sizes) < 1.01 * min(sizes) + 100e3, sizes


def attention(path: Path) -> Path:
    """Sequences of any length, each step of which looks at all others."""
    net = Network()
    x = net.input("features", "steps", 2)
    scores = net("Softmax", net("MatMul", x, net("Transpose", x, perm=[0, 2, 1])), axis=2)
    net.output("p", net("MatMul", scores, x), "steps", 2)
    onnx.save(net.model(), path)
    return path


def test_what_the_caller_makes_large_stays_within_the_memory(program: Program):
    """A million steps would take 4 TB: refused with the numbers, and the server goes on."""
    program.succeed("model", "upload", attention(program.folder / "attention.onnx"), "--model", "attention")
    program.succeed("endpoint", "create", "e")
    program.succeed("endpoint", "deploy", "e", "--model", "attention", "--memory-gb", "0.2")
    server = program.serve()
    for steps, rows, status in ((1000, 1, 200), (1000, 200, 200), (1_000_000, 1, 400), (20_000, 1, 400), (1000, 1, 200)):
        body = {"instances": [[[0.5, 1.0]] * steps] * rows}
        answer = server.post("/v1/models/attention:predict", body)
        assert answer.status == status, (steps, rows, answer.text[:300])
        if status == 400:
            assert re.search(rf"an open axis has {steps} elements: .* may take \d+ MB of memory, and the deployment has \d+ MB", answer.text)
    # 200 rows of 1,000 steps together would take 800 MB and more.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())[1]) / 1e3
    assert peak < 500, f"{peak} MB"
    assert server.stop() == 0, server.log.read_text()


def test_what_only_the_engine_sees_is_the_callers_fault_all_the_same(program: Program):
    """A row of a table that it has not got: no inner error, in any protocol, and with the reason."""
    net = Network()
    place = net.input("place", dtype=INT64)
    net.output("p", net("Gather", net.weight("table", 10, 4), place), 4)
    onnx.save(net.model(), program.folder / "table.onnx")
    program.succeed("model", "upload", program.folder / "table.onnx", "--model", "table")
    program.succeed("endpoint", "create", "e")
    program.succeed("endpoint", "deploy", "e", "--model", "table")
    server = program.serve()
    tensor = {"name": "place", "shape": [1], "datatype": "INT64"}
    for path, body in (
        (f"{ENDPOINTS}/e:predict", lambda place: {"instances": [place]}),
        ("/v1/models/table:predict", lambda place: {"instances": [place]}),
        ("/v2/models/table/infer", lambda place: {"inputs": [tensor | {"data": [place]}]}),
        ("/endpoints/e/invocations", lambda place: {"instances": [place]}),
    ):
        assert server.post(path, body(9)).status == 200, path
        refused = server.post(path, body(10))
        assert refused.status == 400 and "cannot compute these inputs" in refused.text, (path, refused.text)
    assert server.stop() == 0, server.log.read_text()
