"""Photos with cameras in a format of your own, to splats: python docs/examples/own_reader.py FOLDER

A reader writes transforms.json beside the photos: then every command takes the folder, and so does read_dataset().
"""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from gs_reg.apps.scenes import reconstruct
from gs_reg.apps.scenes.config import Config
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.io import load_splats


def make_photos(folder: Path) -> None:
    """Stands for your data: photos, and cameras.csv with focal lengths in pixels, positions and viewing directions."""
    folder.mkdir(parents=True)
    with open(folder / "cameras.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "focal", "x", "y", "z", "look_x", "look_y", "look_z"])
        for view in box_and_sphere(Rig(width=96, height=72, held_out=0)).views:
            Image.fromarray((view.photos[0] * 255).byte().numpy()).save(folder / f"{view.names[0]}.png")
            pose = view.cameras.world_from_camera[0]
            look = pose[:3, 2].tolist()
            rows.writerow([f"{view.names[0]}.png", float(view.cameras.Ks[0, 0, 0]), *pose[:3, 3].tolist(), *look])


def read_own_format(folder: Path) -> None:
    """cameras.csv to transforms.json, whose cameras look along -z with y up; ours look along z with y down."""
    frames = []
    for row in csv.DictReader((folder / "cameras.csv").read_text().splitlines()):
        position, look = (np.array([float(row[p + axis]) for axis in "xyz"]) for p in ("", "look_"))
        right = np.cross([0, 1, 0], look)  # level cameras, in a world whose y points down
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(look, right), look, position], axis=1)
        width, height = Image.open(folder / row["file"]).size
        camera = {"fl_x": float(row["focal"]), "cx": width / 2, "cy": height / 2, "w": width, "h": height}
        frames.append(
            {"file_path": row["file"], "transform_matrix": (pose @ np.diag([1, -1, -1, 1])).tolist(), **camera}
        )
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}, indent=1))


def main(folder: Path) -> int:
    photos, run = folder / "photos", folder / "run"
    make_photos(photos)
    read_own_format(photos)
    dataset = read_dataset(photos)
    print(f"{len(dataset.frames)} photos, to train on: {', '.join(dataset.train)}")
    config = Config.of_preset("ci")  # `best` for quality; a stop after "report" adds figures, video and a page
    code = reconstruct.main(replace(config, data=str(photos), out=run, stop_after="train"))
    print(f"{len(load_splats(run / 'splats.ply'))} splats in {run / 'splats.ply'}")
    return code


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
