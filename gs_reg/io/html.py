"""One web page that holds the splats and a viewer, opens from disk and asks for nothing from outside (viser's)."""

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
    """Writes the page; it opens at `camera` (the first of them), else in front of the scene, with -y up.

    The viewer draws view-independent colour only: degrees of the harmonics above 0 are left out.

    Raises:
        InputError: there are no splats.
        MissingPart: viser is not installed.
    """
    splats = finite_rows(splats.detach().to("cpu", torch.float32), Path(path))
    if len(splats) == 0:
        raise InputError(f"{path}: there are no splats to show")
    if splats.sh_degree > 0:
        log.warning("%s: the page shows no view-dependent colour; degrees 1 to %d are left out", path, splats.sh_degree)
    # viser announces its server on stdout, which belongs to the caller.
    with contextlib.redirect_stdout(io.StringIO()):
        page = _page(splats, camera, dark)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(splats: Splats, camera: Cameras | None, dark: bool) -> str:
    try:
        import viser  # pyright: ignore[reportMissingImports] - optional
    except ImportError as error:
        raise MissingPart(f"HTML pages need viser: pip install viser ({error})") from error

    # The serializer is fed by a server: this one listens to this machine only, and stops at once.
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        server.scene.set_up_direction("-y")
        half = quat_to_rotmat(splats.quats) * splats.scales[:, None]
        server.scene.add_gaussian_splats(
            "/splats",
            centers=splats.means.numpy(),
            covariances=(half @ half.mT).numpy(),
            rgbs=sh_to_rgb(splats.sh[:, 0]).clamp(0, 1).numpy(),
            opacities=splats.opacities[:, None].numpy(),
        )
        position, target, fov = _start(splats, camera)
        server.initial_camera.position = position
        server.initial_camera.look_at = target
        server.initial_camera.up = (0.0, -1.0, 0.0)
        server.initial_camera.fov = fov
        return server.get_scene_serializer().as_html(dark_mode=dark)
    finally:
        server.stop()


def _start(splats: Splats, camera: Cameras | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Position, target and vertical field of view (radians) of the first look."""
    middle = splats.means.double().median(0).values.numpy()
    if camera is not None:
        pose = camera.world_from_camera[0].double().cpu().numpy()
        depth = max(float((middle - pose[:3, 3]) @ pose[:3, 2]), 1e-3)
        fov = 2 * np.arctan(camera.height / 2 / float(camera.Ks[0, 1, 1]))
        return pose[:3, 3], pose[:3, 3] + depth * pose[:3, 2], float(fov)
    reach = float((splats.means.double() - torch.from_numpy(middle)).norm(dim=1).quantile(0.9))
    return middle + np.array([0, -0.3, -2.5]) * max(reach, 1e-6), middle, float(np.radians(50))
