"""Avatars as files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gs_reg.errors import reading
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.io.avatar import HEADER, TENSORS, AvatarInfo, load_avatar_files, save_avatar_files
from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.models.avatar.model import Avatar
from gs_reg.models.screen_cnn import ScreenCnn


def save_avatar(folder: str | Path, avatar: Avatar, info: AvatarInfo) -> None:
    """Writes avatar.safetensors and avatar.json into the folder.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    model = {
        "config": dataclasses.asdict(avatar.config),
        "coarse": None if avatar.coarse is None else _sizes(avatar.coarse),
        "detail": None if avatar.detail is None else _sizes(avatar.detail),
        "screen": None if avatar.screen is None else avatar.screen.channels,
    }
    save_avatar_files(folder, avatar.state_dict(), info, model)


def load_avatar(folder: str | Path) -> tuple[Avatar, AvatarInfo]:
    """The avatar of a folder, on the CPU.

    Raises:
        InputError: a file is missing or broken, or they are not of one avatar.
    """
    tensors, info, model = load_avatar_files(folder)
    with reading(Path(folder) / HEADER):
        dim = len(info.channels)
        coarse = None if model["coarse"] is None else CoarseField(**_arguments(model["coarse"], dim))
        detail = None if model["detail"] is None else DetailField(**_arguments(model["detail"], dim))
        screen = None if model["screen"] is None else ScreenCnn(model["screen"])
        config = AvatarConfig(**model["config"])
    with reading(Path(folder) / TENSORS):
        return Avatar.loaded(tensors, coarse, detail, config, screen), info


def _sizes(field: CoarseField | DetailField) -> dict[str, Any]:
    """What a field is built from, its code's size left out."""
    sizes: dict[str, Any] = {"linear": field.linear} if isinstance(field, CoarseField) else {"heads": list(field.heads)}
    if isinstance(field, DetailField) and not field.heads:
        return sizes
    width = field.width if isinstance(field, CoarseField) else field.out.in_features
    groups = field.groups if isinstance(field, CoarseField) else field.first.groups
    point, octaves = field.first.point, field.first.octaves
    latent = point.in_features - 3 - 6 * octaves
    depth = len(field.hidden) + 1
    return sizes | {"groups": list(groups), "latent": latent, "width": width, "depth": depth, "octaves": octaves}


def _arguments(sizes: dict[str, Any], dim: int) -> dict[str, Any]:
    groups = sizes.get("groups")
    return {**sizes, "dim": dim, "groups": None if groups is None else tuple(groups)}
