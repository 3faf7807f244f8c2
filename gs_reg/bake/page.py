"""A web page that plays a baked avatar: sliders for its channels and a track of codes, from disk, without a network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gs_reg.bake.attributes import ATTRIBUTES
from gs_reg.bake.basis import Basis
from gs_reg.errors import InputError
from gs_reg.io.html import SCRIPTS, as_json, compressed_words, keys_of, scene_of, web_text, write_page
from gs_reg.types import Cameras

WEB = Path(__file__).with_name("web")
MOST_COLUMNS = 48
"""WebGL2 promises 256 vectors of uniforms; a column takes 4."""


@dataclass(frozen=True)
class Playback:
    """Codes over time that the page plays in a loop."""

    codes: Float[Tensor, "T dim"]
    fps: float
    poses: Float[Tensor, "T 4 4"] | None = None
    """How the head is turned and moved from rest, rigid and in the frame and unit of the basis."""


def save_player(
    path: str | Path,
    basis: Basis,
    cameras: Mapping[str, Cameras] | None = None,
    track: Playback | None = None,
    *,
    title: str = "avatar",
    near: float | None = None,
) -> None:
    """Writes the page, which draws as `render` does what Baked makes of a code.

    `cameras` are in the frame of the basis; without any it looks at the head from the front.

    Raises:
        InputError: too many columns for WebGL2, or a track whose codes have other channels.
    """
    if basis.rank > MOST_COLUMNS:
        raise InputError(
            f"{path}: a page holds at most {MOST_COLUMNS} columns, got {basis.rank}: bake with a lower rank"
        )
    if track is not None and track.codes.shape[1] != len(basis.channels):
        raise InputError(
            f"{path}: expected a track of {len(basis.channels)} channels, got codes of {track.codes.shape[1]}"
        )
    scene, rows = scene_of(basis.reference, cameras or {"": front_camera(basis)}, title, near)
    scene |= {"basis": _basis_data(basis), "channels": _channels(basis)}
    scene |= {"track": None if track is None else _track_data(track)}
    write_page(
        path,
        web_text("page.html"),
        title=html.escape(title),
        style=web_text("style.css") + _text("player.css"),
        script="\n".join([*map(web_text, SCRIPTS), _text("basis.js"), _text("player.js")]),
        keys=keys_of(cameras),
        extra=Template(_text("drive.html")).substitute(basis=compressed_words(basis_words(basis))),
        viewer="Player",
        scene=as_json(scene),
        splats=compressed_words(rows),
    )


def front_camera(basis: Basis) -> Cameras:
    """In front of the face, as high as its middle."""
    means = basis.reference.means.double()
    middle = means.median(0).values
    reach = float((means - middle).norm(dim=1).quantile(0.9))
    eye = middle + middle.new_tensor([0, 0, 4.5 * reach])
    return Cameras.look_at(eye, middle, middle.new_tensor([0, 1, 0]), 0.65, 720, 720)


def basis_words(basis: Basis) -> np.ndarray:
    """The columns as [N, 4 K] words: 13 bytes and 3 of zero a column, in the order of the attributes."""
    table = np.zeros((len(basis), basis.rank, 16), np.int8)
    table[:, :, :ATTRIBUTES] = basis.columns.transpose(2, 0, 1)
    return table.reshape(len(basis), -1).view("<u4")


def _basis_data(basis: Basis) -> dict[str, Any]:
    regressor = basis.regressor
    return {
        "rank": basis.rank,
        "steps": basis.scales.astype(np.float64).tolist(),
        "regressor": {
            "mean": regressor.mean.tolist(),
            "scale": regressor.scale.tolist(),
            "layers": [[weight.tolist(), bias.tolist()] for weight, bias in regressor.layers],
        },
    }


def _channels(basis: Basis) -> list[dict[str, Any]]:
    columns = (basis.neutral.tolist(), basis.lo.tolist(), basis.hi.tolist())
    return [
        {"name": name, "neutral": neutral, "lo": min(lo, neutral), "hi": max(hi, neutral)}
        for name, neutral, lo, hi in zip(basis.channels, *columns, strict=True)
    ]


def _track_data(track: Playback) -> dict[str, Any]:
    poses = None if track.poses is None else [[round(v, 6) for v in row] for row in track.poses.flatten(1).tolist()]
    codes = [[round(v, 5) for v in row] for row in track.codes.tolist()]
    return {"codes": codes, "fps": track.fps, "poses": poses}


def _text(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
