"""Training of four networks: ours, PyTorch and Keras on TensorFlow, each in its own process, on two threads and the same file.

(A) 64-128-10, batches of 32, 60,000 rows; (B) 158-512-256-10, batches of 4,096, 500,000 rows; (C) two LSTM layers of 64 on 20 x 20, batches of
800; (D) two transformer blocks on 20 x 20, batches of 800. Engines take turns, and turns are repeated: a figure is the best of them
(memory: the worst), an epoch is the median of those of a run. Start-up is from the start of the process to the end of the
first step, with imports, reading and compiling. All must end with the same loss within 1 % and far below that of a guess.

    bench/run training [--cases ABCD] [--engines bellwether,torch,keras] [--rounds 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "peers"))

import torch_cpu
from figures import Figures
from processes import clean_environment
from training_cases import CASES, Case

THREADS = 2
LOSS_TOLERANCE = 0.01
# An answer that is always the same has the loss of a guess; a network that learned is well below.
LOSS_OF_GUESS_SHARE_MAX = 0.9
SECONDS_MAX = 3600
OURS, PEERS = "bellwether", ("torch", "keras")
METRICS = {"seconds_per_epoch": "s", "peak_memory_mb": "MB", "startup_seconds": "s"}
# Our figure as a share of PyTorch's: (case, metric) -> what we aim at.
AIMS = {
    ("A", "seconds_per_epoch"): 0.3, ("B", "seconds_per_epoch"): 1.4, ("C", "seconds_per_epoch"): 1.5, ("D", "seconds_per_epoch"): 1.5,
    ("A", "peak_memory_mb"): 1 / 3, ("B", "peak_memory_mb"): 1 / 3,
}


@dataclass
class Run:
    """What one run of an engine took."""

    seconds_per_epoch: float
    peak_memory_mb: float
    startup_seconds: float
    loss: float


@dataclass
class Result:
    """All runs of an engine on a case, and why there is none if there is none."""

    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    def figure(self, metric: str) -> float:
        values = [getattr(run, metric) for run in self.runs]
        return max(values) if metric == "peak_memory_mb" else min(values)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run training")
    parser.add_argument("--cases", default="".join(case.name for case in CASES))
    parser.add_argument("--engines", default=",".join([OURS, *PEERS]))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    cases = [case for case in CASES if case.name in arguments.cases]
    results, problems = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases:
            table = Path(scratch) / f"{case.name}.parquet"
            guess = case.write(table)
            found = results[case.name] = {engine: Result() for engine in engines}
            for turn in range(arguments.rounds):
                # Another engine begins each time: none has always the machine as its neighbour left it.
                for engine in engines[turn % len(engines) :] + engines[: turn % len(engines)]:
                    result = found[engine]
                    if result.failure:
                        continue
                    try:
                        result.runs.append(ours(case, table, turn) if engine == OURS else peer(case, table, engine))
                        say(case, engine, result.runs[-1])
                    except Failed as failed:
                        result.failure = str(failed)
                        print(f"{case.name} {engine}: {failed}", file=sys.stderr)
            table.unlink()
            problems += check(case, found, guess)
    show(results)
    if problems:
        raise SystemExit("\n".join(problems))


def ours(case: Case, table: Path, turn: int) -> Run:
    """`bellwether train`, in a process of its own."""
    folder = table.parent / f"{case.name}-{turn}"
    folder.mkdir()
    pipeline = table.with_suffix(".toml")
    pipeline.write_text(case.pipeline(table.name))
    command = [os.environ["BELLWETHER"], "train", pipeline, "--out", folder / "bundle", "--threads", THREADS, "--data-dir", folder / "data", "--json"]
    begin = time.time()
    printed, peak = run(command, folder, {})
    took = time.time() - begin
    report = json.loads(printed)
    history = report["history"]
    # `seconds` has the validation rows as well, which the peers measure once, at the end.
    epochs = [case.rows / epoch["rows_per_second"] for epoch in history]
    startup = report["startup_seconds"]
    if startup + sum(epochs[1:]) > took:
        raise Failed(f"it says that it started in {startup} s and took {sum(epochs)} s, but the process took {took} s")
    return Run(statistics.median(epochs), peak, startup, history[-1]["val_loss"])


def peer(case: Case, table: Path, engine: str) -> Run:
    """A peer's script."""
    script = Path(__file__).parent / f"peers/{engine}_training.py"
    environment = {"OMP_NUM_THREADS": str(THREADS)}
    if engine == "torch" and (path := torch_cpu.library_path(Path(sys.prefix) / "no-cuda")):
        environment["LD_LIBRARY_PATH"] = path
    begin = time.time()
    printed, peak = run([sys.executable, script, case.spec(table, THREADS)], table.parent, environment)
    report = json.loads(printed.splitlines()[-1])
    return Run(statistics.median(report["epochs"]), peak, report["first_step_at"] - begin, report["loss"])


class Failed(Exception):
    """An engine gave no figure."""


def run(command: list, folder: Path, environment: dict[str, str]) -> tuple[str, float]:
    """What a command prints, and its peak memory in MB; it is kept on as many cores as it has threads."""
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=clean_environment() | environment, stdout=out, stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        end = time.monotonic() + SECONDS_MAX
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        out.seek(0)
        log.seek(0)
        text = out.read()
        if process.returncode:
            raise Failed(f"{Path(command[0]).name} ended with {process.returncode}: {text[-1000:]}{log.read()[-2000:]}")
    # Linux counts ru_maxrss in KiB.
    return text, ended[2].ru_maxrss * 1024 / 1e6


def say(case: Case, engine: str, run: Run) -> None:
    print(
        f"{case.name} {engine:<10} {run.seconds_per_epoch:8.3f} s/epoch {run.peak_memory_mb:6.0f} MB "
        f"{run.startup_seconds:6.2f} s to the first step, loss {run.loss:.4f}",
        file=sys.stderr,
    )


def show(results: dict[str, dict[str, Result]]) -> None:
    """The table and the lines, then our share of PyTorch's figures beside what we aim at."""
    figures = Figures("training")
    for case, found in results.items():
        for engine, result in found.items():
            for metric, unit in (METRICS | {"loss": ""}).items():
                if result.runs:
                    name = "final_loss" if metric == "loss" else metric
                    figures.add(case, engine, name, result.runs[-1].loss if metric == "loss" else result.figure(metric), unit)
    figures.show(OURS)
    print(f"\n{'case':<5} {'metric':<18} " + " ".join(f"{f'{OURS} / {peer}':>20}" for peer in PEERS) + f" {'aim / torch':>12}")
    for case, found in results.items():
        for metric in METRICS:
            cells = ""
            for peer in PEERS:
                both = found.get(OURS, Result()).runs and found.get(peer, Result()).runs
                cells += f" {found[OURS].figure(metric) / found[peer].figure(metric):>20.3f}" if both else f" {'-':>20}"
            aim = AIMS.get((case, metric))
            print(f"{case:<5} {metric:<18}{cells} {'' if aim is None else f'{aim:.2f}':>12}")


def check(case: Case, found: dict[str, Result], guess: float) -> list[str]:
    """Why the figures of a case cannot be believed; `guess` is the loss of an answer that is always the same."""
    problems = [f"{case.name}: {engine} has no figure: {result.failure}" for engine, result in found.items() if result.failure]
    losses = {engine: result.runs[-1].loss for engine, result in found.items() if result.runs}
    if losses:
        spread = max(losses.values()) / min(losses.values()) - 1
        if not spread <= LOSS_TOLERANCE:
            problems.append(f"{case.name}: final losses differ by {spread:.2%}: {losses}")
        if not max(losses.values()) <= LOSS_OF_GUESS_SHARE_MAX * guess:
            problems.append(f"{case.name}: nothing was learned: losses are {losses}, that of a guess {guess:.3f}")
    return problems


if __name__ == "__main__":
    main()
