"""A self-contained HTML page with the splats and viser's viewer; it opens from disk, without a network."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path

import numpy as np
import torch

from gs_reg.errors import InputError, MissingPart
from gs_reg.io.atomic import atomic_path
from gs_reg.io.ply import finite_rows
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Cameras, Splats

log = logging.getLogger(__name__)


def save_html(path: str | Path, splats: Splats, camera: Cameras | None = None, *, dark: bool = False) -> None:
    """Writes the page; it opens at the first of `camera`, else in front of the scene, with -y up.

    The viewer shows view-independent colour only: SH degrees above 0 are dropped with a warning.

    Raises:
        InputError: there are no splats.
        MissingPart: viser is not installed.
    """
    splats = finite_rows(splats.detach().to("cpu", torch.float32), Path(path))
    if len(splats) == 0:
        raise InputError(f"{path}: there are no splats to show")
    if splats.sh_degree > 0:
        log.warning("%s: the page shows no view-dependent colour; degrees 1 to %d are left out", path, splats.sh_degree)
    # viser prints the address of its server on stdout, where callers print results (JSON)
    with contextlib.redirect_stdout(io.StringIO()):
        page = _page(splats, camera, dark)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(splats: Splats, camera: Cameras | None, dark: bool) -> str:
    try:
        import viser  # pyright: ignore[reportMissingImports] - optional
    except ImportError as error:
        raise MissingPart(f"HTML pages need viser: pip install viser ({error})") from error

    # viser's serializer needs a server: this one is local only, on a free port, and stops at once.
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        server.scene.set_up_direction("-y")
        root = quat_to_rotmat(splats.quats) * splats.scales[:, None]  # covariance = root root^T
        server.scene.add_gaussian_splats(
            "/splats",
            centers=splats.means.numpy(),
            covariances=(root @ root.mT).numpy(),
            rgbs=sh_to_rgb(splats.sh[:, 0]).clamp(0, 1).numpy(),
            opacities=splats.opacities[:, None].numpy(),
        )
        position, target, fov = _initial_camera(splats, camera)
        server.initial_camera.position = position
        server.initial_camera.look_at = target
        server.initial_camera.up = (0.0, -1.0, 0.0)
        server.initial_camera.fov = fov
        return server.get_scene_serializer().as_html(dark_mode=dark)
    finally:
        server.stop()


def _initial_camera(splats: Splats, camera: Cameras | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Position, look-at point and vertical field of view (radians) of the camera with which the page opens."""
    middle = splats.means.double().median(0).values.numpy()  # the median: outliers lie far out
    if camera is not None:
        pose = camera.world_from_camera[0].double().cpu().numpy()
        depth = max(float((middle - pose[:3, 3]) @ pose[:3, 2]), 1e-3)
        fov = 2 * np.arctan(camera.height / 2 / float(camera.Ks[0, 1, 1]))
        return pose[:3, 3], pose[:3, 3] + depth * pose[:3, 2], float(fov)
    radius = float((splats.means.double() - torch.from_numpy(middle)).norm(dim=1).quantile(0.9))
    return middle + np.array([0, -0.3, -2.5]) * max(radius, 1e-6), middle, float(np.radians(50))
