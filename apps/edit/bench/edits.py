"""Edits of the bench's objects by a teacher: colour, finish and a larger shape, each measured in held-out views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.colors import (
    FINISHES,
    HELD_OUT,
    NAMES,
    base_colors,
    nearest_color,
    second_colors,
)
from gs_reg.io import load_splats, save_splats
from gs_reg.metrics import psnr
from gs_reg.parts.lab import lab
from gs_reg.parts.views import part_views
from gs_reg.render import render
from gs_reg.types import Splats

from ...runs.folder import Run
from ..config import Config
from ..export import EDITED
from .objects import BenchObject, held_out_cameras

Kind = Literal["colour", "finish", "shape"]
KINDS: tuple[Kind, ...] = ("colour", "finish", "shape")
STRIPED = FINISHES.index("striped")
RIGHT_VIEWS = 0.85
"""Share of the held-out views in which an edit must be right."""
PATTERN = (0.15, 0.85)
"""Share of a striped part's pixels that are nearer to the second colour."""
GROWN = 1.1
"""Least area of a grown part over that before, in the median view."""
GROW = 0.4
VIEWS, SIZE = 8, 128
LEAST_PIXELS = 24


@dataclass(frozen=True)
class Edit:
    family: str
    kind: Kind
    part: str
    color: str

    @property
    def name(self) -> str:
        return f"{self.family}-{self.kind}"

    @property
    def words(self) -> str:
        return f"striped {self.color} {self.part}" if self.kind == "finish" else f"{self.color} {self.part}"


@dataclass(frozen=True)
class EditFigures:
    edit: str
    words: str
    right: bool
    color_views: float
    """Share of the held-out views in which the part's median colour is nearest to the named one of 12, as they look
    in that view's light."""
    second_color: float
    """Share of the part's pixels that are nearer to the finish's second colour, in the median view."""
    growth: float
    """Area of the part over that before, in the median view."""
    oracle_psnr: float | None
    """dB inside the part against what the edit should look like; of a grown shape nobody knows."""
    changed_outside: bool
    minutes: float
    calls: int


def planned_edits(items: Sequence[BenchObject], seed: int = 0) -> list[Edit]:
    """One of each kind an object, of parts in turn, in colours that differ from what the part has."""
    out = []
    for number, item in enumerate(items):
        parts = item.item.parts
        for k, kind in enumerate(KINDS):
            row = (number + k) % len(parts)
            rng = np.random.default_rng([seed, number, k])
            used = (NAMES[item.look.colors[row]], *(NAMES[c] for c in item.look.colors))
            free = [c for c in NAMES if c not in used and (item.name, parts[row], c) not in HELD_OUT]
            out.append(Edit(item.name, kind, parts[row], str(rng.choice(free))))
    return out


def edit_config(edit: Edit, item: BenchObject, scene: Path, model: Path, base: Config, out: Path) -> Config:
    """The job, as `gs-reg edit run` takes it."""
    shape = edit.kind == "shape"
    return replace(
        base,
        data=str(scene),
        object=f"a photo of a {item.name}",
        parts=",".join(item.item.parts),
        part=edit.part,
        edit=f"a {edit.words}",
        model=str(model),
        up="y",
        background="grey",
        shape=shape,
        grow=GROW if shape else 0.0,
        out=out,
    )


def scene_file(item: BenchObject, folder: Path) -> Path:
    path = folder / f"{item.name}.ply"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_splats(path, item.splats)
    return path


@torch.no_grad()
def measured(edit: Edit, item: BenchObject, run: Run) -> EditFigures:
    """What the finished run came to."""
    result, locality = run.read_json("result.json"), run.read_json("locality.json")
    before, after = item.splats, load_splats(run.path / EDITED)
    row = item.item.parts.index(edit.part)
    look = item.look.changed(row, NAMES.index(edit.color), STRIPED if edit.kind == "finish" else 0)
    oracle, truth = item.held_out(VIEWS, SIZE, look)
    pictures = render(after, oracle.cameras).colors.clamp(0, 1)
    area = truth == row + 1
    lights = light_of_views(item, row)
    grown = _changed(before, after) if edit.kind == "shape" else area
    medians, seconds = [], []
    second = second_colors(base_colors(look.colors))[row]
    for picture, mask, light in zip(pictures, grown, lights, strict=True):
        if int(mask.sum()) >= LEAST_PIXELS:
            pixels = picture[mask].numpy()
            near = _nearer(pixels, base_colors(look.colors)[row], second)
            seconds.append(float(near.mean()))
            kept = pixels[~near] if edit.kind == "finish" and (~near).any() else pixels
            medians.append(nearest_color(np.median(kept, 0), light))
    right = float(np.mean([NAMES[m] == edit.color for m in medians])) if medians else 0.0
    share = float(np.median(seconds)) if seconds else 0.0
    growth = _growth(grown, area)
    ok = right >= RIGHT_VIEWS
    ok &= edit.kind != "finish" or PATTERN[0] <= share <= PATTERN[1]
    ok &= edit.kind != "shape" or growth >= GROWN
    return EditFigures(
        edit.name,
        edit.words,
        bool(ok),
        round(right, 3),
        round(share, 3),
        round(growth, 3),
        None if edit.kind == "shape" else round(float(psnr(pictures, oracle.photos, area).nanmean()), 2),
        not locality["intact"],
        round(result["seconds"] / 60, 3),
        sum(result["model_calls"].values()),
    )


def light_of_views(item: BenchObject, row: int) -> list[float]:
    """Share of its colour that the part in this row shows in each held-out view, in the median: shaded cyan is
    nearer to plain teal than to plain cyan."""
    white = NAMES.index("white")
    photos, truth = item.held_out(VIEWS, SIZE, item.look.changed(row, white, 0))
    level = float(base_colors([white])[0, 0])
    seen = zip(photos.photos[..., 0], truth == row + 1, strict=True)
    return [float(photo[mask].median()) / level if mask.any() else 1.0 for photo, mask in seen]


def _nearer(pixels: Float[np.ndarray, "P 3"], first: np.ndarray, second: np.ndarray) -> Bool[np.ndarray, "P"]:
    """Whether each pixel is nearer to the second colour than to the first, in CIELAB."""
    return ((lab(pixels) - lab(second)) ** 2).sum(-1) < ((lab(pixels) - lab(first)) ** 2).sum(-1)


def _changed(before: Splats, after: Splats) -> Bool[Tensor, "C H W"]:
    """Masks of the edited and the added Gaussians in the held-out views."""
    old, new = (torch.cat([s.means, s.sh[:, 0]], 1).numpy() for s in (before, after))
    kept = {row.tobytes() for row in old}
    same = torch.tensor([row.tobytes() in kept for row in new])
    masks = part_views(after, held_out_cameras(VIEWS, SIZE), ~same).masks
    assert masks is not None
    return masks


def _growth(grown: Bool[Tensor, "C H W"], area: Bool[Tensor, "C H W"]) -> float:
    seen = area.sum((1, 2)) >= LEAST_PIXELS
    ratios = grown.sum((1, 2))[seen] / area.sum((1, 2))[seen]
    return float(ratios.median()) if len(ratios) else 0.0
