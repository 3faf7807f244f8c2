"""How many instructions of the costly kinds each pixel loop has; `python -m tests.gpu.instructions` prints the table of
counts again, from what `make gpu-compile` leaves."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .resources import REPORTS, ROOT, demangled

TABLE = ROOT / "cuda" / "gpu" / "instructions.csv"
ARCH = "sm_90"
KINDS = {
    "all": "",
    "shuffles": r"SHFL",
    "votes": r"VOTE",
    "shared loads": r"LDS",
    "special functions": r"MUFU",
    "atomics": r"(RED|ATOM)G?\b",
}
Counts = Mapping[str, tuple[int, ...]]
"""By kernel, one for each of KINDS."""


def disassembler() -> str | None:
    """cuobjdump: of the toolkit, or the one that comes with Triton, and so with torch."""
    found = shutil.which("cuobjdump")
    spec = None if found else importlib.util.find_spec("triton")
    folders = spec.submodule_search_locations if spec else None
    inside = [Path(folder, "backends", "nvidia", "bin", "cuobjdump") for folder in folders or ()]
    return found or next((str(path) for path in inside if path.exists()), None)


def counted(program: str) -> Counts:
    """Of the kernels in single precision that walk over pixels, for one architecture."""
    text = ""
    for name in ("rasterize", "rasterize_vjp", "lift"):
        words = [program, "-sass", "-arch", ARCH, str(REPORTS / f"{name}.o")]
        text += subprocess.run(words, capture_output=True, text=True, check=True).stdout
    parts = re.split(r"Function : (\w+)", text)[1:]
    names = demangled(parts[::2])
    lines = [re.findall(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?(\S+)", body, re.MULTILINE) for body in parts[1::2]]
    return {
        name: tuple(sum(bool(re.match(kind, code)) for code in codes) for kind in KINDS.values())
        for name, codes in zip(names, lines, strict=True)
        if re.match(r"(forward|backward|lift)\w*_kernel<float", name)
    }


def allowed() -> Counts:
    rows = [line.split(";") for line in TABLE.read_text().splitlines()[1:]]
    return {row[0]: tuple(map(int, row[1:])) for row in rows}


def main() -> None:
    program = disassembler()
    if program is None:
        raise SystemExit("no cuobjdump: it comes with the CUDA toolkit and with Triton")
    print(";".join(["kernel", *KINDS]))
    for kernel, counts in sorted(counted(program).items()):
        print(";".join([kernel, *map(str, counts)]))


if __name__ == "__main__":
    main()
