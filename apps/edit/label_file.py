"""labels.npz of a run: the part of every splat of the edited file, beside which it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.parts.types import Decision


def save_labels(path: Path, decision: Decision) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.array(decision.names),
            ids=decision.ids.cpu().numpy().astype(np.int32),
            probabilities=decision.probabilities.cpu().numpy(),
            softness=decision.softness.cpu().numpy(),
        )


def load_labels(path: Path, count: int) -> Decision:
    """Raises InputError: broken, or of another number of splats."""
    with reading(path), np.load(path, allow_pickle=False) as data:
        names = tuple(map(str, data["names"]))
        ids, probabilities = torch.from_numpy(data["ids"]).long(), torch.from_numpy(data["probabilities"])
        softness = torch.from_numpy(data["softness"])
    if ids.shape != (count,) or probabilities.shape != (count, len(names)):
        raise InputError(f"{path}: expected labels of {count} splats, got {len(ids)}")
    return Decision(names, ids, probabilities, softness)
