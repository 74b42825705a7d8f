"""Servers of models on this machine, ours and our peers', one after the other with the same models: requests a second, latency, CPU
time a request, memory and start-up; then ours alone: swaps and overload.

Models are (A) MLP 64-128-10, one row a request, and (B) MLP 158-512-256-10, 1,000 rows a request. Each server computes on one
thread in one worker process; ours and furnace check an API key. The answers of all are compared before anything is timed.
The client is `bellwether bench`, on the same cores; its own CPU time counts for nobody. CPU time is the figure to trust on a
machine that does something else as well: user and system time of all processes of a server.
Servers that are compared closely (ours, furnace, a bare echo) are measured `--rounds` times, and the best counts; what ours must be
beside them is measured apart, in `--turns` of seconds.

    bench/run serving [--engines bellwether,furnace,...] [--seconds 3] [--rounds 2] [--turns 9] [--swaps 20] [--plot serving.svg]
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from figures import Figures
from installed import Failed
from plot import bars
from serving_alone import alone
from serving_engines import ENGINES, OURS, Engine
from serving_load import SETTLE_SECONDS, Started, scratch, started
from serving_models import A, B, Model
from serving_musts import Must, musts
from serving_pairs import pairs
from serving_wire import Refused

# Before the first case of a server, which may still be busy with its start, and before each of the others.
FIRST_WARM_UP_SECONDS, WARM_UP_SECONDS = 2.0, 0.5
# Of ours and of a peer, one right after the other.
TURN_SECONDS = 1.5
# Measured in turn, several times.
CLOSE = (OURS, "furnace", "echo")


@dataclass(frozen=True)
class Case:
    """What is asked, and by how many connections."""

    model: Model
    kind: str
    rows: int
    connections: int

    @property
    def title(self) -> str:
        return f"{self.model.name.upper()} {self.kind} {self.rows:,}, {self.connections} conn."


CASES = [
    Case(A, "json", 1, 1), Case(A, "json", 1, 16), Case(A, "json", 1, 64), Case(A, "binary", 1, 16), Case(A, "grpc", 1, 16),
    Case(B, "json", 1000, 2), Case(B, "binary", 1000, 2), Case(B, "grpc", 1000, 2),
]
IDLE = "A, idle"


class Best:
    """The best figure of several rounds, and the cases that ours did not take part in, with the reason."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str], float] = {}
        self.skipped: dict[str, str] = {}

    def add(self, case: str, engine: str, metric: str, value: float) -> None:
        choose = max if metric == "requests" else min
        key = (case, engine, metric)
        self.values[key] = choose(self.values.get(key, value), value)


UNITS = {"requests": "1/s", "p50": "us", "p99": "us", "CPU": "us/req", "memory": "MB", "ready": "ms"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run serving")
    names = [engine.name for engine in ENGINES]
    parser.add_argument("--engines", default=",".join(names), help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=3, help="how long each case is measured")
    parser.add_argument("--rounds", type=int, default=2, help="how often ours, furnace and the echo are measured")
    parser.add_argument("--turns", type=int, default=9, help="how often ours and one of these are asked one right after the other")
    parser.add_argument("--swaps", type=int, default=20, help="over how many swaps the growth of our memory is measured")
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--plot", type=Path, default=Path("serving.svg"), help="where the plot is written")
    arguments = parser.parse_args()
    wanted = arguments.engines.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    best, failures, figures = Best(), {}, Figures("serving")
    for engine in turns([engine for engine in ENGINES if engine.name in wanted], arguments.rounds):
        if engine.name in failures:
            continue
        try:
            compare(engine, arguments.seconds, best)
        except Failed as failed:
            failures[engine.name] = f"{engine.title()}: {failed}"
            say(f"FAILED {failures[engine.name]}")
            figures.fail("all", engine.title(), str(failed))
    found: list[Must] = []
    ours_alone = Figures("serving")
    titles = {engine.name: engine.title() for engine in ENGINES}
    for case in [*(case.title for case in CASES), IDLE]:
        for (at, engine, metric), value in best.values.items():
            if at == case:
                figures.add(case, titles[engine], metric, value, UNITS[metric])
    if OURS in wanted and OURS not in failures:
        found = musts(best.values)
        try:
            close = [engine for engine in ENGINES if engine.name in wanted and engine.name not in failures]
            found = pairs(close, ours_alone, arguments.turns, TURN_SECONDS) + found
            found += alone(ours_alone, arguments)
        except (Failed, Refused) as failed:
            failures["alone"] = f"{OURS} alone: {failed}"
            ours_alone.fail("alone", OURS, str(failed))
    figures.table(OURS)
    print()
    ours_alone.list()
    print()
    figures.lines()
    ours_alone.lines()
    bars(arguments.plot, chart(best, titles), "CPU microseconds a request: model A, JSON, one row, 16 connections", OURS)
    print(f"\nplot: {arguments.plot}")
    for case, reason in best.skipped.items():
        print(f"SKIPPED {case}: {reason}")
    for must in found:
        print(must)
    for failure in failures.values():
        print(f"FAILED {failure}")
    if failures or not all(must.is_kept for must in found):
        raise SystemExit(1)


def turns(engines: list[Engine], rounds: int) -> list[Engine]:
    close = [engine for engine in engines if engine.name in CLOSE]
    return close * rounds + [engine for engine in engines if engine.name not in CLOSE]


def compare(engine: Engine, seconds: float, best: Best) -> None:
    """All cases of one engine."""
    for model in (A, B):
        if model.name not in engine.models:
            continue
        with scratch() as folder, started(engine, model, Path(folder)) as running:
            if model is A:
                time.sleep(SETTLE_SECONDS)
                best.add(IDLE, engine.name, "ready", 1e3 * running.ready_seconds)
                best.add(IDLE, engine.name, "memory", running.server.memory_mb())
            mine = [case for case in CASES if case.model is model and case.kind in running.launch.wires]
            for case in mine:
                warm_up = FIRST_WARM_UP_SECONDS if case is mine[0] else WARM_UP_SECONDS
                measure(running, case, (warm_up, seconds), best)


def measure(running: Started, case: Case, seconds: tuple[float, float], best: Best) -> None:
    """One case: its answer is checked, then it is asked without and with measuring for so many seconds."""
    name, rows = running.engine.name, case.model.rows(case.rows)
    try:
        running.check(case.kind, rows)
    except (OSError, Refused) as refused:
        if name == OURS and case.kind != "json":
            best.skipped.setdefault(case.title, f"{OURS} does not answer it: {refused}")
            return
        raise Failed(f"{case.title}: {refused}") from refused
    for length in seconds:
        answers = running.load(case.kind, rows, case.connections, length)
    if answers.failures or not answers.requests:
        raise Failed(f"{case.title}: {answers.requests} answers, failed: {answers.failures}: {running.server.last_words()}")
    for metric, value in zip(UNITS, (answers.per_second, answers.p50_us, answers.p99_us, answers.cpu_us)):
        best.add(case.title, name, metric, value)
    say(
        f"{case.title:<22} {name:<11} {answers.per_second:8.0f}/s, p50 {answers.p50_us:8.0f} us, p99 {answers.p99_us:8.0f} us, "
        f"CPU {answers.cpu_us:8.1f} us a request"
    )


def chart(best: Best, titles: dict[str, str]) -> list[tuple[str, float]]:
    case = next(case.title for case in CASES if case.connections == 16)
    return [(titles[engine], value) for (at, engine, metric), value in best.values.items() if (at, metric) == (case, "CPU")]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
