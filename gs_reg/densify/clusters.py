"""Density control of avatars: each expression cluster has its own scores, so what one alone shows is not averaged away.

The gradient of a Gaussian, the number of views of it and its largest blended weight are kept for each cluster of
expression codes; its score is that of the cluster that asks for it most. A mouth that is open in one cluster of eight
grows as fast as a cheek.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.densify.control import DensityControl
from gs_reg.densify.observation import Observation
from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.neighbors import morton_order
from gs_reg.render import RenderConfig, lift, project
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Render, Splats

EARLY = 2.5
"""Power of the share of the changes that are still to come, by which the number of Gaussians is behind the cap: those
that are there early have long to learn."""
SPLIT = 1.6
"""Factor between the longest axis of a Gaussian and that of the two that it is split into."""
EVEN = 0.1
"""Logarithm of the ratio of axes up to which they are of about one length."""
APART = math.sqrt(1 - 1 / SPLIT**2)
"""Distance of each of the two from where it was, in that axis: together they have its covariance."""
SUMS = ("gradients", "views", "largest", "weights", "drawn")
LIFTED = RenderConfig()
"""Settings under which weights are measured."""


@dataclass(frozen=True)
class ClusterConfig:
    """Lengths are in units of the model's frame; of avatars 0.25 m."""

    start: float = 0.05
    """Share of the run before which nothing changes."""
    stop: float = 0.6
    """Share of the run after which nothing changes."""
    every: int = 1000
    """Steps from one change to the next."""
    cap: int = 250_000
    """Largest number of Gaussians."""
    score: float = 5e-4
    """Mean absolute gradient of means2d in one cluster, in units of half the image size and of the loss of one view,
    above which a Gaussian is cloned or split."""
    split_scale: float = 0.004
    """Longest axes from here on are split, shorter ones cloned."""
    prune_scale: float = 0.08
    """Gaussians with a longer axis are removed."""
    prune_weight: float = 0.005
    """Gaussians are removed whose weight in no pixel of any view came to this."""
    recycle: float = 0.01
    """Share of Gaussians, of the smallest weights, that make room for others where the cap is reached."""
    views: int = 8
    """Views of a Gaussian in a cluster from which that cluster counts."""
    weigh_every: int = 5
    """Steps from one measure of the weights to the next, which costs about a drawing without gradients."""

    def __post_init__(self) -> None:
        for name in ("every", "cap", "views", "weigh_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.start <= self.stop <= 1:
            raise InputError(f"start, stop: expected 0 <= start <= stop <= 1, got {self.start} and {self.stop}")


class ClusterControl(DensityControl):
    """Clones, splits and removes by sums since the last change, whose columns are clusters of frames."""

    def __init__(self, config: ClusterConfig, clusters: Int[Tensor, "T"], seed: int = 0):
        """`clusters` has the cluster of each frame; all in one is control by mean scores."""
        self.config, self.clusters, self.seed = config, clusters.tolist(), seed
        self.count = int(clusters.max()) + 1
        self._sums: dict[str, Tensor] = {}
        self._weighed: tuple[Tensor, Tensor] | None = None
        """Largest weights and sums of weights in the views of this step; None where they were not measured."""
        self._steps = 0

    @property
    def absgrad(self) -> bool:
        return True

    def tensors(self) -> Mapping[str, Tensor]:
        return self._sums | {"steps": torch.tensor(self._steps)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises InputError: sums of another number of clusters, or that are none."""
        sums = {name: tensors[name] for name in SUMS if name in tensors}
        if tensors and ("steps" not in tensors or len(sums) not in (0, len(SUMS))):
            raise InputError(f"density control: expected steps and {', '.join(SUMS)}, got {', '.join(tensors)}")
        for name, value in sums.items():
            if not isinstance(value, Tensor) or (name != "weights" and value.shape[-1:] != (self.count,)):
                raise InputError(f"density control: {name}: expected a column for each of {self.count} clusters")
        self._sums, self._steps = sums, int(tensors["steps"]) if tensors else 0

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        image.means2d.retain_grad()
        self._weighed = None
        if self._steps % self.config.weigh_every == 0:
            with torch.no_grad():
                maps = cameras.viewmats.new_zeros(len(cameras), cameras.height, cameras.width, 1)
                lifted = lift(project(splats.detach(), cameras, LIFTED), maps)
            self._weighed = lifted.largest.amax(0), lifted.weights.sum(0)
        self._steps += 1

    @torch.no_grad()
    def step_post_backward(self, observation: Observation) -> Edit | None:
        """
        Raises:
            ValueError: the views have no frame, or one that has no cluster.
        """
        o, c = observation, self.config
        if o.frame is None or not 0 <= o.frame < len(self.clusters):
            raise ValueError(f"frame: expected 0 to {len(self.clusters) - 1}, which have clusters, got {o.frame}")
        self._add(o, self.clusters[o.frame])
        first, last = round(c.start * o.steps), round(c.stop * o.steps)
        if not (first <= o.step < last and (o.step + 1) % c.every == 0):
            return None
        share = (o.step + 1 - first) / max(last - first, 1)
        edit = _edit(o.splats, self._sums, c, share, torch.Generator().manual_seed(1_000_003 * self.seed + o.step))
        self._sums = {}
        return edit

    def _add(self, o: Observation, cluster: int) -> None:
        """Adds what this step's views showed."""
        count, visible, device = len(o.splats), o.image.visible, o.splats.means.device
        self._sums = {name: value.to(device) for name, value in self._sums.items()}  # a checkpoint's are on the CPU
        if not self._sums:
            zeros = o.splats.means.new_zeros
            self._sums = {name: zeros(count, self.count) for name in ("gradients", "views", "largest")}
            self._sums |= {"weights": zeros(count), "drawn": zeros(self.count)}
        absolute = getattr(o.image.means2d, "absgrad", None)
        if absolute is not None:
            # the loss is a mean over the C views
            unit = absolute.new_tensor(o.size) / 2 * len(visible)
            self._sums["gradients"][:, cluster] += ((absolute * unit).norm(dim=-1) * visible).sum(0)
        self._sums["views"][:, cluster] += visible.sum(0)
        self._sums["drawn"][cluster] += len(visible)
        if self._weighed is not None:
            largest, weights = self._weighed
            self._sums["largest"][:, cluster] = torch.maximum(self._sums["largest"][:, cluster], largest)
            self._sums["weights"] += weights


def _edit(
    splats: Splats, sums: Mapping[str, Tensor], config: ClusterConfig, share: float, random: torch.Generator
) -> Edit | None:
    """Who goes and who has children; None where nothing changes."""
    gone = _useless(splats, sums, config)
    if bool(gone.all()):
        return None  # a cloud that nothing shows is left as it is
    scores = _scores(sums, config.views).masked_fill(gone, 0)
    wanting, kept = scores > config.score, len(splats) - int(gone.sum())
    if kept >= (1 - config.recycle) * config.cap:
        beyond = max(kept + int(wanting.sum()) - config.cap, 0)
        gone = gone | _idlest(sums["weights"], gone | wanting, min(int(config.recycle * kept), beyond))
        kept = len(splats) - int(gone.sum())
    room = max(int((1 - max(1 - share, 0.0) ** EARLY) * config.cap) - kept, 0)
    parents = scores.argsort(descending=True, stable=True)[: min(int(wanting.sum()), room)]
    if not len(parents) and not bool(gone.any()):
        return None
    return _with_children(splats, gone, parents, config, random)


def _idlest(weights: Float[Tensor, "N"], spared: Bool[Tensor, "N"], count: int) -> Bool[Tensor, "N"]:
    """At most `count` rows of the smallest weights, none of those that are spared."""
    chosen = torch.zeros_like(spared)
    chosen[weights.masked_fill(spared, torch.inf).argsort(stable=True)[:count]] = True
    return chosen & ~spared


def _useless(splats: Splats, sums: Mapping[str, Tensor], config: ClusterConfig) -> Bool[Tensor, "N"]:
    """Too large, or not to be seen; what a cluster shows that was not drawn yet is not known."""
    gone = splats.log_scales.amax(1).exp() > config.prune_scale
    if bool((sums["drawn"] >= config.views).all()):
        gone = gone | (sums["largest"].amax(1) < config.prune_weight) | (sums["views"].sum(1) == 0)
    return gone


def _scores(sums: Mapping[str, Tensor], views: int) -> Float[Tensor, "N"]:
    """Mean gradient in the cluster in which it is largest."""
    means = sums["gradients"] / sums["views"].clamp_min(1)
    return (means * (sums["views"] >= views)).amax(1)


def _with_children(
    splats: Splats,
    gone: Bool[Tensor, "N"],
    parents: Int[Tensor, "P"],
    config: ClusterConfig,
    random: torch.Generator,
) -> Edit:
    """The rows that stay and one more for each parent: its copy; of large ones both are shorter and moved."""
    device = splats.means.device
    rows = torch.cat([(~gone).nonzero()[:, 0], parents])
    fresh = torch.zeros(len(rows), dtype=torch.bool, device=device)
    fresh[len(rows) - len(parents) :] = True
    large = splats.log_scales.amax(1).exp() >= config.split_scale
    split = torch.zeros(len(splats), dtype=torch.bool, device=device)
    split[parents] = large[parents]
    halves = split[rows]
    means, log_scales = splats.means[rows], splats.log_scales[rows].clone()
    # of axes of about one length any may be the one, else all discs would split along the same
    noise = EVEN * torch.rand(log_scales.shape, generator=random).to(log_scales)
    longest = (log_scales + noise).argmax(1, keepdim=True)
    axis = quat_to_rotmat(splats.quats[rows]).gather(2, longest[:, None].expand(-1, 3, 1))[..., 0]
    side = torch.where(fresh, 1.0, -1.0).to(means)[:, None] * APART * log_scales.gather(1, longest).exp()
    means = torch.where(halves[:, None], means + side * axis, means)
    shorter = log_scales.scatter_add(1, longest, torch.full_like(means[:, :1], -math.log(SPLIT)))
    log_scales = torch.where(halves[:, None], shorter, log_scales)
    twins = torch.zeros_like(split).index_fill(0, parents, True)[rows] & ~halves
    logits = torch.where(twins, _halved(splats.opacity_logits[rows]), splats.opacity_logits[rows])
    order = morton_order(means)
    patch = {"means": means[order], "log_scales": log_scales[order], "opacity_logits": logits[order]}
    return Edit(rows[order], (fresh | halves)[order], patch)


def _halved(logits: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Logits at which two Gaussians in one place are as opaque as one was."""
    clear = (-logits).sigmoid().sqrt()  # what a single one of the two lets through
    return (1 - clear).clamp_min(1e-6).log() - clear.clamp_min(1e-6).log()


def cluster_codes(codes: Float[Tensor, "T D"], count: int = 8, seed: int = 0, rounds: int = 50) -> Int[Tensor, "T"]:
    """The cluster of each code by k-means++ on standardised channels; fewer clusters where codes coincide.

    Raises:
        InputError: a code is not finite; names the frame.
    """
    codes = codes.detach().double().cpu()
    bad = (~codes.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise InputError(f"codes: frame {int(bad[0])} has a value that is not finite")
    spread = codes.std(0, correction=0)
    points = (codes - codes.mean(0)) / torch.where(spread > 1e-9, spread, 1.0)
    random = torch.Generator().manual_seed(seed)
    centers = points[torch.randint(len(points), (1,), generator=random)]
    while len(centers) < count:
        nearest = torch.cdist(points, centers).amin(1).square()
        if float(nearest.sum()) == 0:
            break
        centers = torch.cat([centers, points[torch.multinomial(nearest, 1, generator=random)]])
    for _ in range(rounds):
        found = torch.cdist(points, centers).argmin(1)
        groups = [points[found == k] for k in range(len(centers))]
        means = torch.stack([g.mean(0) if len(g) else old for g, old in zip(groups, centers, strict=True)])
        if torch.equal(means, centers):
            break
        centers = means
    return torch.unique(torch.cdist(points, centers).argmin(1), return_inverse=True)[1]


def balanced_frame(step: int, frames: Int[Tensor, "F"], clusters: Int[Tensor, "F"], seed: int = 0) -> int:
    """The frame of a step: in every other one a cluster and then a frame of it, else any frame; by step alone."""
    random = torch.Generator().manual_seed(1_000_003 * seed + step)
    if step % 2:
        kinds = clusters.unique()
        kind = kinds[torch.randint(len(kinds), (1,), generator=random)]
        frames = frames[clusters == kind]
    return int(frames[torch.randint(len(frames), (1,), generator=random)])
