"""A folder of pictures that the user has edited, named like the exported views."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError, reading

from ..pasting import SIDE, paste

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
SAME_SHAPE = 0.01
"""Relative difference of the ratio of the sides up to which a picture is another size of the view."""
CHANGED = 8 / 255
"""A pixel that differs by more than lossy files do."""
MARGIN = 8.0
"""Pixels at 512 around the mask that may change."""


class FolderEditor:
    def __init__(self, folder: Path | str):
        """Raises:
        InputError: no folder, no picture in it, or two of one name.
        """
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise InputError(f"{folder}: no such folder; `gs-reg edit views` writes one to edit")
        self._files: dict[str, Path] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                if path.stem in self._files:
                    raise InputError(f"{path}: a second picture of the view {path.stem}: keep one")
                self._files[path.stem] = path
        if not self._files:
            raise InputError(f"{folder}: no pictures ({', '.join(SUFFIXES)})")
        self.views: tuple[str, ...] | None = tuple(self._files)
        self.calls = 0
        self.notes: list[str] = []

    def edit(
        self,
        image: Float[Tensor, "H W 3"],
        mask: Bool[Tensor, "H W"],
        depth: Float[Tensor, "H W"] | None,
        prompt: str,
        negative: str,
        reference: Float[Tensor, "H W 3"] | None,
        seed: int,
        *,
        view: str = "",
        start: float = 1.0,
    ) -> Float[Tensor, "H W 3"]:
        """The user's picture of the view; what changed away from the mask is put back and noted.

        Raises:
            InputError: no picture of the view, or one of another shape.
        """
        path = self._files.get(view)
        if path is None:
            raise InputError(f"{self.folder}: no picture of the view {view!r}; there are {', '.join(self._files)}")
        edited = _read(path, image.shape[0], image.shape[1]).to(image)
        out = paste(edited, image, mask, MARGIN)
        away = paste(torch.ones_like(image), torch.zeros_like(image), mask, MARGIN)[..., 0] == 0
        change = (edited - image).abs().amax(-1)[away]
        outside = float((change > CHANGED).float().mean()) if away.any() else 0.0
        if outside:
            self.notes.append(
                f"{path.name}: {outside:.1%} of the pixels more than {MARGIN:g} pixels (at {SIDE}) from the mask had"
                f" changed, by up to {float(change.max()):.2f}: put back"
            )
        return out

    def close(self) -> None:
        """Holds nothing."""


def _read(path: Path, height: int, width: int) -> Float[Tensor, "h w 3"]:
    from PIL import Image, ImageOps

    with reading(path), Image.open(BytesIO(path.read_bytes())) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
        ratio = picture.width / picture.height * height / width
        if abs(ratio - 1) > SAME_SHAPE:
            raise InputError(
                f"{path}: {picture.width} x {picture.height} pixels: the view is {width} x {height}; keep its shape"
            )
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(picture)).float() / 255
