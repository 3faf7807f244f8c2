"""What every teacher does, and what it may be given besides pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError
from gs_reg.types import Cameras, Splats

from ..prompts import PartPrompt
from ..types import PartMaps
from .marks import Mark


@runtime_checkable
class PartTeacher(Protocol):
    """Says where parts are in pictures of one size. prepare() once, then maps() of any number of views."""

    notes: dict[str, Any]
    """What it has to report, once there are maps: goes into result.json."""

    def prepare(self, prompt: PartPrompt) -> None:
        """Raises InputError or MissingPart: what it needs to know of these parts is not there."""
        ...

    def maps(
        self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras
    ) -> PartMaps: ...

    def close(self) -> None:
        """Gives its memory back."""
        ...


@dataclass(frozen=True)
class TeacherSetting:
    """What a job has; each teacher takes what it needs."""

    views: tuple[str, ...] = ()
    """Names of the views whose pictures maps() gets, in their order."""
    splats: Splats | None = None
    marks: tuple[Mark, ...] = ()
    """Clicks and boxes of the user."""
    model: Callable[[], DiffusionModel] | None = None
    """Loads the pipeline of --model, or gives the one that the editor has too."""
    folders: tuple[Path, ...] = ()
    """Of --teacher-model: folders of transformers; which is which their config.json says."""
    device: torch.device | str = "cpu"
    seed: int = 0


def prepared(prompt: PartPrompt | None) -> PartPrompt:
    """The prompt that prepare() has got."""
    if prompt is None:
        raise ValueError("teacher: expected prepare() before maps()")
    return prompt


def named_views(setting: TeacherSetting, count: int) -> tuple[str, ...]:
    """Names of the pictures that came; their number has to fit."""
    if len(setting.views) != count:
        raise ValueError(f"views: expected {count} names, one for each picture, got {len(setting.views)}")
    return setting.views


def needed_splats(setting: TeacherSetting, teacher: str) -> Splats:
    if setting.splats is None or not len(setting.splats):
        raise InputError(f"teacher {teacher}: expected splats for its clicks to lie on, got none")
    return setting.splats
