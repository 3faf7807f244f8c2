"""What gsplat itself draws of the golden scenes, with gradients, recorded on a GPU by scripts/gpu_check.sh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_reg.render import render

from ..render.golden import SCENES, Golden, config, inputs, stacked
from ..render.scenes import leaves, rebuilt

FILE = Path(__file__).parent / "golden_gsplat.npz"


def image_and_gradients(golden: Golden, backend: str, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The stacked image, and the gradients of a fixed linear function of it, on the CPU."""
    splats, cameras, features, background = inputs(golden)
    leaf = {k: v.detach().to(device, dtype).requires_grad_() for k, v in leaves(splats, cameras).items()}
    drawn = (*rebuilt(leaf, cameras.to(device, dtype)), config(golden, backend))
    background = None if background is None else background.to(device, dtype)
    image = stacked(render(*drawn, features=features.to(device, dtype), backgrounds=background))
    upstream = torch.randn(image.shape, generator=torch.Generator().manual_seed(golden.seed), dtype=torch.float64)
    gradients = torch.autograd.grad(image, list(leaf.values()), upstream.to(device, dtype))
    found = {"image": image.detach()} | dict(zip(leaf, gradients, strict=True))
    return {name: tensor.cpu() for name, tensor in found.items()}


def record(path: Path) -> None:
    """All scenes by gsplat in float32, with its version."""
    from gsplat import __version__

    arrays = {"version": np.array(__version__)}
    for name, golden in SCENES.items():
        for part, tensor in image_and_gradients(golden, "gsplat", "cuda", torch.float32).items():
            arrays[f"{name}.{part}"] = tensor.numpy()
    np.savez_compressed(path, **arrays)
