"""What a bake loses: millimetres of centres, decibels of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.bake.basis import Deformed
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats


@dataclass(frozen=True)
class BakeError:
    mm_mean: float
    mm_p95: float
    mm_max: float
    """Of centres, weighted by opacity."""
    psnr: float
    """Of baked pictures against those of the avatar, the mean over pictures."""
    lost_db: float | None
    """PSNR against photos, the avatar's less the baked one's; None without photos."""

    @property
    def words(self) -> str:
        lost = "" if self.lost_db is None else f", {self.lost_db:.2f} dB lost against photos"
        return (
            f"baked: centres {self.mm_mean:.3f} mm off (95 %: {self.mm_p95:.3f}, most: {self.mm_max:.3f}), "
            f"{self.psnr:.1f} dB of the avatar's own pictures{lost}"
        )

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


@torch.no_grad()
def bake_error(
    baked: Deformed,
    deformed: Deformed,
    codes: Float[Tensor, "S dim"],
    cameras: Callable[[int], Cameras],
    unit_m: float,
    photos: Callable[[int], Float[Tensor, "C H W 3"]] | None = None,
    background: float = 1.0,
    config: RenderConfig = RenderConfig(),
) -> BakeError:
    """Over codes that the bake should not have seen; `cameras(i)` and `photos(i)` are those of code i, the cameras in
    the head's own frame."""
    distances, weights, psnr, lost = [], [], [], []
    for i, code in enumerate(codes):
        clouds = [baked(code), deformed(code).detach()]
        distances.append((clouds[0].means - clouds[1].means.cpu()).norm(dim=1) * unit_m * 1e3)
        weights.append(clouds[1].opacities.cpu())
        pictures = [_drawn(cloud, cameras(i), background, config) for cloud in clouds]
        psnr.append(_psnr(*pictures))
        if photos is not None:
            lost.append(_psnr(pictures[1], photos(i)) - _psnr(pictures[0], photos(i)))
    distance, weight = torch.cat(distances).double(), torch.cat(weights).double()
    order = distance.argsort()
    share = weight[order].cumsum(0) / weight.sum()
    return BakeError(
        float((distance * weight).sum() / weight.sum()),
        float(distance[order][torch.searchsorted(share, 0.95)]),
        float(distance.max()),
        sum(psnr) / len(psnr),
        sum(lost) / len(lost) if lost else None,
    )


def _drawn(splats: Splats, cameras: Cameras, background: float, config: RenderConfig) -> Float[Tensor, "C H W 3"]:
    splats = splats.to("cpu")
    backgrounds = torch.full((len(cameras), 3), background)
    return render(splats, cameras, config=config, backgrounds=backgrounds).colors.clamp(0, 1)


def _psnr(a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"]) -> float:
    """The mean over pictures."""
    errors = (a - b).double().square().flatten(1).mean(1).clamp_min(1e-10)
    return float((-10 * errors.log10()).mean()) if len(errors) else math.nan
