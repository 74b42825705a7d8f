"""Our import of ONNX and our engines, driven from here: the one place that knows how the Rust example is called."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from program import REPOSITORY


@dataclass
class Answer:
    """What an import and a call gave, or where they ended."""

    outputs: dict[str, np.ndarray]
    engine: str = ""
    kind: str = ""
    notes: tuple[str, ...] = ()
    stage: str = ""
    error: str = ""
    microseconds: float | None = None
    load_seconds: float | None = None

    @property
    def is_refused(self) -> bool:
        return bool(self.stage)


def library() -> Path:
    """The library inside the installed package."""
    (found,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return found


def built(profile: str = "debug") -> Path:
    """The example, built with the features of the whole workspace, because so it is built already by `cargo test --workspace`."""
    if given := os.environ.get("RUN_ONNX"):
        return Path(given)
    release = ["--release"] if profile == "release" else []
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--example", "run_onnx", *release], cwd=REPOSITORY, check=True)
    target = REPOSITORY / (os.environ.get("CARGO_TARGET_DIR") or "target")
    return target / profile / "examples" / "run_onnx"


class Runner:
    """The example, running: a request a line."""

    def __init__(self, folder: Path, profile: str = "debug", environment: dict[str, str] | None = None):
        self.folder = folder
        self.count = 0
        self.errors = (folder / "stderr.txt").open("w")
        environment = os.environ | {"BELLWETHER_ONNXRUNTIME": str(library())} | (environment or {})
        self.process = subprocess.Popen([built(profile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=environment)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()

    def ask(self, request: dict) -> dict | list:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the example ended at {request}: {(self.folder / 'stderr.txt').read_text()[-2000:]}")
        return json.loads(line)

    def engines(self) -> list[str]:
        return self.ask({"engines": True})

    def run(self, model: bytes | Path, inputs: dict[str, np.ndarray], engine: str = "auto", seconds: float = 0) -> Answer:
        """Imports the model and calls it once (and, for so many seconds, again and again)."""
        self.count += 1
        folder = self.folder / str(self.count % 16)
        folder.mkdir(exist_ok=True)
        if isinstance(model, bytes):
            path = folder / "model.onnx"
            path.write_bytes(model)
            model = path
        paths = {}
        for at, (name, values) in enumerate(inputs.items()):
            paths[name] = str(folder / f"input_{at}.npy")
            # NumPy's 64-byte alignment makes the header of a scalar, an empty or any other array alike.
            np.save(paths[name], np.ascontiguousarray(values) if values.ndim else values)
        answer = self.ask({"model": str(model), "engine": engine, "inputs": paths, "out": str(folder), "seconds": seconds})
        if "error" in answer:
            return Answer({}, stage=answer["stage"], error=answer["error"])
        outputs = {name: np.load(path) for name, path in answer["outputs"].items()}
        return Answer(outputs, answer["engine"], answer["kind"], tuple(answer["notes"]),
                      microseconds=answer.get("microseconds"), load_seconds=answer.get("load_seconds"))
