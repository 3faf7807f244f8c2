"""Writes edits of procedural objects, and of plant.splat where it is given, with pictures made by recolouring:

python scripts/batch_edits.py FOLDER [plant.splat] && gs-reg batch run FOLDER/jobs.yaml
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from gs_reg.apps import cli
from gs_reg.apps.edit.scene import SceneConfig, open_scene
from gs_reg.data_tools.synthetic.objects.colors import COLORS, NAMES, random_paint
from gs_reg.data_tools.synthetic.objects.families import PARTS, make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.io import save_splats
from gs_reg.parts.decision import masks

OBJECTS = {"mug": ("handle", "body"), "lamp": ("base", "shade"), "chair": ("seat", "back rest")}
OBJECTS |= {"bottle": ("label", "body"), "teapot": ("lid", "body")}
TINTS = ("green", "purple", "blue")
SIZE, VIEWS, GAUSSIANS = 96, 8, 3000
PLANT = {"object": "a potted plant", "teacher": "clicks", "size": 256, "views": 12}
POT = "pot=orbit_000:117,200 pot=orbit_003:122,205 pot=orbit_003:147,178 pot=orbit_006:138,200 pot=orbit_006:112,180 "
POT += (
    "pot=orbit_009:136,205 pot=orbit_010:122,215 !pot=orbit_009:136,162 !pot=orbit_010:122,170 !pot=orbit_008:128,178"
)
LEAF = "leaf=orbit_002:131,79,184,116 !leaf=orbit_002:127,100 !leaf=orbit_002:190,95 !leaf=orbit_007:140,108"


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def tinted(picture: np.ndarray, mask: np.ndarray, color: str) -> np.ndarray:
    """A picture with its part in another colour, as light and as dark as it was."""
    light = picture.mean(-1, keepdims=True)
    shade = light / max(1.0, np.quantile(light[mask], 0.8)) if mask.any() else light
    return np.where(mask[..., None], np.array(COLORS[color]) * shade, picture).clip(0, 255).astype(np.uint8)


def procedural(root: Path, family: str) -> list[dict]:
    """An object with true masks of its parts, and four edits of it."""
    item = make_object(family, 1)
    look = random_paint(family, np.random.default_rng(3), grey=0.0, finished=0.0)
    splats = splats_of(item, look, GAUSSIANS)
    file = root / f"{family}.ply"
    save_splats(file, splats)
    views = open_scene(file, SceneConfig(None, "y", VIEWS, SIZE), root / "x", torch.device("cpu")).views
    shared = {"data": f"{family}/{family}.ply", "object": f"a {family}", "parts": ",".join(PARTS[family])}
    shared |= {"teacher": f"masks:{family}/masks", "up": "y", "size": SIZE, "views": VIEWS}
    jobs = []
    for row, part in enumerate(PARTS[family], 1):
        others = [color for color in TINTS if color != NAMES[look.colors[row - 1]]]
        colors = others[:2] if part in OBJECTS[family] else []
        words = {c: f"{part.replace(' ', '-')}-{c}" for c in colors}
        drawn = masks(splats, views.cameras, splats.extra["part"] == row).numpy()
        for name, mask, photo in zip(views.names, drawn, (views.photos.numpy() * 255).astype(np.uint8), strict=True):
            save(root / "masks" / name / f"{part}.png", mask.astype(np.uint8) * 255)
            for color, word in words.items():
                save(root / word / f"{name}.png", tinted(photo, mask, color))
        for color, word in words.items():
            changed = {"part": part, "edit": f"a {color} {part}", "editor": f"folder:{family}/{word}"}
            jobs.append({"id": f"{family}-{word}", **shared, **changed})
    return jobs


def captured(root: Path, plant: Path) -> list[dict]:
    """The plant: its pot in two colours, a leaf that goes, and a part that is not there: this one fails."""
    shared, pot = {"data": str(plant.resolve()), **PLANT}, {"parts": "pot", "clicks": POT.split(), "part": "pot"}
    flags = {**PLANT, "parts": "pot", "part": "pot", "preset": "fast", "device": "cpu", "out": root / "plant"}
    words = [f"--{key}={value}" for key, value in flags.items()]
    if cli.main(["edit", "views", str(plant), *words, "--clicks", *POT.split()]):
        sys.exit("the views of the plant could not be written")
    jobs = []
    for color in ("blue", "yellow"):
        for path in (root / "plant" / "pictures").glob("*.png"):
            mask = np.asarray(Image.open(root / "plant" / "pictures_masks" / path.name).convert("L")) > 127
            save(root / f"pot-{color}" / path.name, tinted(np.asarray(Image.open(path).convert("RGB")), mask, color))
        changed = {"labels": "plant", "edit": f"a {color} pot", "editor": f"folder:pot-{color}"}
        jobs.append({"id": f"plant-pot-{color}", **shared, **pot, **changed})
    leaf = {"parts": "leaf", "clicks": LEAF.split(), "part": "leaf", "remove": True}
    jobs.append({"id": "plant-leaf-gone", **shared, **leaf})
    saucer = {"parts": "saucer", "clicks": ["saucer=orbit_000:3,3"], "part": "saucer", "remove": True}
    return [*jobs, {"id": "plant-saucer-gone", **shared, **saucer}]


def write(folder: Path, families: Iterable[str], plants: Iterable[str]) -> int:
    """The job file with all that it names; returns the number of edits."""
    jobs = [job for family in families for job in procedural(folder / family, family)]
    jobs += [job for plant in plants for job in captured(folder, Path(plant))]
    whole = {"kind": "edit", "defaults": {"preset": "fast", "device": "cpu"}, "resources": {"threads": 1}}
    (folder / "jobs.yaml").write_text(yaml.safe_dump(whole | {"jobs": jobs}, sort_keys=False))
    return len(jobs)


if __name__ == "__main__":
    count = write(Path(sys.argv[1]), OBJECTS, sys.argv[2:])
    print(f"{count} edits: gs-reg batch run {sys.argv[1]}/jobs.yaml")
