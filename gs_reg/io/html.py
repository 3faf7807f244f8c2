"""One web page that holds the splats and what draws them (io/web); it opens from disk and asks for nothing outside."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.opening import some_of, up_direction, viewing_distance, whole_scene
from gs_reg.io.ply import finite_rows
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Cameras, Splats

log = logging.getLogger(__name__)

WEB = Path(__file__).with_name("web")
SCRIPTS = ("decode.js", "sort.js", "camera.js", "draw.js", "controls.js", "main.js")
DEGREE = 3
"""Highest degree of the harmonics that the page draws."""
LEVELS = 511
"""A coefficient of degree 1 and above is one of -511 to 511 steps of the largest of its degree, in 10 bits."""


def save_html(
    path: str | Path,
    splats: Splats,
    cameras: Mapping[str, Cameras] | None = None,
    *,
    title: str = "splats",
    near: float | None = None,
) -> None:
    """Writes the page, which draws as `render` does.

    It opens at the first of `cameras` and steps through all; without any it looks at the whole scene, with -y up.
    Splats nearer than `near` are not drawn; None = a hundredth of the distance of what the first camera sees.

    Raises:
        InputError: there are no splats.
    """
    splats = finite_rows(splats.detach().to("cpu", torch.float32), Path(path))
    if len(splats) == 0:
        raise InputError(f"{path}: there are no splats to show")
    if splats.sh_degree > DEGREE:
        log.warning("%s: the page draws harmonics up to degree %d; higher ones are left out", path, DEGREE)
    scene, rows = scene_of(splats, cameras, title, near)
    write_page(
        path,
        web_text("page.html"),
        title=html.escape(title),
        style=web_text("style.css"),
        script="\n".join(map(web_text, SCRIPTS)),
        extra="",
        viewer="Viewer",
        keys=keys_of(cameras),
        scene=as_json(scene),
        splats=compressed_words(rows),
    )


def scene_of(
    splats: Splats, cameras: Mapping[str, Cameras] | None, title: str, near: float | None
) -> tuple[dict[str, Any], np.ndarray]:
    """What the page's script reads of finite splats and cameras, and the splats as rows of words."""
    some = some_of(splats.means)
    cameras = cameras or {"": whole_scene(some)}
    distances = [viewing_distance(some, camera) for camera in cameras.values()]
    rows, ranges = packed_rows(splats)
    return {
        "title": title,
        "count": len(rows),
        "words": rows.shape[1],
        **ranges,
        "near": distances[0] / 100 if near is None else near,
        "up": up_direction(list(cameras.values())),
        "cameras": [_camera(*item, distance) for item, distance in zip(cameras.items(), distances, strict=True)],
    }, rows


def write_page(path: str | Path, template: str, **parts: str) -> None:
    """Writes a page from its template and the parts it names."""
    page = Template(template).substitute(parts)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def as_json(data: Any) -> str:
    """JSON to lie in a script element: names are data, and none may end the element."""
    return json.dumps(data).replace("<", "\\u003c")


def keys_of(cameras: Mapping[str, Cameras] | None) -> str:
    """The help on keys that go to photos' cameras, where there are any to go to."""
    cameras = cameras or {}
    return ("n, p: photos' cameras; " if len(cameras) > 1 else "") + ("r: first camera;" if cameras else "")


def packed_rows(splats: Splats) -> tuple[np.ndarray, dict[str, Any]]:
    """The splats as [N, 8 + coefficients] words of 32 bits, and the ranges that their integers span.

    Words 0-2 are the position as float32; 3 red and green and the low half of 4 blue, as float16 (0.5 + C0 sh_0); the
    high half of 4 the opacity of 65535; then, in halves, three modified Rodrigues parameters q_xyz / (1 + q_w) of
    32767, and the logarithms of the scales from `logScale[0]` over `logScale[1]` of 65535. From word 8 on, one
    coefficient of the harmonics a word, red lowest, 10 bits each; whole texels of 4 words.
    """
    degree = min(splats.sh_degree, DEGREE)
    count, terms = len(splats), (degree + 1) ** 2 - 1
    logs = splats.log_scales.double()
    logs = logs.clamp_min(float(logs.max()) - 60)  # below that it is a flat splat, however it was written
    low, span = float(logs.min()), max(float(logs.max() - logs.min()), 1e-6)
    quats = torch.nn.functional.normalize(splats.quats.double(), dim=1)
    quats = torch.where(quats[:, :1] < 0, -quats, quats)  # the same rotation; so no parameter is beyond 1

    rows = np.zeros((count, 8 + -(-terms // 4) * 4), "<u4")
    rows[:, :3] = splats.means.numpy().view("<u4")
    halves = rows[:, 3:8].view("<u2")
    halves[:, :3] = sh_to_rgb(splats.sh[:, 0]).clamp(-6e4, 6e4).half().numpy().view("<u2")
    halves[:, 3] = _whole(65535 * splats.opacities).astype("<u2")
    halves[:, 4:7] = _whole(32767 * quats[:, 1:] / (1 + quats[:, :1])).astype("<i2").view("<u2")
    halves[:, 7:] = _whole(65535 * (logs - low) / span).astype("<u2")
    scale = np.zeros(DEGREE)
    for d in range(1, degree + 1):
        part = splats.sh[:, d * d : (d + 1) ** 2].double()
        scale[d - 1] = max(float(part.abs().max()), 1e-9)
        steps = (_whole(LEVELS * part / scale[d - 1]) + LEVELS).astype("<u4")
        rows[:, 7 + d * d : 7 + (d + 1) ** 2] = steps[..., 0] | steps[..., 1] << 10 | steps[..., 2] << 20
    return rows, {"degree": degree, "logScale": [low, span], "harmonicScale": scale.tolist()}


def _whole(values: torch.Tensor) -> np.ndarray:
    return values.round().numpy()


def compressed_words(rows: np.ndarray) -> str:
    """base64 of gzip of byte 0 of all rows, then byte 1 of all ..., which packs an eighth better than row by row."""
    planes = np.ascontiguousarray(rows.view(np.uint8).T)
    return base64.b64encode(gzip.compress(planes.data, compresslevel=1, mtime=0)).decode("ascii")


def web_text(name: str) -> str:
    """A file of io/web."""
    return (WEB / name).read_text(encoding="utf-8")


def _camera(name: str, camera: Cameras, distance: float) -> dict[str, Any]:
    K = camera.Ks[0].double()
    return {
        "name": name,
        "viewmat": camera.viewmats[0].double().flatten().tolist(),
        "K": [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])],
        "size": [camera.width, camera.height],
        "distance": distance,
    }
