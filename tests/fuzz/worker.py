"""`python -m tests.fuzz.worker FOLDER SEED BEGIN END KIND...`: damages files and reads them; one JSON line for each.

A line says the kind and the number of the damage, and what went wrong, if anything did. One damage alone is done again
by `python -m tests.fuzz.worker FOLDER SEED NUMBER NUMBER+1 KIND`.
"""

import json
import logging
import resource
import shutil
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from gs_reg.errors import InputError

from .kinds import KINDS, Kind
from .mutations import damage

SECONDS, GIGABYTE = 5, 1 << 30


def prepared(folder: Path, kind: Kind) -> Path:
    """The folder of whole files, made once."""
    whole = folder / "whole"
    if not whole.is_dir():
        making = folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        kind.make(making)
        making.rename(whole)
    return whole


def refusal_faults(error: InputError, root: Path, file: Path) -> str:
    """What is wrong with the text of a refusal."""
    text = str(error)
    if file.name not in text and str(root) not in text and not (file.parent.name in text and file.parent != root):
        return f"does not name the file: {text}"
    if "\n" in text or not text.isprintable() or len(text) > 700:
        return f"not one short printable line: {text!r}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "llocate memory" in str(cause):
            return f"over 1 GB: {text}"
        cause = cause.__cause__ or cause.__context__
    return ""


def attempt(kind: Kind, whole: Path, root: Path, rng: np.random.Generator) -> tuple[str, str]:
    """The damaged file, and what was wrong with the way it was taken; "" = it was read or refused well."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(whole, root)
    files = sorted({path for pattern in kind.files for path in root.glob(pattern)})
    file = files[int(rng.integers(len(files)))]
    damage(rng, file)
    began, fault = time.process_time(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(root)
    except InputError as error:
        fault = refusal_faults(error, root, file)
    except Exception:
        fault = traceback.format_exc(limit=-6)
    spent = time.process_time() - began
    return file.name, fault or (f"{spent:.1f} s" if spent > SECONDS else "")


def main(folder: Path, seed: int, begin: int, end: int, kinds: list[str]) -> None:
    logging.disable(logging.CRITICAL)
    for name in kinds:
        kind, place = KINDS[name], folder / name
        whole = prepared(place, kind)
        kind.read(whole)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, resource.RLIM_INFINITY))
        for number in range(begin, end):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
            print(json.dumps(["begun", name, number]), flush=True)
            print(json.dumps(["done", name, number, *attempt(kind, whole, place / "root", rng)]), flush=True)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:5]), sys.argv[5:])
