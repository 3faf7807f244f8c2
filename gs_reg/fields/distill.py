"""Distillation of a prior into the coarse field of one person, with latent vectors of the canonical cloud."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.errors import InputError
from gs_reg.fields.closed import solve
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.latents import first_latents
from gs_reg.fields.pool import Pool, Subject, make_pool, offsets_of
from gs_reg.optim import OptimConfig, Optimizer, ParameterGroup
from gs_reg.priors.types import ExpressionPrior, SurfaceSample

KNEE = 0.004
"""Error in units (1 mm) from which the losses grow linearly, and which they are relative to."""
BESIDE = 0.1
"""How far outside the cloud's box, at least, points are that should not move."""


@dataclass(frozen=True)
class DistillConfig:
    steps: int = 30_000
    """Steps of Adam; where there are bumps, the only step is their closed form."""
    lr: float = 3e-3
    """Learning rate; it falls to a hundredth along a cosine."""
    lr_latent: float = 0.0
    """Learning rate of the latent vectors; 0 = they stay as they start."""
    linear: bool | None = None
    """Offsets linear in the code, as blendshapes are: exact for such priors, and several times as fast in every frame;
    default: where the prior is linear itself, turning eyeballs aside."""
    bumps: int = 1536
    """Local bumps that a linear field consists of, of a prior that knows the way from canonical to posed; 0 = none, it
    has hidden layers and takes steps of Adam."""
    solve_points: int = 24_576
    """Points at which bumps are fitted."""
    width: int = 128
    """Units of a hidden layer of the coarse field, or features that its bumps are mixed to."""
    depth: int = 5
    """Hidden layers of the coarse field."""
    octaves: int = 6
    """Octaves of sines by which the field reads positions."""
    points: int = 512
    """Points of a step."""
    codes: int = 24
    """Codes of a step, under each of which a linear field moves all its points; other fields move as many points in all
    under 8 codes."""
    pool: int = 16_384
    """Points that the prior is asked about at a time."""
    pool_codes: int = 96
    """Codes that it is asked about at a time."""
    refresh: int = 500
    """Steps that share one pool of points and codes."""
    unlabelled: float = 0.05
    """Share of points whose latent vector is 0."""
    neutral: float = 0.1
    """Weight of the motion under the neutral code, in mm."""
    far: float = 0.01
    """Weight of the squared motion of points outside the head, in mm."""
    fold: float = 1.0
    """Weight of folds: squared shortfall of the Jacobian's determinant below 0.1."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "points", "codes", "pool", "pool_codes", "refresh", "solve_points", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"distill: {name}: expected at least 1, got {getattr(self, name)}")
        for name in ("bumps", "lr", "lr_latent", "neutral", "far", "fold"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"distill: {name}: expected a finite number of at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class DistillStep:
    number: int
    losses: dict[str, float]
    seconds: float


def coarse_field(
    prior: ExpressionPrior,
    ident: Float[Tensor, "I"] | None,
    codes: Float[Tensor, "T D"],
    groups: tuple[int, ...] | None = None,
    config: DistillConfig = DistillConfig(),
) -> CoarseField:
    """A fresh coarse field for a prior, with the statistics of its codes; its weights depend on the config's seed."""
    linear = is_linear(prior, ident) if config.linear is None else config.linear
    bumps = bumps_of(prior, ident, codes, config, linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        field = CoarseField(
            prior.dim,
            groups,
            width=config.width,
            depth=config.depth,
            octaves=config.octaves,
            linear=linear,
            bumps=bumps,
        )
    field.set_codes(*code_statistics(prior, codes, linear))
    return field


def bumps_of(
    prior: ExpressionPrior,
    ident: Float[Tensor, "I"] | None,
    codes: Float[Tensor, "T D"],
    config: DistillConfig,
    linear: bool | None = None,
) -> int:
    """How many bumps the field of a prior consists of, whose weights are a closed form; 0 = it takes steps of Adam."""
    linear = config.linear if linear is None else linear
    if not config.bumps or linear is False or not (linear or is_linear(prior, ident)):
        return 0
    sample = prior.surface(ident, 1, 0).to(dtype=torch.float32)
    known = offsets_of(Subject(prior, sample, codes, ident), sample, codes[:1]) is not None
    return config.bumps if known else 0


def code_statistics(
    prior: ExpressionPrior, codes: Float[Tensor, "T D"], linear: bool = False
) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
    """Mean and scale of each channel; for coefficients in [-1, 1], and for linear fields, the neutral code and 1."""
    neutral = prior.neutral.to(codes)
    if linear or bool((prior.lo >= -1).all() and (prior.hi <= 1).all()):
        return neutral, torch.ones_like(neutral)
    scale = codes.std(0, correction=0)
    return codes.mean(0), torch.where(scale > 1e-6, scale, torch.ones_like(scale))


@torch.no_grad()
def is_linear(prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, seed: int = 0) -> bool:
    """Whether offsets of 90 % of the prior's surface are sums over channels: compared on random codes, to 0.01 mm.

    Eyeballs that turn are a fifteenth of the ICT head; what they do beside a linear motion is left to the detail field.
    """
    sample = prior.surface(ident, 512, seed)
    sample = SurfaceSample(sample.points, sample.normals, sample.parts)
    random = torch.Generator().manual_seed(seed)
    neutral, lo, hi = (bound.float().cpu() for bound in (prior.neutral, prior.lo, prior.hi))
    ends = lo + (hi - lo) * torch.rand(2, 8, prior.dim, generator=random)
    middle = ends.mean(0)
    codes = torch.cat([*ends, middle, neutral[None]]).to(sample.points)
    offsets = offsets_of(Subject(prior, sample, codes, ident), sample, codes)
    if offsets is None:
        return False
    one, two, mean, none = offsets.split([8, 8, 8, 1], dim=1)
    bend = torch.maximum(((one + two) / 2 - mean).abs().amax((1, 2)), none.abs().amax((1, 2)))
    return bool((bend < 4e-5).float().mean() >= 0.9)


class Distillation:
    """The steps of a distillation; iterate over it to do the remaining ones.

    Each step depends on the seed, its number and the tensors alone, so that `tensors` and `load` resume it to the same
    bits on the CPU.
    """

    def __init__(
        self,
        field: CoarseField,
        cloud: SurfaceSample,
        prior: ExpressionPrior,
        codes: Float[Tensor, "T D"],
        ident: Float[Tensor, "I"] | None = None,
        config: DistillConfig = DistillConfig(),
    ):
        self.field, self.config = field, config
        self.subject = Subject(prior, cloud, codes, ident)
        size = field.arguments["latent"]
        self.latents = nn.Parameter(first_latents(cloud.parts, size, config.seed).to(codes))
        groups = [ParameterGroup("coarse", list(field.parameters()), config.lr, self._schedule)]
        if config.lr_latent:
            groups.append(ParameterGroup("latents", [self.latents], config.lr_latent, self._schedule))
        self.latents.requires_grad_(bool(config.lr_latent))
        self.optimizer, self.step = Optimizer(groups, OptimConfig()), 0
        """Number of steps done."""
        self.total = config.steps if field.bumps is None else 1
        """Number of steps to do."""
        self._pool: tuple[int, Pool] | None = None

    @staticmethod
    def _schedule(progress: float) -> float:
        return 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2

    def __iter__(self) -> Iterator[DistillStep]:
        """Does the remaining steps.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        while self.step < self.total:
            start, number = time.perf_counter(), self.step
            if self.field.bumps is not None:
                c = self.config
                left = solve(self.field, self.latents.detach(), self.subject, c.solve_points, c.seed)
                self.step = 1
                yield DistillStep(number, {"left_mm": left}, time.perf_counter() - start)
                continue
            losses = self._losses(number)
            total = torch.stack(list(losses.values())).sum()
            if not bool(total.isfinite()):
                raise FloatingPointError(f"distill: step {number}: the loss is not finite; try a lower learning rate")
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step(number, self.config.steps)
            self.step = number + 1
            values = {name: float(value.detach()) for name, value in losses.items()}
            yield DistillStep(number, values, time.perf_counter() - start)

    def tensors(self) -> dict[str, Mapping[str, Any]]:
        """All that `load` needs, beside `step`."""
        model = {**self.field.state_dict(prefix="field."), "latents": self.latents.detach()}
        return {"model": model, "optimizer": self.optimizer.tensors()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Restores what `tensors` returned after that many steps.

        Raises:
            ValueError: the tensors are of another field or cloud.
        """
        model = dict(tensors["model"])
        latents = model.pop("latents")
        if latents.shape != self.latents.shape:
            raise ValueError(f"latents: expected {list(self.latents.shape)}, got {list(latents.shape)}")
        self.latents.copy_(latents)
        self.field.load_state_dict({name.removeprefix("field."): value for name, value in model.items()})
        self.optimizer.load(tensors["optimizer"])
        self.step = step

    def _pool_of(self, step: int) -> Pool:
        number = step // self.config.refresh
        if self._pool is None or self._pool[0] != number:
            c = self.config
            self._pool = number, make_pool(self.subject, c.pool, c.pool_codes, 1_000_003 * c.seed + number)
        return self._pool[1]

    def _losses(self, step: int) -> dict[str, Tensor]:
        c, pool, subject = self.config, self._pool_of(step), self.subject
        random = torch.Generator().manual_seed(1_000_003 * c.seed + step)
        count, codes = c.points, min(c.codes, len(pool.codes))
        if not self.field.linear:
            codes = min(8, codes)
            count = max(1, count // codes)
        rows = torch.randint(len(pool.rows), (count,), generator=random)
        chosen = torch.randperm(len(pool.codes), generator=random)[:codes]
        known = (torch.rand(count, 1, generator=random) >= c.unlabelled).to(self.latents)
        x, z = pool.points.points[rows], pool.codes[chosen]
        latent, parts = self.latents[pool.rows[rows]] * known, pool.points.parts[rows]
        offsets = self.field(x, latent, None, z)
        if pool.offsets is not None:
            losses = {"direct": _huber(offsets - pool.offsets[rows][:, chosen].transpose(0, 1))}
        else:
            losses = self._both_ways(x, latent, parts.expand(codes, -1), z, offsets, random)
        if c.neutral and not self.field.linear:
            still = self.field(x, latent, None, subject.prior.neutral.to(z))
            losses["neutral"] = c.neutral * (still / KNEE).norm(dim=-1).mean()
        some = slice(0, max(1, count // 20))
        if c.far:
            outside = self._beside(len(x[some]), random)
            far = self.field(outside, latent[some], None, z)
            losses["far"] = c.far * (far / KNEE).square().mean()
        some = slice(0, max(1, count // 50))
        if c.fold:
            jacobian = self.field.with_jacobian(x[some], latent[some], None, z[0], constant=False)[1]
            losses["fold"] = c.fold * (0.1 - torch.linalg.det(jacobian)).clamp_min(0).square().mean()
        return losses

    def _both_ways(
        self, x: Tensor, latent: Tensor, parts: Tensor, z: Tensor, offsets: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses of a prior that knows only the way back: there and back, and back and there from other points."""
        prior, ident = self.subject.prior, self.subject.ident
        found = prior.backward(x + offsets, z, ident, parts)
        if found is None:
            raise ValueError(f"{prior.name}: a prior must know one direction at least")
        noise = 0.01 * torch.randn(offsets.shape, generator=random).to(offsets)
        posed = (x + offsets).detach() + noise
        with torch.no_grad():
            back = prior.backward(posed, z, ident, parts)
        assert back is not None
        forth = torch.stack([self.field(b, latent, None, code) for b, code in zip(back[0], z, strict=True)])
        return {"cycle": _huber(found[0] - x), "direct": _huber(back[0] + forth - posed)}

    def _beside(self, count: int, random: torch.Generator) -> Float[Tensor, "n 3"]:
        """Points outside the cloud's box: pushed out along one axis."""
        lo, hi = self.subject.cloud.points.amin(0), self.subject.cloud.points.amax(0)
        points = lo + (hi - lo) * torch.rand(count, 3, generator=random).to(lo)
        axis = torch.randint(3, (count,), generator=random)
        beyond = BESIDE + 0.3 * torch.rand(count, generator=random).to(lo)
        upper = torch.rand(count, generator=random) < 0.5
        place = torch.where(upper.to(lo.device), hi[axis] + beyond, lo[axis] - beyond)
        return points.index_put((torch.arange(count), axis), place)


def distill(
    field: CoarseField,
    cloud: SurfaceSample,
    prior: ExpressionPrior,
    codes: Float[Tensor, "T D"],
    ident: Float[Tensor, "I"] | None = None,
    config: DistillConfig = DistillConfig(),
) -> Float[Tensor, "N L"]:
    """Trains the field in place; returns the latent vectors of the cloud."""
    run = Distillation(field, cloud, prior, codes, ident, config)
    for _ in run:
        pass
    return run.latents.detach()


def _huber(error: Float[Tensor, "*B 3"]) -> Float[Tensor, ""]:
    """In units of the knee, of the length of the error."""
    length = (error / KNEE).square().sum(-1)
    return torch.where(length < 1, 0.5 * length, length.clamp_min(1e-12).sqrt() - 0.5).mean()
