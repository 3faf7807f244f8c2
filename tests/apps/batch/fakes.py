"""A kind of job that tests alone know: a bare process that says in files what it does, sleeps, or fails as told."""

import dataclasses
import os
import sys
import types
from pathlib import Path

from gs_reg.apps.batch.kinds import KINDS, Kind, Words

from ..conftest import usual_signals

PROGRAM = """
import os, pathlib, signal, sys, time
out, seconds, code, text, times = sys.argv[1:]
out = pathlib.Path(out); out.mkdir(parents=True, exist_ok=True)
begun = out.parent / "begun"
with begun.open("a") as file: file.write(f"{os.getpid()}\\n")
count = len(begun.read_text().split())
def end(*_): sys.exit(143)
signal.signal(signal.SIGTERM, end)
if float(seconds): time.sleep(float(seconds))
if int(times) < 0 or count <= int(times):
    print(text, file=sys.stderr)
    sys.exit(int(code))
with (out / "done").open("a") as file: file.write("x")
"""


@dataclasses.dataclass(frozen=True)
class Config:
    number: int = 0
    seconds: float = 0.0
    code: int = 0
    """Exit code of the attempts that fail."""
    text: str = ""
    times: int = 0
    """Attempts that fail."""
    always: bool = False
    after: str = ""
    """An output that it waits for."""
    data: Path | None = None
    views: int = 8
    seed: int = 0


def words(settings, folder, out) -> Words:
    code, times = int(settings.get("code", 0)), -1 if settings.get("always") else settings.get("times", 0)
    line = [sys.executable, "-S", "-c", PROGRAM, out, settings.get("seconds", 0), code, settings.get("text", ""), times]
    return Words(tuple(map(str, line)), tuple(map(str, line)))


def smaller(settings):
    return settings | {"views": settings.get("views", 8) // 2}


def register() -> dict[str, Kind]:
    module = types.ModuleType("gs_reg.apps.fake_of_tests")
    module.Config = Config
    sys.modules[module.__name__] = module
    return {"fake": Kind("fake_of_tests", words, smaller=smaller, gpu=False)}


def main(words: list[str], said: Path) -> None:
    """`gs-reg batch WORDS` with the kind, in a process of its own; what it says is appended to a file."""
    from gs_reg.apps import cli
    from gs_reg.apps.batch import engine, reactions

    usual_signals()
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    KINDS.update(register())
    reactions.WAITS, engine.LOOK_SECONDS = (0.05,), 0.1
    sys.exit(cli.main(["batch", *words]))
