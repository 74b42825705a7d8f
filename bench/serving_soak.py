"""Whether our server grows: many swaps of versions while it is asked now and then, and minutes of all it can take, wrong questions
and connections that come and go among them.

Memory is read from the kernel after every swap, or every second. The medians of two windows are compared: one right after the
warm-up (50 swaps, a minute), and one as long at the end. At Ctrl-C, what was measured so far is shown.

    bench/run serving-soak [--swaps 1000] [--minutes 10] [--plot serving-soak.svg]
"""

import argparse
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figures
from installed import Failed
from plot import Panel, curves
from serving_engines import ENGINES, OURS
from serving_load import Started, scratch, started
from serving_mix import Load, Mix
from serving_models import A
from serving_musts import Must
from serving_versions import swap, upload
from serving_watch import Watch
from serving_wire import Refused

WARM_UP_SWAPS, WARM_UP_SECONDS = 50, 60.0
# While versions are swapped.
LIGHT = [Load("json", 2, 50)]
# Sixteen connections ask as fast as they are answered; the others beside them.
FULL = [Load("json", 16), Load("binary", 2, 200), Load("grpc", 2, 200)]
# After these, what was measured before counts.
STOPS = (Failed, Refused, KeyboardInterrupt)
SAID_EVERY_SECONDS = 15


@dataclass
class Soak:
    """What was found: figures, musts, what is drawn, and what ended it before its time."""

    figures: Figures = field(default_factory=lambda: Figures("serving-soak"))
    musts: list[Must] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    stopped: BaseException | None = None


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run serving-soak")
    parser.add_argument("--swaps", type=int, default=1000, help="how many swaps; 0: none")
    parser.add_argument("--minutes", type=float, default=10, help="how long at full load; 0: not at all")
    parser.add_argument("--plot", type=Path, default=Path("serving-soak.svg"), help="where the plot is written")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soak = Soak()
    try:
        for measure, amount in ((over_swaps, arguments.swaps), (at_full_load, arguments.minutes)):
            if amount > 0 and not soak.stopped:
                with scratch() as folder, started(ENGINES[0], A, Path(folder)) as running:
                    measure(running, amount, soak)
    except STOPS as error:
        soak.stopped = error
    soak.figures.list()
    print()
    soak.figures.lines()
    curves(arguments.plot, soak.panels, "What the server holds, in MB")
    print(f"\nplot: {arguments.plot}")
    for must in soak.musts:
        print(must)
    if soak.stopped:
        print(f"FAILED {str(soak.stopped) or 'interrupted'}: the figures are of what was measured before")
    if soak.stopped or not all(must.is_kept for must in soak.musts):
        raise SystemExit(1)


def over_swaps(running: Started, swaps: int, soak: Soak) -> None:
    """Two versions of a small model in turn."""
    upload(running)
    watch, took, said = Watch(running, WARM_UP_SWAPS), [], time.monotonic()
    with Mix(running, LIGHT, with_mistakes=False) as mix:
        try:
            for count in range(1, swaps + 1):
                began = time.perf_counter()
                swap(running, 1 + count % 2)
                took.append(time.perf_counter() - began)
                watch.take(count)
                mix.check()
                if time.monotonic() - said >= SAID_EVERY_SECONDS:
                    said = time.monotonic()
                    say(f"{count:,} of {swaps:,} swaps", watch, mix)
        except STOPS as error:
            soak.stopped = error
    if not watch.samples:
        return
    over = f"{len(took):,} swaps"
    show(over, watch, mix, soak)
    soak.figures.add(over, OURS, "swap, median", 1e3 * statistics.median(took), "ms")
    written = watch.written()
    for metric, value, unit in (
        ("data directory", written.data_bytes, "B/swap"), ("registry", written.rows, "rows/swap"), ("log", written.log_bytes, "B/swap"),
    ):
        soak.figures.add(over, OURS, metric, value / len(took), unit)
    soak.panels.append(Panel("swaps", watch.curves()))


def at_full_load(running: Started, minutes: float, soak: Soak) -> None:
    """One model, asked as much as it can answer, rightly and wrongly."""
    for kind in running.launch.wires:
        running.check(kind, running.model.rows(1))
    watch, end, said = Watch(running, WARM_UP_SECONDS), 60 * minutes, 0.0
    with Mix(running, FULL, with_mistakes=True) as mix:
        began = time.monotonic()
        try:
            while (now := time.monotonic() - began) < end:
                watch.take(now)
                mix.check()
                if now - said >= SAID_EVERY_SECONDS:
                    said = now
                    say(f"{now / 60:.1f} of {minutes:g} minutes", watch, mix)
                time.sleep(1)
        except STOPS as error:
            soak.stopped = error
    if not watch.samples:
        return
    seconds = watch.samples[-1].at
    over = f"{seconds / 60:.1f} minutes"
    show(over, watch, mix, soak)
    written = watch.written()
    for metric, value, unit in (
        ("requests", mix.answered.total() / max(seconds, 1), "1/s"), ("data directory", written.data_bytes, "B"), ("log", written.log_bytes, "B"),
    ):
        soak.figures.add(over, OURS, metric, value, unit)
    soak.panels.append(Panel("minutes", {name: [(at / 60, value) for at, value in curve] for name, curve in watch.curves().items()}))


def show(over: str, watch: Watch, mix: Mix, soak: Soak) -> None:
    """What both parts have in common."""
    add = lambda metric, value, unit: soak.figures.add(over, OURS, metric, value, unit)
    for name, unit, value in (
        ("resident", "MB", lambda sample: sample.resident_mb), ("anonymous", "MB", lambda sample: sample.anonymous_mb),
        ("open files", "", lambda sample: sample.files), ("threads", "", lambda sample: sample.threads),
    ):
        for when, found in zip(("first", "last"), watch.ends(value)):
            add(f"{name}, {when}", found, unit)
    for kind, count in sorted(mix.answered.items()):
        add(f"answered, {kind}", count, "")
    failed = mix.failures.total()
    add("failed", failed, "")
    why = f": {dict(mix.failures)}" if failed else ""
    soak.musts.append(Must(f"requests over {over} that were not answered as they should be, of {mix.answered.total():,}{why}", failed, 0))
    soak.musts += watch.musts(over)


def say(where: str, watch: Watch, mix: Mix) -> None:
    last = watch.samples[-1]
    print(
        f"{where}: resident {last.resident_mb:.1f} MB, anonymous {last.anonymous_mb:.1f} MB, {last.files} files, {last.threads} threads; "
        f"{mix.answered.total():,} answered, {mix.failures.total()} failed",
        file=sys.stderr, flush=True,
    )


if __name__ == "__main__":
    main()
