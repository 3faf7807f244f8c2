"""The picture at the top of README.md, from a run of `make demo`: python scripts/readme_picture.py RUN docs/demo.jpg"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gs_reg.apps.look.colormap import colorize, depth_range
from gs_reg.apps.look.paths import interpolate
from gs_reg.apps.look.scene_file import splats_frame, stored_splats
from gs_reg.apps.runs.folder import open_run
from gs_reg.data_tools.readers.middlebury_stereo import motorcycle_views
from gs_reg.render import render
from gs_reg.types import Cameras

GAP, BAR = 6, 30


def panels(folder: Path) -> dict[str, Tensor]:
    """Captions and pictures [H, W, 3]: both photos, a view half way between their cameras, and its depth."""
    run = open_run(folder)
    scene, photos = splats_frame(run), [view.photos[0] for view in motorcycle_views()]
    camera = interpolate(Cameras.joined([scene.cameras[name] for name in scene.train]), 3)[1]
    image = render(stored_splats(run, scene), camera, backgrounds=scene.background[None])
    depth = image.depths[0, ..., 0] / image.alphas[0, ..., 0].clamp_min(1e-6)
    colored = colorize(depth, *depth_range(depth))
    return {
        "photo 1": photos[0],
        "photo 2": photos[1],
        "half way between them: computed": image.colors[0].clamp(0, 1),
        "its depth: near is red, far is blue": colored,
    }


def main(folder: Path, out: Path, width: int = 460) -> None:
    pictures = panels(folder)
    rows, columns = divmod(len(pictures) - 1, 2)[0] + 1, 2
    height, font = round(width * 500 / 741), ImageFont.load_default(size=17)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + BAR + GAP) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, picture) in enumerate(pictures.items()):
        x, y = i % columns * (width + GAP), i // columns * (height + BAR + GAP)
        pixels = (picture * 255).round().to(torch.uint8).numpy()
        sheet.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS), (x, y))
        draw.text((x + width / 2, y + height + BAR / 2), caption, "black", font, anchor="mm")
    sheet.save(out, quality=86, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
