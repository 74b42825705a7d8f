"""A data directory backed up beside a busy server, and restored by processes that are killed."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from program import Program, Server, environment

TRIES_MAX = 5


def ask(server: Server) -> list:
    path = "/v1/projects/default/locations/l/endpoints/sp500-deciles:predict"
    reply = server.post(path, {"instances": [{"symbol": "AAPL"}], "parameters": {"as_of": "2022-12-28"}})
    assert reply.status == 200, reply.text
    return reply.json["predictions"]


def test_a_backup_beside_writes_is_one_state_that_serves(copied: Program, tmp_path: Path):
    server = copied.serve()
    expected = ask(server)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            reply = server.post(f"/v1/projects/default/locations/l/endpoints?endpointId=w{number}", {"displayName": "w"})
            assert reply.status == 200, reply.text
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            kept = copied.succeed("backup", "--out", tmp_path / "kept")
    finally:
        stop.set()
        writer.join()
    assert server.stop() == 0
    assert kept["copied"] < kept["files"]

    restored = Program(copied.binary, tmp_path / "restored", tmp_path)
    report = restored.succeed("restore", "--from", tmp_path / "kept")
    assert report["files"] == kept["files"]
    again = restored.serve()
    assert ask(again) == expected
    assert again.stop() == 0


def kill_restores(restored: Program, kept: Path) -> int:
    """How many restores were killed before there was a data directory."""
    killed = 0
    for pause in (0.02, 0.05, 0.1, 0.2, 0.4):
        command = restored.command("restore", "--from", kept, "--json")
        process = subprocess.Popen(command, cwd=restored.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        # One that is killed after its last step leaves a data directory too; the test looks whether it is whole.
        if process.wait() == 0 or restored.data_dir.exists():
            break
        killed += 1
    return killed


def test_a_restore_that_is_killed_at_any_moment_leaves_no_data_directory(copied: Program, tmp_path: Path):
    # Enough files that a kill falls between them.
    for number in range(400):
        path = copied.data_dir / "staging" / "bucket" / f"object-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number % 256]) * 20_000 + str(number).encode())
    kept = copied.succeed("backup", "--out", tmp_path / "kept")
    # A busy machine may let the first restore end before it is killed: then once more, elsewhere.
    for attempt in range(TRIES_MAX):
        restored = Program(copied.binary, tmp_path / f"restored-{attempt}", tmp_path)
        if kill_restores(restored, tmp_path / "kept") > 0:
            break
    else:
        pytest.fail("every restore ended before it was killed")
    if not restored.data_dir.exists():
        assert restored.succeed("restore", "--from", tmp_path / "kept")["files"] == kept["files"]
    manifest = json.loads(next((tmp_path / "kept" / "backups").iterdir()).read_text())
    for name, entry in manifest["files"].items():
        if name != "registry.sqlite":
            assert (restored.data_dir / name).stat().st_size == entry["bytes"], "half a restore pretends to be whole"
    assert restored.succeed("model", "list")["models"]
