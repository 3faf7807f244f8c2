"""Between our runs and nerfstudio's: reads a checkpoint in the frame of the given cameras, and writes a run as one.

Reading needs no nerfstudio. Writing does, as config.yml holds objects of its classes.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.dropout import Dropout
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats

TRANSFORMS = "dataparser_transforms.json"
MODELS = "nerfstudio_models"
_NAME = re.compile(r"step-(\d+)\.ckpt")


@dataclass(frozen=True)
class NerfstudioSplats:
    """The Gaussians of a checkpoint."""

    splats: Splats
    """In the normalised frame of the nerfstudio run, at the opacities that it draws."""
    source_from_world: Float[Tensor, "4 4"]
    """Similarity (float64) from that frame to the one of the given cameras."""
    step: int
    file: Path
    """The checkpoint."""
    antialiased: bool = False
    """Trained with rasterize_mode antialiased, as config.yml beside it says."""


def is_nerfstudio(path: Path) -> bool:
    """Whether it is a checkpoint, the config.yml or the folder of a run of nerfstudio."""
    return path.suffix == ".ckpt" or path.name == "config.yml" or (path / MODELS).is_dir() or path.name == MODELS


def find_checkpoint(path: Path) -> Path:
    """The newest checkpoint of a nerfstudio run, from the file, its config.yml, or a folder.

    Raises:
        InputError: there is none.
    """
    if path.is_file() and path.suffix == ".ckpt":
        return path
    folder = path.parent if path.is_file() else path
    found = [file for place in (folder, folder / MODELS) if place.is_dir() for file in place.glob("step-*.ckpt")]
    steps = {int(name[1]): file for file in found if (name := _NAME.fullmatch(file.name))}
    if not steps:
        raise InputError(f"{path}: no checkpoint of nerfstudio: expected step-*.ckpt in it or in {MODELS}/")
    return steps[max(steps)]


def read_nerfstudio(path: Path, trust: bool = False) -> NerfstudioSplats:
    """The splats of a checkpoint of `gs-reg`, `gs-reg-free` or `splatfacto`, and the way back to the source's frame.

    Raises:
        InputError: no such checkpoint, one of another method, or one that only `trust` would load.
    """
    file = find_checkpoint(path)
    saved = load_checkpoint(file, trust)
    with reading(file):
        state = {name.removeprefix("_model."): value for name, value in saved["pipeline"].items()}
        splats, matrix, step = _splats(state), source_from_world(file), int(saved["step"])
    return NerfstudioSplats(splats, matrix, step, file, _is_antialiased(file))


def _is_antialiased(checkpoint: Path) -> bool:
    """Read as text: as YAML it would build objects, and so run code."""
    config = checkpoint.parent.parent / "config.yml"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    return re.search(r"^\s*rasterize_mode: antialiased\s*$", text, re.MULTILINE) is not None


def _splats(state: Mapping[str, Tensor]) -> Splats:
    names = ("means", "quats", "scales", "opacities", "features_dc", "features_rest")
    columns = {name: state.get(f"gauss_params.{name}", state.get(name)) for name in names}
    if missing := [name for name, value in columns.items() if value is None]:
        raise InputError(f"expected Gaussians, got no {', '.join(missing)}: is it of another method?")
    means, quats, scales, opacities, dc, rest = (columns[name].float() for name in names)  # pyright: ignore[reportOptionalMemberAccess]
    if rest.shape[1] == 0 and "dropped_share" not in state:
        dc = rgb_to_sh(dc.sigmoid())  # splatfacto keeps colours of degree 0 as logits
    splats = Splats(means, quats, scales, opacities[:, 0], torch.cat([dc[:, None], rest], 1))
    if "filled" in state:
        splats = replace(splats, extra={"filled": state["filled"]})
    share = float(state.get("dropped_share", torch.zeros(())))
    return Dropout(share).with_expected_opacity(splats)


def source_from_world(checkpoint: Path) -> Float[Tensor, "4 4"]:
    """What undoes dataparser_transforms.json beside the checkpoint; the identity where there is none.

    Raises:
        InputError: that file is broken.
    """
    places = checkpoint.parent.parent / TRANSFORMS, checkpoint.parent / TRANSFORMS
    file = next((place for place in places if place.is_file()), None)
    matrix = torch.eye(4, dtype=torch.float64)
    if file is None:
        return matrix
    with reading(file):
        stored = json.loads(file.read_text(encoding="utf-8"))
        matrix[:3] = torch.tensor(stored["transform"], dtype=torch.float64)[:3] * float(stored["scale"])
        return torch.linalg.inv(matrix)


def load_checkpoint(file: Path, trust: bool = False) -> dict[str, Any]:
    """The checkpoint as plain values. Numbers of numpy, which stock nerfstudio leaves in it, are read as such.

    With `trust`, whatever else was pickled is loaded too, and that may run any code.

    Raises:
        InputError: a broken file, or one that needs `trust`.
    """
    numbers = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType, *_scalar()]
    with reading(file), torch.serialization.safe_globals(numbers):
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            if "weights_only" not in str(error).lower() and "unsupported global" not in str(error).lower():
                raise
            if not trust:
                raise InputError(
                    f"{file}: holds pickled objects, and loading these runs whatever code they name: pass --trust only "
                    "if you made the file or trust who did"
                ) from None
            saved = torch.load(file, map_location="cpu", weights_only=False)
        if not isinstance(saved, dict) or not {"pipeline", "step"} <= saved.keys():
            raise InputError(f"{file}: no checkpoint of nerfstudio: expected `pipeline` and `step` in it")
        return _plain(saved)


def _scalar() -> list[Any]:
    """numpy's constructor of pickled numbers, under its names in numpy 1 and 2."""
    scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, all the way down."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def rewrite_checkpoint(path: Path, to: Path, trust: bool = False) -> None:
    """The same checkpoint with plain numbers alone, as torch.load of torch 2.6 and later takes it.

    Raises:
        InputError: as load_checkpoint.
    """
    saved = load_checkpoint(find_checkpoint(path), trust)
    with atomic_path(to) as temporary:
        torch.save(saved, temporary)
    load_checkpoint(to)


def check_nerfstudio() -> None:
    """Raises MissingPart where nerfstudio is not installed."""
    if importlib.util.find_spec("nerfstudio") is None:
        raise MissingPart(
            "--to nerfstudio: nerfstudio is not installed here; it needs a venv of its own: docs/nerfstudio.md"
        )


def write_nerfstudio(run_folder: Path, out: Path) -> Path:
    """A run as one of nerfstudio, below `out`: a checkpoint for ns-viewer, ns-render, ns-eval and ns-export.

    Returns its config.yml, OUT/NAME/gs-reg/TIME/config.yml, as nerfstudio's folders are. The photos are read from where
    the run read them.

    Raises:
        MissingPart: nerfstudio is not installed.
        InputError: no run, or one that is there already.
    """
    check_nerfstudio()
    from .as_nerfstudio import write

    return write(run_folder, out)
