"""Maps that the user brings: FOLDER/NAME.npy, NAME.exr or NAME.png, NAME the photo's name (photos/names.py)."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.types import Views

from ...arrays import read_array
from ...photos.names import PhotoFiles
from .types import MapKind

ENDINGS = (".npy", ".exr", ".png")
PNG_COLORS = {0: "grey", 2: "colour", 3: "a palette", 4: "grey and alpha", 6: "colour and alpha"}
LAYOUT = "expected FOLDER/NAME.npy, NAME.exr or NAME.png (16 bits) for every photo NAME.*, in folders as the photos"


class FileMaps:
    """Maps of the size of the photos in use, or of their shape at another size.

    `names` are the whole names of all photos of the data set, by those in use.

    Raises:
        InputError: no folder or no kind; when called, a missing or unfit file.
    """

    def __init__(
        self,
        folder: str | None,
        kind: MapKind | None,
        png_scale: float | None = None,
        holes: Literal["error", "fill"] = "error",
        names: Mapping[str, str] | None = None,
    ):
        if folder is None or not Path(folder).is_dir():
            raise InputError(f"--depth.source files: {folder or 'no --depth.path'}: no folder of maps; {LAYOUT}")
        if kind is None:
            raise InputError(
                "--depth.source files: say what the maps hold: --depth.kind metric (z in the units of the cameras), "
                "depth (up to scale, far = large) or disparity (up to scale and shift, near = large)"
            )
        if png_scale is not None and not 0 < png_scale < float("inf"):
            raise InputError(f"--depth.png-scale: expected a number above 0, got {png_scale:g}")
        self._folder, self._png_scale, self._holes = Path(folder), png_scale, holes
        self._files = PhotoFiles(names or {})
        self.kind: MapKind = kind
        self.about: Mapping[str, str] = {"source": "files", "what": f"{kind} maps in {folder}"}

    def __call__(self, view: Views) -> Float[Tensor, "H W"]:
        path = self._find(view.names[0])
        values = _sized(self._read(path, view), view)
        known = torch.isfinite(values) if self.kind == "disparity" else torch.isfinite(values) & (values > 0)
        counted = known if view.masks is None else known | ~view.masks[0]
        holes = int((~counted).sum())
        if not known.any():
            raise InputError(f"{path}: no pixel has a value ({_hole(self.kind)}): mend or remove it")
        if holes and self._holes == "error":
            raise InputError(
                f"{path}: {holes} of {values.numel()} pixels have no value ({_hole(self.kind)}): mend them, or close "
                "them smoothly with --depth.holes fill"
            )
        return torch.where(known, values, torch.nan)

    def _find(self, name: str) -> Path:
        found = self._files.find(name, self._folder, ENDINGS)
        if not found:
            raise InputError(f"{self._folder}: no map for {name}; {LAYOUT}")
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1].name}: two maps for {name}: remove one")
        return found[0]

    def _read(self, path: Path, view: Views) -> Float[Tensor, "h v"]:
        if path.suffix == ".png":
            return torch.from_numpy(_png16(path, view) * np.float32(self._step(path)))
        values = read_array(path) if path.suffix == ".npy" else _exr(path)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[..., 0]
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise InputError(f"{path}: expected an array [H, W] of numbers, got {list(values.shape)} {values.dtype}")
        _check_shape(values.shape[0], values.shape[1], view, path)
        return torch.from_numpy(values.astype(np.float32))

    def _step(self, path: Path) -> float:
        if self._png_scale is None and self.kind == "metric":
            raise InputError(
                f"{path}: a 16-bit PNG does not say its unit: give --depth.png-scale, the depth of one step (0.001 for "
                "millimetres where cameras are in metres)"
            )
        return self._png_scale or 1.0


def _hole(kind: MapKind) -> str:
    return "NaN or infinite" if kind == "disparity" else "NaN, infinite or not above 0"


def _sized(values: Float[Tensor, "h v"], view: Views) -> Float[Tensor, "H W"]:
    """At the photo's size in use; of another size each pixel takes the nearest value, so that edges stay edges."""
    size = view.photos.shape[1:3]
    if values.shape == size:
        return values
    return torch.nn.functional.interpolate(values[None, None], size=size, mode="nearest-exact")[0, 0]


def _check_shape(h: int, w: int, view: Views, path: Path) -> None:
    height, width = view.photos.shape[1:3]
    if abs(h * width / max(w, 1) - height) > 1 or abs(w * height / max(h, 1) - width) > 1:
        raise InputError(
            f"{path}: {w}x{h}, but {view.names[0]} is in use at {width}x{height}, another shape: make it that size "
            "(after undistortion, if the photo's lens has one)"
        )


def _exr(path: Path) -> ndarray:
    """The only channel, or the one named Z, Y or V (depth or grey), or R where colours are all alike."""
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingPart(f"{path}: EXR needs a library ({error}): pip install 'gs-reg[exr]', or save .npy") from None
    try:
        parts = OpenEXR.File(str(path), separate_channels=True).channels()
    except Exception as error:  # the bindings raise RuntimeError, ValueError and their own
        raise InputError(f"{path}: not an EXR file that can be read ({error}): save it again, or as .npy") from None
    channels = {name: np.asarray(channel.pixels) for name, channel in parts.items()}
    if len(channels) == 1:
        return next(iter(channels.values()))
    for name in ("Z", "Y", "V"):
        if name in channels:
            return channels[name]
    if {"R", "G", "B"} <= channels.keys() and all(np.array_equal(channels["R"], channels[c]) for c in "GB"):
        return channels["R"]
    raise InputError(f"{path}: channels {', '.join(channels)}: expected one, or one named Z")


def _png16(path: Path, view: Views) -> Float32[ndarray, "h v"]:
    from PIL import Image

    # not by OpenCV, whose libpng writes what it finds broken to stderr by itself
    try:
        with Image.open(BytesIO(path.read_bytes()), formats=["PNG"]) as picture:
            depth, color = _png_header(path)
            if (depth, color) != (16, 0):
                raise InputError(
                    f"{path}: {depth} bits, {PNG_COLORS[color]}: expected a 16-bit grey PNG, as 8 bits are too coarse"
                )
            _check_shape(picture.height, picture.width, view, path)
            return np.asarray(picture).astype(np.float32)
    except InputError:
        raise
    except Exception as error:  # Pillow raises errors of many types for broken files
        raise InputError(f"{path}: not a picture that can be read: export it again") from error


def _png_header(path: Path) -> tuple[int, int]:
    """Bits of a channel, and the type of colour, a key of PNG_COLORS."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24], header[25]
