"""What a peer needs, installed once and kept in ${XDG_CACHE_HOME:-~/.cache}/bellwether: virtual environments, and programs in Rust."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bellwether"
LOG_BYTES_SHOWN = 3000


class Failed(Exception):
    """A server has no figure, and why."""


def environment(requirements: Path, python: str = sys.executable) -> Path:
    """The folder of a virtual environment with what a file of requirements names."""
    version = run([python, "-c", "import sys, venv, ensurepip; print(sys.version)"])
    pins = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:12]
    folder = CACHE / f"bench-{pins}"
    if not (folder / "complete").exists():
        print(f"bench: installing {requirements.name} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder])
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--requirement", requirements])
        (folder / "complete").touch()
    return folder


def pinned(requirements: Path, package: str) -> str:
    """The version of a package in a file of requirements."""
    found = re.search(rf"^{re.escape(package)}(?:\[.*\])?==(\S+)$", requirements.read_text(), re.MULTILINE)
    return found[1]


def programs(crate: Path) -> Path:
    """The folder of a Cargo project's release programs, compiled for this machine's processor."""
    target = CACHE / f"bench-{crate.name}-target"
    run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", crate / "Cargo.toml"],
        {"CARGO_TARGET_DIR": str(target), "RUSTFLAGS": "-C target-cpu=native"},
    )
    return target / "release"


def run(command: list, more: dict[str, str] | None = None) -> str:
    """What a command prints."""
    try:
        done = subprocess.run(list(map(str, command)), env=os.environ | (more or {}), capture_output=True, text=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {(done.stdout + done.stderr)[-LOG_BYTES_SHOWN:]}")
    return done.stdout
