"""`bellwether quickstart` in an empty folder: wall time and peak memory, without the build."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from figures import Figures
from processes import clean_environment

RUNS = 3


def main() -> None:
    binary = os.environ["BELLWETHER"]
    seconds, megabytes = [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [binary, "quickstart", "--data-dir", str(Path(folder) / "data")], cwd=folder, env=clean_environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds.append(time.perf_counter() - begin)
            if status:
                raise SystemExit(f"quickstart failed with status {os.waitstatus_to_exitcode(status)}")
            # Linux counts ru_maxrss in KiB.
            megabytes.append(usage.ru_maxrss * 1024 / 1e6)
    figures = Figures("quickstart")
    case = f"{os.cpu_count()} cores"
    figures.add(case, "bellwether", "wall, median", sorted(seconds)[RUNS // 2], "s")
    figures.add(case, "bellwether", "wall, worst", max(seconds), "s")
    figures.add(case, "bellwether", "peak memory", max(megabytes), "MB")
    figures.show("bellwether")


if __name__ == "__main__":
    main()
