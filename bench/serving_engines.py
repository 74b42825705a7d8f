"""The servers that `bench/run serving` compares: how each is installed, told of a model, started and asked.

All compute on one thread in one worker process. Keys are asked for where the server can.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

import installed
import serving_wire as wire
from processes import clean_environment, free_port
from serving_models import Model
from serving_wire import Wire

HERE = Path(__file__).parent
PEERS = HERE / "peers/serving"
OURS = "bellwether"
MODEL = "mlp"
# The Python that NVIDIA's stub is linked with.
SYSTEM_PYTHON = "/usr/bin/python3.11"
KEY = "made-up-key"


@dataclass
class Launch:
    """A command that serves one model, and how it is asked by kind of case: json, binary, grpc."""

    command: list
    wires: dict[str, Wire]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    # Where gRPC has a port of its own.
    grpc_port: int = 0
    # For the verbs that change what ours serves.
    admin_key: str = ""

    def port_of(self, kind: str) -> int:
        return self.grpc_port if kind == "grpc" and self.grpc_port else self.port


@dataclass(frozen=True)
class Engine:
    """A server. `launch` makes it ready to serve a model from a folder of its own."""

    name: str
    title: Callable[[], str]
    launch: Callable[[Model, Path], Launch]
    # What it must answer to rows, given the model's ONNX file.
    expected: Callable[[Path, np.ndarray], np.ndarray] = lambda path, rows: computed(path, rows)
    # The only kinds of cases it takes part in, by name of the model.
    models: str = "ab"


def computed(path: Path, rows: np.ndarray) -> np.ndarray:
    """onnxruntime's answer."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"features": rows.astype(np.float32)})[0]


def python_peer(name: str, package: str, start: Callable[[Path, int, Path], list], answer: Wire, venv: Path | None = None) -> Engine:
    """A peer in Python. `start` gets its folder of programs, a port and its working directory, and returns the command."""
    requirements = HERE / "requirements-serving.txt" if venv else PEERS / f"requirements-{name.lower().replace(' serve', '')}.txt"

    def launch(model: Model, folder: Path) -> Launch:
        programs = (venv or installed.environment(requirements)) / "bin"
        port = free_port()
        return Launch(start(programs, port, folder), {"json": answer}, port, environment(programs, folder, port))

    version = lambda of: installed.pinned(requirements, of)
    return Engine(name.lower().split()[0], lambda: f"{name} {version(package)}, onnxruntime {version('onnxruntime')}", launch)


def environment(programs: Path, folder: Path, port: int) -> dict[str, str]:
    """The environment of a peer in Python; none of them reports to its makers."""
    return {
        "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(PEERS), "MODEL": str(folder / "model.onnx"), "PORT": str(port),
        "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def fastapi(programs: Path, port: int, folder: Path) -> list:
    return [programs / "python", HERE / "peers/fastapi_server.py", folder / "model.onnx", port]


def mlflow(programs: Path, port: int, folder: Path) -> list:
    installed.run([programs / "python", HERE / "peers/mlflow_model.py", folder / "model.onnx", folder / "mlflow"])
    serve = [programs / "mlflow", "models", "serve", "-m", folder / "mlflow", "--env-manager", "local"]
    return [*serve, "-h", "127.0.0.1", "-p", port, "-w", 1]


def litserve(programs: Path, port: int, folder: Path) -> list:
    return [programs / "python", PEERS / "litserve_server.py"]


def mosec(programs: Path, port: int, folder: Path) -> list:
    return [programs / "python", PEERS / "mosec_server.py", "--address", "127.0.0.1", "--port", port]


def ray(programs: Path, port: int, folder: Path) -> list:
    return [programs / "python", PEERS / "ray_server.py"]


def bentoml(programs: Path, port: int, folder: Path) -> list:
    return [programs / "bentoml", "serve", "bentoml_server:Perceptron", "--host", "127.0.0.1", "--port", port, "--working-dir", PEERS]


def mlserver(programs: Path, port: int, folder: Path) -> list:
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps({"name": MODEL, "implementation": "mlserver_runtime.Perceptron"}))
    return [programs / "mlserver", "start", folder]


def triton(model: Model, folder: Path) -> Launch:
    """NVIDIA's tritonserver with its Python backend, from the wheel of pytriton."""
    requirements = PEERS / "requirements-triton.txt"
    venv = installed.environment(requirements, SYSTEM_PYTHON)
    packages = venv / "lib/python3.11/site-packages"
    server = packages / "pytriton/tritonserver"
    home = folder / f"repository/{MODEL}"
    (home / "1").mkdir(parents=True)
    # The interpreter within Triton ignores $PYTHONPATH; it finds packages by the `python3` of $PATH, and what is beside the model.
    shutil.copy(PEERS / "triton_model.py", home / "1/model.py")
    shutil.copy(PEERS / "engine.py", home / "1/engine.py")
    shutil.copytree(server / "backends", folder / "backends")
    shutil.copy(server / "python_backend_stubs/3.11/triton_python_backend_stub", folder / "backends/python")
    (home / "config.pbtxt").write_text(
        f'backend: "python"\nmax_batch_size: 1000\ninstance_group [{{ kind: KIND_CPU count: 1 }}]\n'
        f'input [{{ name: "features" data_type: TYPE_FP32 dims: [{model.widths[0]}] }}]\n'
        f'output [{{ name: "probabilities" data_type: TYPE_FP32 dims: [{model.widths[-1]}] }}]\n'
    )
    port, grpc_port = free_port(), free_port()
    command = [
        server / "bin/tritonserver", f"--model-repository={folder}/repository", f"--backend-directory={folder}/backends",
        "--http-address=127.0.0.1", f"--http-port={port}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc_port}",
        f"--metrics-port={free_port()}", "--metrics-address=127.0.0.1", "--log-error=true",
    ]
    path = f"/v2/models/{MODEL}/infer"
    wires = {"json": wire.inference_json(path), "binary": wire.inference_binary(path), "grpc": wire.inference_grpc(MODEL)}
    more = environment(venv / "bin", folder, port) | {"LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs")}
    return Launch(command, wires, port, more, grpc_port)


def furnace(model: Model, folder: Path) -> Launch:
    """furnace with a forward pass in Rust behind its trait for models: no engine of its own reads ONNX at run time."""
    model.write_weights(folder / "weights")
    port = free_port()
    command = [installed.programs(HERE / "peers/furnace") / "furnace", port, KEY, folder / "weights", ",".join(map(str, model.widths))]
    rows = lambda reply: reply["outputs"]
    return Launch(command, {"json": wire.instances("/predict", rows, "inputs").with_key(KEY)}, port)


def echo(model: Model, folder: Path) -> Launch:
    port = free_port()
    command = [installed.programs(HERE / "peers/furnace") / "echo", port]
    return Launch(command, {"json": wire.instances("/", lambda reply: reply["instances"])}, port)


def ours(model: Model, folder: Path) -> Launch:
    """This project's server, with a key where it knows keys."""
    data = ["--data-dir", folder / "data"]
    bellwether("model", "upload", folder / "model.onnx", "--model", MODEL, *data)
    bellwether("endpoint", "create", MODEL, *data)
    bellwether("endpoint", "deploy", MODEL, "--model", MODEL, "--cpu-cores", 1, *data)
    port = free_port()
    path = f"/v2/models/{MODEL}/infer"
    wires = {
        "json": wire.instances(f"/v1/projects/default/locations/us-central1/endpoints/{MODEL}:predict"),
        "binary": wire.inference_binary(path), "grpc": wire.inference_grpc(MODEL),
    }
    admin = ""
    if has_keys():
        create = lambda scope: bellwether("key", "create", "--scope", scope, "--name", "bench", *data)["key"]
        admin, asks = create("admin"), create("predict")
        wires = {kind: wired.with_key(asks) for kind, wired in wires.items()}
    command = [os.environ["BELLWETHER"], "serve", "--listen", f"127.0.0.1:{port}", "--allow-root", f"file://{folder}", *data]
    return Launch(command, wires, port, admin_key=admin)


def has_keys() -> bool:
    return subprocess.run([os.environ["BELLWETHER"], "key", "--help"], capture_output=True).returncode == 0


def bellwether(*arguments: object, key: str = "") -> dict:
    """A verb of ours, and the document it prints."""
    command = [os.environ["BELLWETHER"], *map(str, arguments), "--json"]
    known = {"BELLWETHER_API_KEY": key} if key else {}
    done = subprocess.run(command, env=clean_environment() | known, capture_output=True, text=True)
    if done.returncode:
        raise installed.Failed(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def crate(name: str) -> str:
    """The version of a crate that the peers in Rust are locked to."""
    text = (HERE / "peers/furnace/Cargo.lock").read_text()
    return text.split(f'name = "{name}"\nversion = "')[1].split('"')[0]


here = Path(sys.prefix)
# Those whose figures are closest together come first, so that they are measured side by side.
ENGINES = [
    Engine(OURS, lambda: OURS, ours),
    Engine("furnace", lambda: f"furnace-server {crate('furnace-server')}", furnace),
    Engine("echo", lambda: f"axum {crate('axum')}, bare echo", echo, expected=lambda path, rows: rows, models="a"),
    python_peer("mosec", "mosec", mosec, wire.instances("/inference")),
    python_peer("FastAPI", "fastapi", fastapi, wire.instances("/predict"), here),
    python_peer("MLServer", "mlserver", mlserver, wire.inference_json(f"/v2/models/{MODEL}/infer")),
    Engine("triton", lambda: f"tritonserver (pytriton {installed.pinned(PEERS / 'requirements-triton.txt', 'nvidia-pytriton')})", triton),
    python_peer("BentoML", "bentoml", bentoml, wire.instances("/predict", lambda reply: reply)),
    python_peer("LitServe", "litserve", litserve, wire.instances("/predict")),
    python_peer("MLflow", "mlflow", mlflow, wire.mlflow(), here),
    python_peer("Ray Serve", "ray", ray, wire.instances("/predict")),
]
