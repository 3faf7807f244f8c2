"""The scenes of `gs-reg bench` on a GPU: one drawing by our operators, and the same by gsplat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg.apps.bench.scenes import BenchScene
from gs_reg.render import RenderConfig

LEAVES = ("means", "quats", "scales", "opacities", "features")
CONFIG = RenderConfig()
CUTOFFS = (CONFIG.alpha_min, CONFIG.alpha_max, CONFIG.transmittance_min)

Draw = Callable[["Inputs"], Tensor]


@dataclass(frozen=True)
class Inputs:
    """A scene as leaves on a device, with the gradient that comes from above."""

    leaf: dict[str, Tensor]
    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int
    upstream: Tensor

    @classmethod
    def of(cls, scene: BenchScene, device: str, dtype: torch.dtype = torch.float32) -> Inputs:
        leaf = {name: getattr(scene, name).detach().to(device, dtype, copy=True).requires_grad_() for name in LEAVES}
        cameras = scene.cameras.to(device, dtype)
        shape = (1, cameras.height, cameras.width, scene.features.shape[1])
        upstream = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
        return cls(leaf, cameras.viewmats, cameras.Ks, cameras.width, cameras.height, upstream)

    def copied(self) -> Inputs:
        """The same with leaves of its own, for what changes them."""
        leaf = {name: value.detach().clone().requires_grad_() for name, value in self.leaf.items()}
        return replace(self, leaf=leaf)

    def gradients(self, image: Tensor, left_out: Tensor | None = None) -> dict[str, Tensor]:
        """Of the image times `upstream`, pixels in the mask `left_out` [1, H, W] not counted. The image's graph stays
        where there is a mask."""
        upstream = self.upstream
        if left_out is not None:
            upstream = upstream.masked_fill(left_out[..., None].to(upstream.device), 0)
        found = torch.autograd.grad(image, list(self.leaf.values()), upstream, retain_graph=left_out is not None)
        return dict(zip(LEAVES, found, strict=True))


def native(inputs: Inputs) -> Tensor:
    """[1, H, W, D]"""
    return native_with_counts(inputs)[0]


def native_with_counts(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Image, radii [1, N, 2], and visible splats and intersections [2] on the host."""
    image, radii, state = native_with_state(inputs)
    return image, radii, state[-1]


def native_with_state(
    inputs: Inputs, most: tuple[int, int] = (0, 0), order: Tensor | None = None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Image, radii and state; with memory for `most` visible splats and intersections nothing waits for the GPU. Drawn
    in the order of depths, or of `order` [1, N] where it is positive."""
    means2d, depths, conics, opacities, shapes, radii, _ = projected(inputs)
    if order is not None:
        depths = torch.where(order > 0, order, depths.detach())
    image, state = rasterized(inputs, means2d, depths, conics, opacities, shapes, radii, most)
    return image, radii, state


def projected(inputs: Inputs) -> tuple[Tensor, ...]:
    """What `_ops.project` returns."""
    limits = (CONFIG.near, CONFIG.far, CONFIG.radius_clip, CONFIG.eps2d, CONFIG.alpha_min, False, False)
    arguments = [inputs.leaf[name] for name in LEAVES[:4]]
    return _ops.project(*arguments, None, inputs.viewmats, inputs.Ks, inputs.width, inputs.height, *limits)


def rasterized(
    inputs: Inputs,
    means2d: Tensor,
    depths: Tensor,
    conics: Tensor,
    opacities: Tensor,
    shapes: Tensor,
    radii: Tensor,
    most: tuple[int, int],
) -> tuple[Tensor, list[Tensor]]:
    """Image and state."""
    features, size = inputs.leaf["features"][None], (inputs.width, inputs.height)
    image, _alphas, state = _ops.rasterize(
        means2d, conics, opacities, features, None, None, shapes, depths, radii, *size, *CUTOFFS, *most
    )
    return image, state


def depths_of(inputs: Inputs) -> Tensor:
    """[1, N] as projection rounds them; 0 where a Gaussian is not seen."""
    with torch.no_grad():
        return projected(inputs)[1]


def by_gsplat(packed: bool) -> Draw:
    def draw(inputs: Inputs) -> Tensor:
        from gsplat import rasterization

        arguments = [inputs.leaf[name] for name in LEAVES]
        return rasterization(*arguments, inputs.viewmats, inputs.Ks, inputs.width, inputs.height, packed=packed)[0]

    return draw
