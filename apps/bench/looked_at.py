"""How much a live page slows a fit: the same steps alone, and with a visitor whose camera always moves."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gs_reg.errors import InputError
from gs_reg.io import checkpoint

from .server_process import ServerProcess
from .visitor import Visitor, turn

PICTURE = "BackgroundImageMessage"
ORDER = (False, True, True, False)
"""Whether a run is looked at: so that a machine that becomes slower or quicker does not count."""


@dataclass(frozen=True)
class LookedAt:
    alone: float
    """Seconds of the steps without a page, mean of two runs."""
    seen: float
    """With a page and a visitor."""
    pictures: float
    """That the visitor was sent in a run."""

    @property
    def slower(self) -> float:
        return self.seen / self.alone - 1


def look_at_a_fit(data: str, steps: int, width: int, height: int, device: str, preset: str = "best") -> LookedAt:
    """Four runs of `gs-reg reconstruct` that end after training.

    Raises:
        InputError: a run failed.
    """
    seconds: dict[bool, list[float]] = {False: [], True: []}
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, seen in enumerate(ORDER):
            out = Path(folder) / str(number)
            words = ["reconstruct", data, "--preset", preset, "--steps", str(steps), "--device", device]
            words += ["--stop-after", "train", "--checkpoint-every", str(steps), "--checkpoint-minutes", "inf"]
            words += ["--out", str(out)]
            if seen:
                pictures.append(_visited([*words, "--view"], width, height))
            else:
                with ServerProcess(words, listens=False) as fit:
                    fit.ended()
            seconds[seen].append(_seconds(out))
    return LookedAt(sum(seconds[False]) / 2, sum(seconds[True]) / 2, sum(pictures) / len(pictures))


def _visited(words: Sequence[str], width: int, height: int) -> int:
    """Runs it with a visitor from its first moment to its last; returns how many pictures that one was sent."""
    from websockets.exceptions import ConnectionClosed

    with ServerProcess(words) as fit:
        with Visitor(fit.url, width, height) as visitor:
            try:
                while fit.running:
                    turn(visitor, fit.seconds)
                    visitor.receive(1 / 30)
            except ConnectionClosed:  # the page ends with the command
                pass
        fit.ended()
    return visitor.kinds.count(PICTURE)


def _seconds(run: Path) -> float:
    """Of the steps: what lies between the first checkpoint and the last."""
    states = [checkpoint.load(path).state["seconds"] for path in sorted((run / "checkpoints").glob("step_*"))]
    if len(states) < 2:
        raise InputError(f"{run}: expected the checkpoints before and after the steps, found {len(states)}")
    return states[-1] - states[0]
