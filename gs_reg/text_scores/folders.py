"""Folders of transformers that scores are computed with: recognised by config.json, named, hashed and loaded whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.libraries import offline, quiet, transformers
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.io.digest import file_sha256

CONFIG = "config.json"
Kind = Literal["clip", "blip"]
CLASSES: dict[Kind, str] = {"clip": "CLIPModel", "blip": "BlipForQuestionAnswering"}
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
VISION = ("image_size", "patch_size", "hidden_size", "num_hidden_layers")


@dataclass(frozen=True)
class ScoreFolder:
    """A folder saved by transformers, of a family that a score is computed with."""

    path: Path
    kind: Kind

    @classmethod
    def of(cls, path: Path) -> ScoreFolder:
        """Looks at config.json and the names of the files.

        Raises:
            InputError: no such folder, or of a family that no score is computed with.
            MissingPart: there are no weights in it.
        """
        config = _config(path)
        family = config.get("model_type")
        kind: Kind | None = "clip" if family == "clip" else "blip" if family == "blip" else None
        if kind is None:
            raise InputError(f"{path}: its model_type is {family!r}: expected clip (CLIPModel) or blip for questions")
        classes = config.get("architectures") or [CLASSES[kind]]
        if CLASSES[kind] not in classes:
            raise InputError(f"{path}: weights of {', '.join(classes)}: expected those of {CLASSES[kind]}")
        folder = cls(path, kind)
        if not folder.files():
            raise MissingPart(f"{path}: no weights beside its {CONFIG} (model.safetensors); nothing is downloaded")
        return folder

    def files(self) -> list[Path]:
        """Of its weights: safetensors where there are any, as transformers prefers them."""
        found = [sorted(self.path.glob(pattern)) for pattern in WEIGHTS]
        return found[0] or found[1]

    def facts(self) -> dict[str, Any]:
        """For results: name, class, size of the vision network, and the SHA-256 of each file of weights."""
        config = _config(self.path)
        vision = {name: (config.get("vision_config") or {}).get(name) for name in VISION}
        hashes = {path.name: file_sha256(path) for path in self.files()}
        return {"folder": self.path.resolve().name, "class": CLASSES[self.kind], "vision": vision, "sha256": hashes}


class Network:
    """The network of a folder with its processor, frozen, in float32."""

    def __init__(self, folder: ScoreFolder, device: torch.device | str):
        """Raises InputError where weights are broken or lack: transformers would fill these with random numbers."""
        classes = transformers()
        kind = getattr(classes, CLASSES[folder.kind])
        options = {"local_files_only": True, "dtype": torch.float32, "output_loading_info": True}
        with reading(folder.path), quiet(), offline():
            self.processor: Any = classes.AutoProcessor.from_pretrained(folder.path, local_files_only=True)
            self.model, info = kind.from_pretrained(folder.path, **options)
        lacking = sorted(info["missing_keys"])
        if lacking:
            raise InputError(
                f"{folder.path}: {len(lacking)} tensors of {CLASSES[folder.kind]} are missing, such as {lacking[0]}"
            )
        self.model.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)

    def inputs(self, **given: Any) -> Any:
        """Of the processor, on the network's device."""
        return self.processor(**given, return_tensors="pt").to(self.device)


def as_bytes(pictures: Float[Tensor, "C H W 3"]) -> list[np.ndarray]:
    """As processors take pictures."""
    return list((pictures.clamp(0, 1) * 255).round().byte().cpu().numpy())


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        raise InputError(f"{path}: no {CONFIG}; expected a folder saved by transformers")
    with reading(file):
        config = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise InputError(f"{file}: expected a map")
    return config
