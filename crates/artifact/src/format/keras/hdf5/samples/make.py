"""Writes the samples beside it: what h5py writes in its oldest and in its newest format. Needs h5py and numpy."""

from pathlib import Path

import h5py
import numpy as np

for version in ["earliest", "latest"]:
    with h5py.File(Path(__file__).parent / f"{version}.h5", "w", libver=version) as file:
        a = file.create_group("a")
        thirds = (np.arange(6) / 3).reshape(2, 3)
        a["plain"] = thirds.astype(np.float32)
        a["double"] = thirds
        a["half"] = thirds.astype(np.float16)
        a["big"] = thirds.astype(">f4")
        a["scalar"] = np.float32(2.5)
        a["integers"] = np.array([-1, 0, 1 << 40])
        a["bytes"] = np.array([7, 255], np.uint8)
        a["text"] = "words"
        b = file.create_group("b")
        b.create_dataset("chunked", data=thirds.astype(np.float32), chunks=(2, 2) if version == "earliest" else (2, 3))
        b.create_dataset("packed", data=thirds.astype(np.float32), chunks=(2, 3), compression="gzip")
        b["deep/er/x"] = np.float32(1)
        b["link"] = h5py.SoftLink("/a/plain")
        file["c/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        if version == "earliest":
            many = file.create_group("many")
            for at in range(40):
                many[str(at)] = np.array([at], np.float32)
