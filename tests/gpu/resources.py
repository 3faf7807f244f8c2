"""What the compiler says that each kernel uses; `python -m tests.gpu.resources` prints the table of ceilings again."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "cuda" / "gpu" / "resources.csv"
REPORTS = ROOT / "build" / "gpu"

Use = dict[tuple[str, str], tuple[int, int, int]]
"""Registers, bytes of shared memory and bytes spilt, by kernel and architecture."""


def reported() -> Use:
    """From the reports that `make gpu-compile` leaves, CUB's own kernels left out."""
    text = "".join(path.read_text() for path in sorted(REPORTS.glob("*.txt")))
    entries = re.findall(
        r"Compiling entry function '(\w+)' for '(\w+)'\n.*\n.*?(\d+) bytes spill stores, (\d+) bytes spill loads\n"
        r".*?Used (\d+) registers(.*)",
        text,
    )
    names = demangled([entry[0] for entry in entries])
    use = {}
    for name, (_, arch, stores, loads, registers, rest) in zip(names, entries, strict=True):
        shared = re.search(r"(\d+) bytes smem", rest)
        if "cub::" not in name:
            use[name, arch] = (int(registers), int(shared[1]) if shared else 0, int(stores) + int(loads))
    return use


def demangled(symbols: list[str]) -> list[str]:
    done = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    return [re.sub(r"^void |gsr::|\(anonymous namespace\)::|\(.*", "", name) for name in done.stdout.splitlines()]


def ceilings() -> dict[str, tuple[int, int]]:
    rows = [line.rsplit(";", 2) for line in TABLE.read_text().splitlines()[1:]]
    return {name: (int(registers), int(shared)) for name, registers, shared in rows}


def main() -> None:
    use = reported()
    lines = ["kernel;registers;shared bytes"]
    for kernel in sorted({name for name, _ in use}):
        most = [max(value[i] for (name, _), value in use.items() if name == kernel) for i in (0, 1)]
        lines.append(f"{kernel};{(most[0] + 7) // 8 * 8};{most[1]}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
