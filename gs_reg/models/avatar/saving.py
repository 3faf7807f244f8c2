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
    with reading(Path(folder) / HEADER):
        coarse = None if model["coarse"] is None else CoarseField(**_tuples(model["coarse"]))
        detail = None if model["detail"] is None else DetailField(**_tuples(model["detail"]))
        screen = None if model["screen"] is None else ScreenCnn(model["screen"])
        config = AvatarConfig(**model["config"])
    with reading(Path(folder) / TENSORS):
        return Avatar.loaded(tensors, coarse, detail, config, screen), info


def _arguments(field: CoarseField | DetailField | None) -> dict[str, Any] | None:
    return None if field is None else field.arguments


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists alone."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
