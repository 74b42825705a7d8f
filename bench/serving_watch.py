"""What a server holds while it runs: memory, open files, threads, and what it has written; and whether that grows."""

import sqlite3
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processes import kibibytes
from serving_load import Started
from serving_musts import Must

GROWTH_MAX = 0.05
# Connections and threads that block come and go.
MORE_MAX = 10
# Of what was watched, at most this share is warm-up, and as much at the end is compared with what came right after it.
WINDOW_SHARE_MAX = 0.25


@dataclass(frozen=True)
class Sample:
    """What a server held at a time, counted in seconds or swaps."""

    at: float
    resident_mb: float
    anonymous_mb: float
    files: int
    threads: int


@dataclass(frozen=True)
class Written:
    """What a server has written: bytes in its data directory, rows in its registry, bytes of its log."""

    data_bytes: int
    rows: int
    log_bytes: int


class Watch:
    """Samples of one server's process, and their growth."""

    def __init__(self, running: Started, warm_up: float):
        """`warm_up`: how long is passed over, in the unit of `Sample.at`; samples of as long a time after it, and at the end, are compared."""
        self.running, self.warm_up = running, warm_up
        self.samples: list[Sample] = []
        self.before = written(running)

    def take(self, at: float) -> Sample:
        pid = self.running.server.process.pid
        here = Path(f"/proc/{pid}")
        megabytes = lambda name: kibibytes(pid, name) * 1024 / 1e6
        files, threads = (len(list((here / folder).iterdir())) for folder in ("fd", "task"))
        self.samples.append(Sample(at, megabytes("Rss"), megabytes("Anonymous"), files, threads))
        return self.samples[-1]

    def written(self) -> Written:
        """Since the watch began."""
        now, before = written(self.running), self.before
        return Written(now.data_bytes - before.data_bytes, now.rows - before.rows, now.log_bytes - before.log_bytes)

    def ends(self, value: Callable[[Sample], float]) -> tuple[float, float]:
        """The medians after the warm-up and at the end."""
        end = self.samples[-1].at
        window = min(self.warm_up, WINDOW_SHARE_MAX * end)
        early = [value(sample) for sample in self.samples if window <= sample.at < 2 * window]
        late = [value(sample) for sample in self.samples if sample.at >= end - window]
        return statistics.median(early or late), statistics.median(late)

    def musts(self, over: str) -> list[Must]:
        """Nothing has grown; `over` says in the course of what."""
        first, last = self.ends(lambda sample: sample.resident_mb)
        found = [Must(f"growth over {over} of resident memory, from {first:.1f} to {last:.1f} MB", last / first - 1, GROWTH_MAX)]
        for name, value in (("open files", lambda sample: sample.files), ("threads", lambda sample: sample.threads)):
            first, last = self.ends(value)
            found.append(Must(f"{name} more after {over}, from {first:g} to {last:g}", last - first, MORE_MAX))
        return found

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """For a plot, in MB."""
        return {
            "resident": [(sample.at, sample.resident_mb) for sample in self.samples],
            "anonymous": [(sample.at, sample.anonymous_mb) for sample in self.samples],
        }


def written(running: Started) -> Written:
    """Rows of deployments, versions and the like are few; those that a server adds are of operations."""
    data = running.onnx.parent / "data"
    registry = sqlite3.connect(f"file:{data}/registry.sqlite?mode=ro", uri=True)
    try:
        tables = [name for (name,) in registry.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(registry.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)
    finally:
        registry.close()
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    return Written(size, rows, running.server.log_bytes())
