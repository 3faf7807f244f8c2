"""One training step on the CPU, stage by stage, on a scene of the benchmark."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg._ops.baselines import Projected, Rates, scalar_rasterizer, stage_seconds
from gs_reg.render import RenderConfig
from gs_reg.ssim import l1_and_dssim

from .scenes import BenchScene

CONFIG = RenderConfig()
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
"""`backward` includes the reduction; `rasterizer` is the time of both calls, from sort to backward, with allocation;
`lift` is one call, with maps of as many channels."""

T = TypeVar("T")
Rendered = tuple[Tensor, Tensor, list[Tensor]]
"""Image, alphas, and the state that the gradient needs."""
Gradients = tuple[Tensor, ...]
"""Of means2d, conics, opacities and features, and the absolute ones of means2d."""


@dataclass(frozen=True)
class Step:
    """The inputs of all stages."""

    scene: BenchScene
    v_image: Tensor
    v_alphas: Tensor
    photo: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.scene.cameras.width, self.scene.cameras.height

    def projection_inputs(self) -> tuple[Tensor | None, ...]:
        s = self.scene
        return s.means, s.quats, s.scales, s.opacities, None, s.cameras.viewmats, s.cameras.Ks

    def project(self) -> tuple[Tensor, ...]:
        c = CONFIG
        limits = (c.near, c.far, c.radius_clip, c.eps2d, c.alpha_min)
        return _ops.project(*self.projection_inputs(), *self.size, *limits, False, False)

    def rasterize(self, projected: tuple[Tensor, ...]) -> Rendered:
        means2d, depths, conics, opacities, shapes, radii, _ = projected
        features = self.scene.features[None]
        return _ops.rasterize(
            means2d, conics, opacities, features, None, None, shapes, depths, radii, *self.size, *_cutoffs()
        )

    def rasterize_vjp(self, projected: tuple[Tensor, ...], rendered: Rendered) -> Gradients:
        means2d, depths, _conics, _opacities, shapes, radii, _ = projected
        features, (image, _alphas, state) = self.scene.features[None], rendered
        return _ops.rasterize_vjp(
            means2d, shapes, depths, radii, features, image, state, self.v_image, self.v_alphas, *_cutoffs(), False
        )

    def lift(self, projected: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        means2d, depths, _conics, _opacities, shapes, radii, _ = projected
        return _ops.lift(means2d, shapes, depths, radii, self.v_image, *_cutoffs())

    def project_vjp(self, projected: tuple[Tensor, ...], gradients: Gradients) -> None:
        v_means2d, v_conics, v_opacities, _v_features, _ = gradients
        v_projected = (v_means2d, torch.zeros_like(v_opacities), v_conics, v_opacities)
        settings = (*self.size, CONFIG.eps2d, False, False, True)
        _ops.project_vjp(*self.projection_inputs(), projected[5], *v_projected, *settings)

    def scalar_inputs(self, projected: tuple[Tensor, ...]) -> Projected:
        """Inputs of the scalar algorithm."""
        means2d, depths, conics, opacities, _shapes, radii, _ = projected
        features = self.scene.features[None]
        return Projected(means2d, conics, opacities, depths, features, radii, *self.size, _cutoffs())


def _cutoffs() -> tuple[float, float, float]:
    return CONFIG.alpha_min, CONFIG.alpha_max, CONFIG.transmittance_min


def make_step(scene: BenchScene) -> Step:
    """A step with random gradients of image and alphas and a random photo, all from one fixed seed."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, scene.cameras.height, scene.cameras.width)
    v_image = torch.randn(*shape, scene.features.shape[1], generator=generator)
    v_alphas, photo = torch.randn(shape, generator=generator), torch.rand(*shape, 3, generator=generator)
    return Step(scene, v_image, v_alphas, photo)


def compare_with_scalar(step: Step, projected: tuple[Tensor, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """Relative L2 differences between our results and those of the scalar algorithm, and the seconds of its stages."""
    rendered = step.rasterize(projected)
    v_means2d, v_conics, v_opacities, v_features, _ = step.rasterize_vjp(projected, rendered)
    theirs, seconds = scalar_rasterizer(step.scalar_inputs(projected), step.v_image, step.v_alphas)
    ours = (*rendered[:2], v_means2d, v_conics, v_opacities, v_features)
    names = ("image", "alphas", "means2d", "conics", "opacities", "features")
    return {name: _difference(a, b) for name, a, b in zip(names, ours, theirs, strict=True)}, seconds


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30))


def run_stages(step: Step, repeats: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each stage in each run."""
    measured: dict[str, list[float]] = defaultdict(list)
    training_jobs = _training_jobs(step)
    for run in range(warm_up + repeats):
        stage_seconds()  # starts them at 0
        seconds: dict[str, float] = {}
        projected = _timed(seconds, "projection", step.project)
        rendered = _timed(seconds, "rasterizer", lambda p=projected: step.rasterize(p))
        gradients = _timed(seconds, "rasterizer", lambda p=projected, r=rendered: step.rasterize_vjp(p, r))
        inside = stage_seconds()
        inside["backward"] += inside.pop("reduction")
        _timed(seconds, "lift", lambda p=projected: step.lift(p))
        _timed(seconds, "projection backward", lambda p=projected, g=gradients: step.project_vjp(p, g))
        for stage, job in training_jobs(rendered[0]).items():
            _timed(seconds, stage, job)
        if run >= warm_up:
            for stage, value in (seconds | inside).items():
                measured[stage].append(value)
    return measured


def _timed(seconds: dict[str, float], stage: str, job: Callable[[], T]) -> T:
    """Runs the job and adds its seconds to those of the stage."""
    start = time.perf_counter()
    out = job()
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
    return out


def _training_jobs(step: Step) -> Callable[[Tensor], dict[str, Callable[[], object]]]:
    """For an image: the loss with its gradient, if it has 3 channels, and a step of Adam on the scene's parameters."""
    s = step.scene
    groups = [value.clone().requires_grad_() for value in (s.means, s.quats, s.scales, s.opacities, s.features)]
    for values in groups:
        values.grad = torch.full_like(values, 1e-3)
    optimizer = torch.optim.AdamW(groups, lr=1e-6, eps=1e-15, weight_decay=0.0, fused=True)

    def loss(image: Tensor) -> Tensor:
        image = image.detach().requires_grad_()
        l1, dssim = l1_and_dssim(image, step.photo)
        return torch.autograd.grad(0.8 * l1 + 0.2 * dssim, image)[0]

    def jobs(image: Tensor) -> dict[str, Callable[[], object]]:
        named: dict[str, Callable[[], object]] = {}
        if image.shape[-1] == 3:
            named["loss"] = lambda: loss(image)
        named["optimiser"] = lambda: optimizer.step()
        return named

    return jobs


def floors(step: Step, counts: dict[str, int], rates: Rates) -> dict[str, float]:
    """Lower bounds of the seconds of a stage: its pairs, multiply-adds or bytes read, at the rates of the bare loops.

    Pairs are counted in 4x4 blocks of pixels. Bytes written do not count, as they are written while others are read.
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
