"""A server as the kernel sees it: the CPU time and the memory of its process and of all that it started."""

import os
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS_MAX = 15
LOG_BYTES_SHOWN = 3000


def clean_environment() -> dict[str, str]:
    """This process' environment, without settings of the binary that a developer may have."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BELLWETHER")}


class Server:
    """A server that was started, and is ended with all that it started at the end of a `with`."""

    def __init__(self, command: list, folder: Path, environment: dict[str, str]):
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            start_new_session=True,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        started = self.tree()
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            pass
        for pid in started:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.log.close()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        self.log.seek(0)
        return self.log.read()[-LOG_BYTES_SHOWN:]

    def log_bytes(self) -> int:
        """What it has written to its log."""
        return os.fstat(self.log.fileno()).st_size

    def tree(self) -> list[int]:
        """The process and all its descendants that live."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := stat(int(entry.name))):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self) -> float:
        """User and system time since the start, of all that live."""
        return sum(int(fields[11]) + int(fields[12]) for pid in self.tree() if (fields := stat(pid))) / TICKS

    def memory_mb(self) -> float:
        """What is resident in MB; where several processes share pages, each page counts once."""
        pids = self.tree()
        name = "Rss" if len(pids) == 1 else "Pss"
        return sum(kibibytes(pid, name) for pid in pids) * 1024 / 1e6


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def kibibytes(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
