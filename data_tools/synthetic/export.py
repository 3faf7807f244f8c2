"""Writes a synthetic scene in nerfstudio's layout, so that every program can be run on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from .scene import SyntheticScene


def write_transforms_json(scene: SyntheticScene, folder: Path) -> Path:
    """Writes transforms.json with its train/test split, images/*.png and depths/*.npy (float32 z); returns the JSON.

    The depths are ground truth to measure against: the JSON does not name them, so nobody trains on them by accident.
    """
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "depths").mkdir(exist_ok=True)
    frames = []
    for view in scene.views:
        (name,) = view.names
        pixels = (view.photos[0] * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        assert view.depths is not None
        np.save(folder / "depths" / f"{name}.npy", view.depths[0].numpy())
        pose = view.cameras.viewmats[0].double().inverse()
        pose[:3, 1:3] *= -1  # nerfstudio's cameras look along -z, y up
        frames.append({"file_path": f"images/{name}.png", "transform_matrix": pose.tolist()})
    camera = scene.views[0].cameras
    K = camera.Ks[0].tolist()
    content = {
        "camera_model": "OPENCV",
        "fl_x": K[0][0],
        "fl_y": K[1][1],
        "cx": K[0][2],
        "cy": K[1][2],
        "w": camera.width,
        "h": camera.height,
        "frames": frames,
        "train_filenames": [f"images/{name}.png" for name in scene.train_names],
        "val_filenames": [f"images/{name}.png" for name in scene.test_names],
        "test_filenames": [f"images/{name}.png" for name in scene.test_names],
    }
    path = folder / "transforms.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
