"""A run's folder as the viewer reads it, of two crossing sheets, without a training."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gs_reg.io import save_splats
from gs_reg.io.frames import transform_splats
from gs_reg.render import render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

WIDTH, HEIGHT = 80, 60
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
SCALE, SHIFT = 2.0, (10.0, 0.0, -3.0)
BACKGROUND = (0.1, 0.2, 0.1)


def sheet(z: float, slope: float, rgb: tuple[float, float, float], side: int = 30) -> Splats:
    """A solid sheet z + slope x, |x| and |y| up to 1, of round flat splats."""
    x, y = (axis.flatten() for axis in torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij"))
    half, n = -math.atan(slope) / 2, len(x)
    return Splats(
        means=torch.stack([x, y, z + slope * x], 1),
        quats=torch.tensor([math.cos(half), 0, math.sin(half), 0]).repeat(n, 1),
        log_scales=torch.tensor([0.08, 0.08, 1e-3]).log().repeat(n, 1),
        opacity_logits=torch.full((n,), 9.0),
        sh=rgb_to_sh(torch.tensor(rgb)).repeat(n, 1, 1),
    )


def crossing() -> Splats:
    """Seen from the origin, red is nearer on the left and blue on the right; no two splats are equally far."""
    return Splats.joined([sheet(4.0, 0.8, RED), sheet(4.01, -0.8, BLUE)])


def camera(x: float = 0.0, y: float = 0.0) -> Cameras:
    """Its principal point is not in the middle of the picture."""
    up = torch.tensor([0.0, -1, 0])
    at = Cameras.look_at(torch.tensor([x, y, 0]), torch.tensor([0, 0, 4.0]), up, math.radians(40), WIDTH, HEIGHT)
    return Cameras(at.viewmats, at.Ks + torch.tensor([[0, 0, 3.0], [0, 0, -2], [0, 0, 0]]), WIDTH, HEIGHT)


CAMERAS = {"a.png": camera(), "b.png": camera(1.0, -0.5), "c.png": camera(-1.0)}


def drawn(splats: Splats, at: Cameras, background=BACKGROUND) -> np.ndarray:
    """[H, W, 3] from 0 to 1, by the library."""
    return render(splats, at, backgrounds=torch.tensor([background])).colors[0].clamp(0, 1).numpy()


def write_run(folder: Path, splats: Splats | None = None, offset: tuple[float, float, float] | None = None) -> Path:
    """a.png and b.png are training photos, c.png is held out; photos are negatives of what splats draw.

    Half of each photo's pixels are seen by 2 training photos, those right of them by 1.
    """
    splats = crossing() if splats is None else splats
    file_from_world = torch.diag(torch.tensor([SCALE, SCALE, SCALE, 1.0], dtype=torch.float64))
    file_from_world[:3, 3] = torch.tensor(SHIFT)
    source = file_from_world.clone()
    source[:3, 3] += torch.tensor(offset or (0.0, 0.0, 0.0), dtype=torch.float64)
    for name in ("renders/train", "renders/test", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "config.yaml").write_text("schema: 1\n")
    scene = {
        "frame": "local" if offset else "input",
        "offset": list(offset or (0, 0, 0)),
        "source_from_world": source.tolist(),
        "background": BACKGROUND,
        "train": ["a.png", "b.png"],
        "test": ["c.png"],
        "cameras": {
            name: {"viewmat": at.viewmats[0].tolist(), "K": at.Ks[0].tolist(), "width": WIDTH, "height": HEIGHT}
            for name, at in CAMERAS.items()
        },
    }
    (folder / "scene.json").write_text(json.dumps(scene))
    save_splats(folder / "splats.ply", transform_splats(file_from_world, splats), offset=offset)
    counts = np.full((HEIGHT, WIDTH), 2, np.uint16)
    counts[:, WIDTH // 2 :] = 1
    for name, at in CAMERAS.items():
        split = "test" if name == "c.png" else "train"
        picture = Image.fromarray((255 * (1 - drawn(splats, at))).round().astype(np.uint8))
        picture.save(folder / "renders" / split / f"{Path(name).stem}_photo.png")
        if split == "train":
            np.save(folder / "masks" / f"{Path(name).stem}_views.npy", counts)
    return folder
