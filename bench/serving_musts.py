"""What our server must show beside its peers, as lines that say PASS or FAIL."""

from dataclasses import dataclass

# Shares of furnace's figures in the same run, of our own, and of a bare echo's; then absolute figures.
CPU_SHARE_MAX = 0.9
P50_SHARE_MAX = 1.1
TAIL_MAX = 3.0
ECHO_SHARE_MIN = 0.6
MEMORY_MB_MAX = 30.0
READY_MS_MAX = 100.0


@dataclass(frozen=True)
class Must:
    """A figure and its limit."""

    text: str
    value: float
    limit: float
    is_least: bool = False

    @property
    def is_kept(self) -> bool:
        return self.value >= self.limit if self.is_least else self.value <= self.limit

    def __str__(self) -> str:
        verdict, side = "PASS" if self.is_kept else "FAIL", "at least" if self.is_least else "at most"
        return f"{verdict} {self.text}: {self.value:.3g} ({side} {self.limit:g})"


def musts(values: dict[tuple[str, str, str], float]) -> list[Must]:
    """What is so of ours whatever its peers do. `values` by case, engine and metric; a must whose figures were not asked for is left out."""
    ours = lambda case, metric: values.get((case, "bellwether", metric))
    found = []
    one = "A json 1, 1 conn."
    if (p50 := ours(one, "p50")) and (p99 := ours(one, "p99")):
        found.append(Must("p99 at 1 connection, multiple of p50", p99 / p50, TAIL_MAX))
    for text, metric, limit in (("MB resident idle", "memory", MEMORY_MB_MAX), ("ms from exec to the first answer", "ready", READY_MS_MAX)):
        if (value := ours("A, idle", metric)) is not None:
            found.append(Must(text, value, limit))
    return found
