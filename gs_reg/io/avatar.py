"""Files of a head avatar: avatar.safetensors with all its tensors, and avatar.json with what they mean."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gs_reg.errors import InputError, reading, refusals_named
from gs_reg.io.atomic import atomic_path

SCHEMA = 1
TENSORS, HEADER = "avatar.safetensors", "avatar.json"


@dataclass(frozen=True)
class AvatarInfo:
    """What a user of an avatar must know beside its tensors."""

    prior: str
    """Name of the expression prior whose codes drive it."""
    channels: tuple[str, ...]
    """A name for each channel of a code."""
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    """Ranges of the channels."""
    licence: str = ""
    """Of the pictures that it was trained on."""
    consent: str = ""
    """Who the person is, and what they agreed to."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values of whoever made it: the report of distillation, the split, metrics, a bridge of codes ..."""

    def __post_init__(self) -> None:
        """Raises InputError where two channels have one name, or the ranges are not those of the channels."""
        for name in ("lo", "hi"):
            values = getattr(self, name)
            if len(values) != len(self.channels) or not all(map(math.isfinite, values)):
                raise InputError(f"{name}: expected a finite number for each of {len(self.channels)} channels")
        if len(set(self.channels)) < len(self.channels):
            raise InputError(f"channels: expected {len(self.channels)} different names")
        for name, lo, hi in zip(self.channels, self.lo, self.hi, strict=True):
            if lo > hi:
                raise InputError(f"{name}: expected a range from lo to hi, got {lo} to {hi}")


def save_avatar_files(
    folder: str | Path, tensors: Mapping[str, Tensor], info: AvatarInfo, model: Mapping[str, Any]
) -> None:
    """Writes both files, each atomically; `model` are the settings with which the model is built again.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    content = {"schema": SCHEMA, "info": dataclasses.asdict(info), "model": dict(model)}
    text = json.dumps(content | {"gaussians": len(plain["means"])}, indent=1, allow_nan=False)
    with atomic_path(folder / TENSORS) as temporary:
        save_file(plain, temporary)
    with atomic_path(folder / HEADER) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_avatar_files(folder: str | Path) -> tuple[dict[str, Tensor], AvatarInfo, dict[str, Any]]:
    """Tensors on the CPU, what they mean, and the model's settings.

    Raises:
        InputError: a file is missing, broken, of another schema, has NaN, or they are not of one avatar.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in (TENSORS, HEADER):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file; expected the folder of an avatar, with {TENSORS} in it")
    with reading(folder / HEADER), refusals_named(folder / HEADER):
        content = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            found = content.get("schema") if isinstance(content, dict) else "no map"
            raise InputError(f"{folder / HEADER}: expected schema {SCHEMA}, got {found!r:.40}")
        raw = content["info"]
        info = AvatarInfo(**{**raw, **{name: tuple(raw[name]) for name in ("channels", "lo", "hi")}})
        model, count = dict(content["model"]), content["gaussians"]
    with reading(folder / TENSORS):
        tensors = load_file(folder / TENSORS)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise InputError(f"{folder / TENSORS}: {name} has NaN or infinity")
        if len(tensors["means"]) != count:
            raise InputError(f"{folder / HEADER}: expected the Gaussians of {TENSORS}, got {count}")
    return tensors, info, model
