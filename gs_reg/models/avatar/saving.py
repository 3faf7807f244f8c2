"""Avatars as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gs_reg.errors import reading, refusals_named
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.fields.inputs import GATES
from gs_reg.io.avatar import HEADER, TENSORS, AvatarInfo, load_avatar_files, save_avatar_files
from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.models.avatar.model import Avatar
from gs_reg.models.avatar.start import LATER
from gs_reg.models.screen_cnn import ScreenCnn

SHAPES: Mapping[str, tuple[str | int, ...]] = {
    "means": ("N", 3),
    "quats": ("N", 4),
    "log_scales": ("N", 3),
    "opacity_logits": ("N",),
    "dc": ("N", 1, 3),
    "sh_rest": ("N", "*", 3),
    "latent": ("N", "*"),
    "gate_logits": ("N", GATES),
    "screen_channels": ("N", "*"),
    "stretch_colors": ("N", "*", 3),
    "distilled_latent": ("N", "*"),
    "part": ("N",),
    "moving": ("N",),
    "lively": ("N",),
    "neighbors": ("N", "k"),
    "neighbor_weights": ("N", "k"),
    "code_corrections": ("T", "D"),
    "pose_corrections": ("T", 6),
    "tracked": ("T", "D"),
    "poses": ("T", 4, 4),
    "neutral": ("D",),
    "probes": ("*", "D"),
    "age": (),
    "built": (),
}
"""N Gaussians, T frames, codes of D numbers, k neighbours; * = any."""
KINDS = {"part": torch.int64, "moving": torch.bool, "neighbors": torch.int32, "age": torch.int64, "built": torch.int64}
"""Of those that are no floats."""


def save_avatar(folder: str | Path, avatar: Avatar, info: AvatarInfo) -> None:
    """Writes avatar.safetensors and avatar.json into the folder.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    model = {
        "config": dataclasses.asdict(avatar.config),
        "coarse": _arguments(avatar.coarse),
        "detail": _arguments(avatar.detail),
        "screen": None if avatar.screen is None else avatar.screen.channels,
    }
    save_avatar_files(folder, avatar.state_dict(), info, model)


def load_avatar(folder: str | Path) -> tuple[Avatar, AvatarInfo]:
    """The avatar of a folder, on the CPU.

    Raises:
        InputError: a file is missing or broken, or they are not of one avatar.
    """
    tensors, info, model = load_avatar_files(folder)
    header = Path(folder) / HEADER
    with reading(header), refusals_named(header):
        coarse = None if model["coarse"] is None else CoarseField(**_tuples(model["coarse"]))
        detail = None if model["detail"] is None else DetailField(**_tuples(model["detail"]))
        screen = None if model["screen"] is None else ScreenCnn(model["screen"])
        config = AvatarConfig(**model["config"])
    with reading(Path(folder) / TENSORS):
        check_tensors(tensors, len(info.channels))
        return Avatar.loaded(tensors, coarse, detail, config, screen), info


def check_tensors(tensors: Mapping[str, Tensor], dim: int) -> None:
    """Raises KeyError or ValueError where a tensor is missing or not of its shape, for codes of `dim` numbers."""
    count, frames, near = len(tensors["means"]), len(tensors["tracked"]), tensors["neighbors"].shape[-1]
    sides: dict[str | int, int] = {"N": count, "T": frames, "D": dim, "k": near}
    for name, shape in SHAPES.items():
        if name in LATER and name not in tensors:
            continue
        got, wanted = tuple(tensors[name].shape), [sides.get(side, side) for side in shape]
        if len(got) != len(wanted) or any(side not in ("*", size) for size, side in zip(got, wanted, strict=True)):
            raise ValueError(f"{name}: expected [{', '.join(map(str, wanted))}], got {list(got)}")
        kind = KINDS.get(name, torch.float32)
        if tensors[name].dtype != kind:
            raise ValueError(f"{name}: expected {kind}, got {tensors[name].dtype}")
    if "stretch_colors" in tensors and tensors["stretch_colors"].shape[1] not in (0, 2):
        raise ValueError(f"stretch_colors: expected 2 colours or none, got {tensors['stretch_colors'].shape[1]}")
    if not bool((torch.linalg.det(tensors["poses"][:, :3, :3]) > 0).all()):
        raise ValueError("poses: expected rotations and a scale above 0")
    neighbors = tensors["neighbors"]
    if neighbors.numel() and not 0 <= int(neighbors.min()) <= int(neighbors.max()) < count:
        raise ValueError(f"neighbors: expected rows of {count} Gaussians, got {int(neighbors.max())}")


def _arguments(field: CoarseField | DetailField | None) -> dict[str, Any] | None:
    return None if field is None else field.arguments


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists alone."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
