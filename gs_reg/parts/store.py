"""Labels and decision in one file beside the splats, and how well a decision meets known parts."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.parts.decision import masks
from gs_reg.parts.types import Decision, LabelField
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats

LABELS_FILE = "labels.npz"


def save_labels(path: str | Path, field: LabelField, decision: Decision) -> None:
    """As npz: names, ids, probabilities, softness, sh and seen, one row a Gaussian in the order of the splats."""
    arrays = {
        "ids": decision.ids,
        "probabilities": decision.probabilities,
        "softness": decision.softness,
        "sh": field.sh,
        "seen": field.seen,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        known: dict[str, Any] = {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}
        np.savez_compressed(file, names=np.array(field.names), **known)


def load_labels(path: str | Path) -> tuple[LabelField, Decision]:
    """Raises InputError: no such file, or not one of save_labels()."""
    with reading(path):
        if not zipfile.is_zipfile(path):
            open(path, "rb").close()  # the system's own words where there is no such file
            raise InputError(f"{path}: expected labels as npz, got another kind of file")
        with np.load(path, allow_pickle=False) as data:
            names = tuple(map(str, data["names"]))
            ids, chances, soft, sh, seen = (
                torch.from_numpy(data[name]) for name in ("ids", "probabilities", "softness", "sh", "seen")
            )
    count, labels = len(ids), len(names)
    if chances.shape != (count, labels) or sh.ndim != 3 or sh[:, 0].shape != (count, labels):
        raise InputError(f"{path}: expected {labels} labels of {count} Gaussians, got {list(chances.shape)}")
    if soft.shape != (count,) or seen.shape != (count,) or not ((ids >= 0) & (ids < labels)).all():
        raise InputError(f"{path}: expected softness and seen of {count} Gaussians and ids below {labels}")
    return LabelField(names, sh, seen), Decision(names, ids, chances, soft)


def part_iou_3d(
    decision: Decision, truth: Int[Tensor, "N"], shown: Bool[Tensor, "N"] | None = None
) -> dict[str, float | None]:
    """Intersection over union of each part's Gaussians, of those shown alone if given; None where neither has any."""
    rows = slice(None) if shown is None else shown
    ids, truth = decision.ids[rows], truth[rows]
    return {name: _iou(ids == part, truth == part) for part, name in enumerate(decision.names[1:], 1)}


def mean_iou_3d(decision: Decision, truth: Int[Tensor, "N"], shown: Bool[Tensor, "N"]) -> float:
    """Over the parts that there are or were found; 0 without any."""
    known = [value for value in part_iou_3d(decision, truth, shown).values() if value is not None]
    return sum(known) / len(known) if known else 0.0


def part_iou_2d(
    splats: Splats,
    cameras: Cameras,
    decision: Decision,
    truth: Int[Tensor, "C H W"],
    config: RenderConfig = RenderConfig(),
) -> dict[str, float | None]:
    """The same of the pixels of all views, by the masks of decision.masks()."""
    parts = enumerate(decision.names[1:], 1)
    return {name: _iou(masks(splats, cameras, decision.ids == part, config), truth == part) for part, name in parts}


def _iou(a: Tensor, b: Tensor) -> float | None:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else None
