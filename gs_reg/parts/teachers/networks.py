"""Folders of transformers that the user gives by --teacher-model: found by family, loaded, and fed with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.libraries import quiet, transformers
from gs_reg.errors import InputError, MissingPart, reading

CONFIG = "config.json"
SAM2 = ("sam2", "sam2_video")  # folders for video hold the same weights and more
NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "clipseg": (("clipseg",),),
    "sam2": (SAM2,),
    "sam3": (("sam3", "sam3_video"),),
    "grounded": (("grounding-dino",), SAM2),
}
"""By teacher: model_type of config.json of the networks that it needs, each of one of several."""


class Network:
    """A network with its processor, frozen."""

    def __init__(self, teacher: str, kinds: Sequence[str], name: str, folders: Sequence[Path], device: Any):
        """`kinds`: model_type that config.json may have; `name`: of the class, CLIPSegForImageSegmentation say.

        Raises:
            MissingPart: no such folder was given, its weights are not there, or transformers has no such class.
            InputError: a folder that is not one of transformers.
        """
        folder = _folder_of(teacher, kinds, folders)
        classes = transformers()
        wanted = getattr(classes, name, None)
        if wanted is None:
            raise MissingPart(
                f"teacher {teacher}: transformers {classes.__version__} has no {name}: pip install -U 'gs-reg[edit]'"
            )
        with quiet() as heard, reading(folder):
            self.processor: Any = classes.AutoProcessor.from_pretrained(folder, local_files_only=True)
            self.model: Any = wanted.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        heard.refuse_missing(folder)
        self.model.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    def inputs(self, **given: Any) -> Any:
        """Of the processor, on the network's device."""
        return self.processor(**given, return_tensors="pt").to(self.device)


def check_networks(teacher: str, folders: Sequence[Path]) -> None:
    """Whether the networks of a teacher are there, without loading them; raises as Network does."""
    for kinds in NEEDED.get(teacher, ()):
        _folder_of(teacher, kinds, folders)


def _folder_of(teacher: str, kinds: Sequence[str], folders: Sequence[Path]) -> Path:
    found = {folder: _kind_of(folder) for folder in folders}
    for folder, kind in found.items():
        if kind in kinds:
            if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
                raise MissingPart(f"teacher {teacher}: {folder}: no weights beside its {CONFIG} (model.safetensors)")
            return folder
    given = ", ".join(f"{folder} is {kind}" for folder, kind in found.items()) or "none was given"
    raise MissingPart(
        f"teacher {teacher}: expected --teacher-model with a folder of {kinds[0]} (transformers), {given}; "
        "nothing is downloaded"
    )


def _kind_of(folder: Path) -> str:
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"--teacher-model {folder}: no {CONFIG}; expected a folder saved by transformers")
    with reading(path):
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])


def as_bytes(picture: Float[Tensor, "H W 3"]) -> np.ndarray:
    """The picture as processors take them."""
    return (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
