"""Our converter from SavedModel to ONNX, and our embedded engine, as programs.

Both are an example of `crates/artifact`, built with cargo. This is the one place that says how they are called.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from program import REPOSITORY

SECONDS_MAX = 600


@dataclass
class Converter:
    """The built example."""

    binary: Path

    @classmethod
    def build(cls) -> "Converter":
        # With the features of the whole workspace, because so it is built already by `cargo test --workspace`.
        command = ["cargo", "build", "--quiet", "--workspace", "--example", "convert"]
        if named := os.environ.get("BELLWETHER_CONVERTER"):
            return cls(Path(named).resolve())
        subprocess.run(command, cwd=REPOSITORY, check=True)
        target = REPOSITORY / (os.environ.get("CARGO_TARGET_DIR") or "target")
        return cls(target / "debug" / "examples" / "convert")

    def convert(self, folder: Path, out: Path, signature: str) -> dict:
        """Writes `out` and returns the signature, the operators and notes."""
        return json.loads(self.succeed(folder, out, "--signature", signature))

    def write(self, model: Path, folder: Path) -> dict:
        """Writes the graph of a model as a SavedModel, and returns the signature and notes."""
        return json.loads(self.succeed("saved-model", model, folder))

    def refusal(self, folder: Path, signature: str = "serving_default") -> str:
        """Why it does not convert the model."""
        done = self.call(folder, folder / "refused.onnx", "--signature", signature)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def run(self, model: Path, calls: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """What rten makes of each call."""
        text = json.dumps([{name: document(array) for name, array in call.items()} for call in calls])
        results = json.loads(self.succeed("run", model, text=text))
        return [{name: array(value) for name, value in result.items()} for result in results]

    def succeed(self, *arguments: str | Path, text: str = "") -> str:
        done = self.call(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if key != "RUST_BACKTRACE"}
        return subprocess.run(
            [str(self.binary), *map(str, arguments)], input=text, capture_output=True, text=True, env=environment,
            timeout=SECONDS_MAX,
        )


def document(values: np.ndarray) -> dict:
    return {"shape": list(values.shape), "elements": values.ravel().tolist()}


def array(value: dict) -> np.ndarray:
    elements = [float(element) if isinstance(element, str) else element for element in value["elements"]]
    return np.array(elements, dtype=value["dtype"]).reshape(value["shape"])
