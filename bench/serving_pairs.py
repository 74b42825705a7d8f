"""Ours and its closest peers in turn, a second or two each: what changes the speed of the machine changes it for both.

Of what must be so beside a peer, the median of the ratios of all turns counts.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from figures import Figures
from installed import Failed
from serving_engines import OURS, Engine
from serving_load import Answers, Started, scratch, started
from serving_models import A
from serving_musts import CPU_SHARE_MAX, ECHO_SHARE_MIN, P50_SHARE_MAX, Must

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Pair:
    """A figure of ours as a share of a peer's, and its limit."""

    text: str
    peer: str
    connections: int
    figure: Callable[[Answers], float]
    limit: float
    is_least: bool = False

    def ratio(self, asked: Callable[[str], Answers], ours_first: bool) -> float:
        first, second = (OURS, self.peer) if ours_first else (self.peer, OURS)
        found = {name: self.figure(asked(name)) for name in (first, second)}
        return found[OURS] / found[self.peer]


PAIRS = (
    Pair("CPU a request at 16 connections, share of furnace's", "furnace", 16, lambda answers: answers.cpu_us, CPU_SHARE_MAX),
    Pair("p50 at 1 connection, share of furnace's", "furnace", 1, lambda answers: answers.p50_us, P50_SHARE_MAX),
    Pair("requests a second at 16 connections, share of a bare echo's", "echo", 16, lambda answers: answers.per_second, ECHO_SHARE_MIN, True),
)


def pairs(engines: list[Engine], figures: Figures, turns: int, seconds: float) -> list[Must]:
    """Adds figures, and returns what of ours must be so beside those engines; none without ours."""
    named = {engine.name: engine for engine in engines}
    wanted = [pair for pair in PAIRS if {OURS, pair.peer} <= set(named)]
    with ExitStack() as stack:
        running: dict[str, Started] = {}
        for name in sorted({name for pair in wanted for name in (OURS, pair.peer)}):
            folder = Path(stack.enter_context(scratch()))
            running[name] = stack.enter_context(started(named[name], A, folder))
            running[name].check("json", A.rows(1))
            ask(running[name], 16, WARM_UP_SECONDS)
        ratios: dict[Pair, list[float]] = {pair: [] for pair in wanted}
        for turn in range(turns):
            for pair in wanted:
                asked = lambda name: ask(running[name], pair.connections, seconds)
                ratios[pair].append(pair.ratio(asked, turn % 2 == 0))
    found = []
    for pair, all_turns in ratios.items():
        spread = f"{min(all_turns):.3g} to {max(all_turns):.3g} in {turns} turns"
        print(f"{pair.text}: {median(all_turns):.3g} ({spread})", file=sys.stderr, flush=True)
        figures.add("A json 1, in turn", OURS, pair.text, median(all_turns), "")
        found.append(Must(f"{pair.text} ({spread})", median(all_turns), pair.limit, pair.is_least))
    return found


def ask(running: Started, connections: int, seconds: float) -> Answers:
    answers = running.load("json", A.rows(1), connections, seconds)
    if answers.failures or not answers.requests:
        raise Failed(f"{answers.requests} answers of {running.engine.name}, failed: {answers.failures}: {running.server.last_words()}")
    return answers
