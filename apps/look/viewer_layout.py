"""The files of the original 3DGS code that viewers and editors expect: point_cloud/, cameras.json, cfg_args."""

from __future__ import annotations

import argparse
import os
import shutil
from typing import Any

import torch

from gs_reg.geometry import transform_cameras
from gs_reg.io.atomic import atomic_path

from ..runs.folder import Run
from .scene_file import StoredScene, read_scene


def write_viewer_layout(run: Run, steps: int, sh_degree: int) -> None:
    """Writes these files beside splats.ply; the copy of splats.ply is a hard link where the file system has them."""
    with atomic_path(run.path / "point_cloud" / f"iteration_{steps}" / "point_cloud.ply") as temporary:
        try:
            os.link(run.splats, temporary)
        except OSError:
            shutil.copyfile(run.splats, temporary)
    run.write_json("cameras.json", cameras_json(read_scene(run)))
    # The original writes the repr of an argparse.Namespace. The photos are not in the run, so source_path is empty.
    arguments = {"sh_degree": sh_degree, "source_path": "", "model_path": "", "images": "images", "resolution": -1}
    run.write("cfg_args", f"{argparse.Namespace(**arguments)}\n")


def cameras_json(scene: StoredScene) -> list[dict[str, Any]]:
    """Training cameras first; positions and camera-to-world rotations (OpenCV axes) in the frame of splats.ply."""
    rows = []
    for number, name in enumerate([*scene.train, *scene.test]):
        camera = transform_cameras(scene.file_from_world, scene.cameras[name].to(dtype=torch.float64))
        pose = camera.world_from_camera[0]
        rows.append(
            {
                "id": number,
                "img_name": name,
                "width": camera.width,
                "height": camera.height,
                "position": pose[:3, 3].tolist(),
                "rotation": pose[:3, :3].tolist(),
                "fx": float(camera.Ks[0, 0, 0]),
                "fy": float(camera.Ks[0, 1, 1]),
            }
        )
    return rows
