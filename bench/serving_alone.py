"""Our server alone: versions swapped under load, what it holds after some swaps, and four times the load it can take."""

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import Figures
from serving_engines import ENGINES, OURS
from serving_load import Started, scratch, started
from serving_models import A, HEAVY, LARGE, Model
from serving_musts import Must
from serving_soak import Soak, over_swaps
from serving_versions import swap, upload

CONNECTIONS = 16
# Of these, each with a request under way, more wait than the queue takes.
OVERLOAD_CONNECTIONS = 2048
OVERLOAD = 4
# A request: enough to compute that what it costs the client, on the same cores, to send four times as many is little beside it.
OVERLOAD_ROWS = 16
# As many requests wait; an accepted one waits for those, for the batch that is computed and for its own.
QUEUED_MAX, QUEUES_MAX, MORE_KB_MAX = 256, 3.0, 100.0
# The large model is swapped so often while it is asked, or fewer times if that takes long. It is asked in runs of some seconds each,
# one right after the other: the worst p99 of them counts.
SWAPS_UNDER_LOAD_MAX, SWAPPING_SECONDS_MAX, ASKED_SECONDS = 3, 20.0, 3.0
TAIL_MAX, GOODPUT_MIN, RECOVERED_MIN = 1.5, 0.9, 0.9
WARM_UP_SECONDS = 1.0


def alone(figures: Figures, arguments: argparse.Namespace) -> list[Must]:
    """Adds figures, and returns which of the musts they keep."""
    found: list[Must] = []
    for measure, model in ((swap_under_load, LARGE), (growth, A), (overload, HEAVY)):
        with scratch() as folder, started(ENGINES[0], model, Path(folder)) as running:
            found += measure(running, model, figures, arguments)
    return found


def swap_under_load(running: Started, model: Model, figures: Figures, arguments: argparse.Namespace) -> list[Must]:
    """A model of 200 MB is replaced by its next version while it is asked."""
    rows = model.rows(1)
    running.check("json", rows)
    upload(running)
    running.load("json", rows, CONNECTIONS, WARM_UP_SECONDS)
    before = running.load("json", rows, CONNECTIONS, arguments.seconds)
    during, took, done = [], [], threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            during.append(running.load("json", rows, CONNECTIONS, ASKED_SECONDS))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(keep_asking)
        time.sleep(0.5)
        end = time.monotonic() + SWAPPING_SECONDS_MAX
        try:
            while len(took) < SWAPS_UNDER_LOAD_MAX and time.monotonic() < end:
                began = time.perf_counter()
                swap(running, 2 - len(took) % 2)
                took.append(time.perf_counter() - began)
        finally:
            done.set()
        asking.result()
    p99_us = max(answers.p99_us for answers in during)
    asked = sum(answers.requests for answers in during)
    failed = sum(sum(answers.failures.values()) for answers in [before, *during])
    case = f"swap of {model.table_mb} MB"
    for metric, value, unit in (
        ("requests", max(answers.per_second for answers in during), "1/s"), ("p99", p99_us, "us"), ("p99 before", before.p99_us, "us"),
        ("swap", max(took), "s"), ("failed", failed, ""),
    ):
        figures.add(case, OURS, metric, value, unit)
    return [
        Must(f"failed requests over {len(took)} swaps of 200 MB under load ({asked} answered)", failed, 0),
        Must("p99 while 200 MB are swapped, multiple of p99 before", p99_us / before.p99_us, TAIL_MAX),
    ]


def growth(running: Started, model: Model, figures: Figures, arguments: argparse.Namespace) -> list[Must]:
    """What it holds after some swaps; `bench/run serving-soak` looks at many."""
    soak = Soak(figures)
    over_swaps(running, arguments.swaps, soak)
    if soak.stopped:
        raise soak.stopped
    return soak.musts


def overload(running: Started, model: Model, figures: Figures, arguments: argparse.Namespace) -> list[Must]:
    """Four times as many requests as it can answer, then as many as before."""
    rows = model.rows(OVERLOAD_ROWS)
    running.check("json", rows)
    running.load("json", rows, 64, WARM_UP_SECONDS)
    capacity = running.load("json", rows, 64, arguments.seconds)
    rate, peaks = OVERLOAD * capacity.per_second, [before := running.server.memory_mb()]
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(running.load, "json", rows, OVERLOAD_CONNECTIONS, arguments.overload_seconds, rate)
        while not asking.done():
            time.sleep(0.2)
            peaks.append(running.server.memory_mb())
        over = asking.result()
    after = running.load("json", rows, 64, 1.0)
    case = f"overload {OVERLOAD}x"
    other = {code: count for code, count in over.failures.items() if code not in ("429", "503")}
    queue_us = 1e6 * QUEUED_MAX / capacity.per_second
    for metric, value, unit in (
        ("requests", over.per_second, "1/s"), ("p99", over.p99_us, "us"), ("capacity", capacity.per_second, "1/s"),
        ("memory", max(peaks), "MB"), ("after", after.per_second, "1/s"), ("failed", sum(other.values()), ""),
    ):
        figures.add(case, OURS, metric, value, unit)
    print(f"overload: asked {rate:.0f}/s, refused: {over.failures}", file=sys.stderr)
    return [
        Must("goodput at four times the capacity, share of the capacity", over.per_second / capacity.per_second, GOODPUT_MIN, True),
        Must(f"requests under overload that were neither answered nor refused {other or ''}".rstrip(), sum(other.values()), 0),
        Must(f"p99 of those accepted, multiple of what a queue of {QUEUED_MAX:,} takes", over.p99_us / queue_us, QUEUES_MAX),
        Must("kB more in memory under overload, a connection", 1e3 * (max(peaks) - before) / OVERLOAD_CONNECTIONS, MORE_KB_MAX),
        Must("requests in the first second after it, share of the capacity", after.per_second / capacity.per_second, RECOVERED_MIN, True),
    ]
