"""One training step of the CPU rasterizer, stage by stage, on a scene of the bench."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg._ops import yardsticks
from gs_reg._ops.yardsticks import Projected, Rates
from gs_reg.optim import make_optimizer
from gs_reg.render import RenderConfig
from gs_reg.ssim import l1_and_dssim

from .scenes import BenchScene

CUTOFFS = RenderConfig()
STAGES = (
    "projection",
    "sort",
    "binning",
    "forward",
    "backward",
    "projection backward",
    "loss",
    "optimiser",
    "rasterizer",
    "lift",
)
"""`backward` holds the reduction; `rasterizer` is both calls as a whole: sort to backward, and their memory; `lift` is
one call as a whole, with maps of as many channels."""


@dataclass(frozen=True)
class Step:
    """What the stages of one scene share."""

    scene: BenchScene
    v_image: Tensor
    v_alphas: Tensor
    photo: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.scene.cameras.width, self.scene.cameras.height

    def projection_inputs(self) -> tuple[Tensor, ...]:
        s = self.scene
        return s.means, s.quats, s.scales, s.opacities, s.cameras.viewmats, s.cameras.Ks

    def project(self) -> tuple[Tensor, ...]:
        c = CUTOFFS
        limits = (c.near, c.far, c.radius_clip, c.eps2d, c.alpha_min)
        return _ops.project(*self.projection_inputs(), *self.size, *limits, False, False)

    def rasterize(self, projected: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, list[Tensor]]:
        means2d, depths, conics, opacities, shapes, radii, _ = projected
        features = self.scene.features[None]
        return _ops.rasterize(
            means2d, conics, opacities, features, None, None, shapes, depths, radii, *self.size, *_cutoffs()
        )

    def rasterize_vjp(self, projected: tuple[Tensor, ...], drawn) -> tuple[Tensor, ...]:
        means2d, depths, _conics, _opacities, shapes, radii, _ = projected
        features, (image, _alphas, state) = self.scene.features[None], drawn
        return _ops.rasterize_vjp(
            means2d, shapes, depths, radii, features, image, state, self.v_image, self.v_alphas, *_cutoffs(), False
        )

    def lift(self, projected: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        means2d, depths, _conics, _opacities, shapes, radii, _ = projected
        return _ops.lift(means2d, shapes, depths, radii, self.v_image, *_cutoffs())

    def project_vjp(self, projected: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        v_means2d, v_conics, v_opacities, _v_features, _ = gradients
        v_projected = (v_means2d, torch.zeros_like(v_opacities), v_conics, v_opacities)
        settings = (*self.size, CUTOFFS.eps2d, False, False, True)
        _ops.project_vjp(*self.projection_inputs(), projected[5], *v_projected, *settings)

    def for_scalar(self, projected: tuple[Tensor, ...]) -> Projected:
        means2d, depths, conics, opacities, _shapes, radii, _ = projected
        features = self.scene.features[None]
        return Projected(means2d, conics, opacities, depths, features, radii, *self.size, _cutoffs())


def _cutoffs() -> tuple[float, float, float]:
    return CUTOFFS.alpha_min, CUTOFFS.alpha_max, CUTOFFS.transmittance_min


def make_step(scene: BenchScene) -> Step:
    """With fixed random gradients of image and alpha, and a random photo."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, scene.cameras.height, scene.cameras.width)
    v_image = torch.randn(*shape, scene.features.shape[1], generator=generator)
    v_alphas, photo = torch.randn(shape, generator=generator), torch.rand(*shape, 3, generator=generator)
    return Step(scene, v_image, v_alphas, photo)


def differences(step: Step, projected: tuple[Tensor, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """Relative L2 differences between the scalar algorithm and ours, and the scalar algorithm's seconds."""
    drawn = step.rasterize(projected)
    v_means2d, v_conics, v_opacities, v_features, _ = step.rasterize_vjp(projected, drawn)
    theirs, seconds = yardsticks.scalar_rasterizer(step.for_scalar(projected), step.v_image, step.v_alphas)
    ours = (*drawn[:2], v_means2d, v_conics, v_opacities, v_features)
    names = ("image", "alphas", "means2d", "conics", "opacities", "features")
    return {name: _difference(a, b) for name, a, b in zip(names, ours, theirs, strict=True)}, seconds


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30))


def run_stages(step: Step, repeats: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each stage in each run."""
    found: dict[str, list[float]] = defaultdict(list)
    training = _training(step)
    for run in range(warm_up + repeats):
        yardsticks.stage_seconds()
        seconds: dict[str, float] = {}
        projected = _timed(seconds, "projection", step.project)
        drawn = _timed(seconds, "rasterizer", lambda p=projected: step.rasterize(p))
        gradients = _timed(seconds, "rasterizer", lambda p=projected, d=drawn: step.rasterize_vjp(p, d))
        own = yardsticks.stage_seconds()
        own["backward"] += own.pop("reduction")
        _timed(seconds, "lift", lambda p=projected: step.lift(p))
        _timed(seconds, "projection backward", lambda p=projected, g=gradients: step.project_vjp(p, g))
        for stage, job in training(drawn[0]).items():
            _timed(seconds, stage, job)
        if run >= warm_up:
            for stage, value in (seconds | own).items():
                found[stage].append(value)
    return found


def _timed(seconds: dict[str, float], stage: str, job: Callable):
    start = time.perf_counter()
    out = job()
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
    return out


def _training(step: Step) -> Callable[[Tensor], dict[str, Callable[[], object]]]:
    """Loss with its gradient, where the image is one, and Adam over the scene's parameters."""
    s = step.scene
    groups = [value.clone().requires_grad_() for value in (s.means, s.quats, s.scales, s.opacities, s.features)]
    for values in groups:
        values.grad = torch.full_like(values, 1e-3)
    optimizer = make_optimizer([{"params": [values], "lr": 1e-6} for values in groups])

    def loss(image: Tensor) -> Tensor:
        image = image.detach().requires_grad_()
        l1, dssim = l1_and_dssim(image, step.photo)
        return torch.autograd.grad(0.8 * l1 + 0.2 * dssim, image)[0]

    def jobs(image: Tensor) -> dict[str, Callable[[], object]]:
        of_image = {"loss": lambda: loss(image)} if image.shape[-1] == 3 else {}
        return of_image | {"optimiser": optimizer.step}

    return jobs


def floors(step: Step, counts: dict[str, int], rates: Rates) -> dict[str, float]:
    """The least seconds of a stage: pairs of 4x4 blocks, multiply-adds or bytes read, at the bare loops' rates.

    Bytes written are left out: memory takes them while it is being read.
    """
    count, channels = step.scene.features.shape
    pixels = step.size[0] * step.size[1]
    out = {
        "projection": 4 * count * 11 / rates.bytes,
        "projection backward": 4 * count * (11 + 2 + 7) / rates.bytes,
        "optimiser": 4 * count * (11 + channels) * 4 / rates.bytes,
    }
    if channels == 3:
        forward, backward = counts["evaluated"] / rates.forward_pairs, counts["evaluated"] / rates.backward_pairs
        loss = max(2 * 176 * 3 * pixels / rates.flops, 24 * pixels / rates.bytes)
        out |= {"forward": forward, "backward": backward, "rasterizer": forward + backward, "loss": loss}
    return out
