"""Eight small scenes whose float64 reference images are stored; `python -m tests.render.golden` writes them again."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Render, Splats

from .scenes import random_scene

FILE = Path(__file__).parent / "golden.npz"


@dataclass(frozen=True)
class Golden:
    seed: int
    count: int = 40
    width: int = 48
    height: int = 36
    mode: str = "classic"
    features: int = 0
    background: bool = False
    thin: bool = False
    near: float = 0.01


SCENES = {
    "overlap": Golden(1, count=120),
    "thin": Golden(2, thin=True),
    "tile_borders": Golden(3, width=33, height=31),
    "near_plane": Golden(4, near=1.5),
    "antialiased": Golden(5, mode="antialiased"),
    "features": Golden(6, features=2),
    "background": Golden(7, background=True),
    "single": Golden(8, count=1, width=16, height=16),
}


def inputs(golden: Golden) -> tuple[Splats, Cameras, torch.Tensor, torch.Tensor | None]:
    """Splats, camera, features and background, in double precision."""
    splats, cameras = random_scene(golden.count, golden.width, golden.height, cameras=1, seed=golden.seed)
    generator = torch.Generator().manual_seed(golden.seed)
    features = torch.rand(golden.count, golden.features, generator=generator, dtype=torch.float64)
    if golden.thin:
        splats = replace(splats, log_scales=splats.log_scales + torch.tensor([1.0, -4.0, -4.0]))
    if golden.count == 1:
        splats = replace(splats, means=torch.tensor([[0.0, 0, 3]], dtype=torch.float64))
    return splats, cameras, features, torch.full((1, 3), 0.3, dtype=torch.float64) if golden.background else None


def config(golden: Golden, backend: str) -> RenderConfig:
    return RenderConfig(backend=backend, mode=golden.mode, near=golden.near)  # type: ignore[arg-type]


def stacked(out: Render) -> torch.Tensor:
    """Colour, alpha, expected depth and features as one tensor."""
    return torch.cat([out.colors, out.alphas, out.expected_depths, out.features], -1)


def draw(golden: Golden, backend: str, dtype: torch.dtype) -> torch.Tensor:
    splats, cameras, features, background = inputs(golden)
    background = None if background is None else background.to(dtype)
    drawn = splats.to(dtype=dtype), cameras.to(dtype=dtype), config(golden, backend)
    return stacked(render(*drawn, features=features.to(dtype), backgrounds=background))


def main() -> None:
    images = {name: draw(golden, "reference", torch.float64).float().numpy() for name, golden in SCENES.items()}
    np.savez_compressed(FILE, **images)


if __name__ == "__main__":
    main()
