"""Lets PyTorch's wheel from PyPI load where CUDA is not: its shared objects name CUDA's, three gigabytes that a benchmark on a CPU never calls.

Each library that is missing is replaced by one whose functions answer `cudaErrorInsufficientDriver`, which PyTorch takes for a
machine without a GPU. So neither its start-up nor its memory is charged with libraries it does not use. A wheel built for CPUs
(`torch==X+cpu`, where pip is configured to find one) needs none of this and gets none.
"""

import importlib.util
import re
import subprocess
from pathlib import Path

OURS_TO_REPLACE = re.compile(r"lib(cu|nvrtc|nccl|nvshmem)")
UNVERSIONED = re.compile(r"cu|nccl")
ERROR_INSUFFICIENT_DRIVER = 35


def library_path(folder: Path) -> str | None:
    """The folder to put on LD_LIBRARY_PATH, filled on the first call; none if PyTorch is complete as it is."""
    libraries = Path(importlib.util.find_spec("torch").origin).parent / "lib"
    needed, wanted, defined = symbols(libraries)
    missing = sorted(name for name in needed if OURS_TO_REPLACE.match(name) and not (libraries / name).exists())
    if not missing:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name in missing:
        if not (folder / name).exists():
            version = "NVSHMEM" if "nvshmem" in name else name
            functions = set(wanted.get(version, ()))
            if name.startswith("libcudart"):
                functions |= {symbol for symbol in wanted.get("", ()) if UNVERSIONED.match(symbol)} - defined
            build(folder / name, version, sorted(functions))
    return str(folder)


def symbols(libraries: Path) -> tuple[set[str], dict[str, set[str]], set[str]]:
    """Libraries that are named, undefined symbols by version, and defined symbols of all shared objects of a folder."""
    needed, wanted, defined = set(), {}, set()
    for path in libraries.glob("*.so*"):
        text = subprocess.run(["readelf", "--wide", "--dynamic", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
        needed |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", text))
        for line in text.splitlines():
            cells = line.split()
            if len(cells) < 8 or not re.fullmatch(r"\d+:", cells[0]):
                continue
            name, _, version = cells[7].partition("@")
            if cells[6] == "UND":
                wanted.setdefault(version, set()).add(name)
            else:
                defined.add(name)
    return needed, wanted, defined


def build(path: Path, version: str, functions: list[str]) -> None:
    """A shared object of functions that fail, or name the failure where their result is a text."""
    lines = [
        ".text", f"fail: movl ${ERROR_INSUFFICIENT_DRIVER}, %eax", "ret", "say: leaq text(%rip), %rax", "ret",
        ".section .rodata", 'text: .string "there is no CUDA here"',
    ]
    for name in functions:
        lines += [f".globl {name}", f".type {name}, @function", f".set {name}, {'say' if re.search('String|Name', name) else 'fail'}"]
    source, script = path.with_name(path.name + ".s"), path.with_name(path.name + ".map")
    source.write_text("\n".join(lines) + "\n")
    script.write_text(f"{version} {{ global: *; }};\n")
    command = ["cc", "-shared", "-nostdlib", f"-Wl,-soname,{path.name}", f"-Wl,--version-script={script}", "-o", path, source]
    subprocess.run(command, check=True)
    source.unlink()
    script.unlink()
