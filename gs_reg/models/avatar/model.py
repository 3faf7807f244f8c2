"""A head avatar: canonical Gaussians with latent vectors, moved by a coarse field and changed by a detail field.

The canonical frame is that of the expression prior, in its units; where the head is in a frame is in the cameras, which
`fit` moves (see `Posed`). So several cameras of one frame are one call, and directions of view are the head's own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.fields.jacobian import from_neighbours
from gs_reg.fields.slits import cut_slits
from gs_reg.fields.still import farthest, moving
from gs_reg.models.avatar.compose import composed, creased
from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.models.avatar.groups import groups_of
from gs_reg.models.avatar.head_pose import corrected, placed, rotated_sh, rotation_of
from gs_reg.models.avatar.motion import Motion, Ready, ready
from gs_reg.models.avatar.start import columns_of_later, filled, first_tensors, seen_colors
from gs_reg.models.screen_cnn import ScreenCnn
from gs_reg.neighbors import Graph, gaussian_weights, make_graph, nearest
from gs_reg.optim import ParameterGroup
from gs_reg.priors.types import Track
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats, Views

COLUMNS = (
    "means",
    "quats",
    "log_scales",
    "opacity_logits",
    "dc",
    "sh_rest",
    "latent",
    "gate_logits",
    "screen_channels",
    "stretch_colors",
)
"""Parameters with a row for each Gaussian."""
MARKS = ("distilled_latent", "part", "moving", "lively")
"""Buffers with a row for each Gaussian."""
NOISE = 0.01
"""Standard deviation of what latent vectors of new Gaussians differ by."""


class Avatar(nn.Module):
    means: Tensor
    quats: Tensor
    log_scales: Tensor
    opacity_logits: Tensor
    dc: Tensor
    sh_rest: Tensor
    latent: Tensor
    gate_logits: Tensor
    screen_channels: Tensor
    """What the screen-space network sees beside colours; no columns without it."""
    stretch_colors: Tensor
    """What is added to a Gaussian's colour where its skin is compressed, and where it is stretched, see `creased`."""
    distilled_latent: Tensor
    """Latent vectors as they were distilled."""
    part: Tensor
    """What of a head each Gaussian began as, see `Part`."""
    moving: Tensor
    """False for rows that skip both fields."""
    lively: Tensor
    """How far the detail field may change each Gaussian, from 0 where no probe moves it to 1; see `rebuild`."""
    neighbors: Tensor
    neighbor_weights: Tensor
    code_corrections: Tensor
    pose_corrections: Tensor
    tracked: Tensor
    """Codes of all frames."""
    poses: Tensor
    """world_from_canonical of all frames."""
    neutral: Tensor
    probes: Tensor
    """Training codes that lie far apart, by which slits and still Gaussians are found."""
    age: Tensor
    """Steps done."""
    built: Tensor
    """Age when the graph was made."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        coarse: CoarseField | None,
        detail: DetailField | None,
        config: AvatarConfig = AvatarConfig(),
        screen: ScreenCnn | None = None,
    ):
        """From its tensors; see `start` for a fresh one, and `loaded` for one from a state dict."""
        super().__init__()
        self.config, self.coarse, self.detail, self.screen = config, coarse, detail, screen
        self.distilled = None if coarse is None else copy.deepcopy(coarse).requires_grad_(False)
        for name, value in tensors.items():
            if name in COLUMNS or name.endswith("_corrections"):
                self.register_parameter(name, nn.Parameter(value.clone()))
            else:
                self.register_buffer(name, value.clone())
        self._graph: tuple[Tensor, Graph] | None = None

    @classmethod
    def start(
        cls,
        cloud: Splats,
        latent: Float[Tensor, "N L"],
        coarse: CoarseField | None,
        detail: DetailField | None,
        track: Track,
        neutral: Float[Tensor, "D"],
        probes: Float[Tensor, "P D"],
        config: AvatarConfig = AvatarConfig(),
        screen: ScreenCnn | None = None,
    ) -> Avatar:
        """From a canonical cloud (see `start_cloud`) and the latent vectors with which the coarse field was distilled.

        `track` has codes and poses of all frames, `probes` are training codes that lie far apart (see
        `farthest_codes`).
        """
        tensors = first_tensors(cloud, latent, track, config, 0 if screen is None else screen.channels)
        tensors |= {"neutral": neutral.to(cloud.means), "probes": probes}
        avatar = cls(tensors, coarse, detail, config, screen)
        avatar.rebuild()
        return avatar

    @classmethod
    def loaded(
        cls,
        state: Mapping[str, Tensor],
        coarse: CoarseField | None,
        detail: DetailField | None,
        config: AvatarConfig = AvatarConfig(),
        screen: ScreenCnn | None = None,
    ) -> Avatar:
        """From a state dict; the networks, which must be built as they were, get their weights from it."""
        state = {**columns_of_later(state), **state}
        tensors = {name: value for name, value in state.items() if "." not in name}
        avatar = cls(tensors, coarse, detail, config, screen)
        avatar.load_state_dict(dict(state))
        return avatar

    @torch.no_grad()
    def paint(self, *frames: Views) -> None:
        """Gives all Gaussians the colours that the first frame shows; those hidden there have them of the next that
        shows them, as teeth do of an open mouth. The first should be neutral, and all have alphas."""
        colors = torch.full_like(self.means, torch.nan)
        for views in frames:
            seen = seen_colors(self(views), replace(views, cameras=self.cameras(views)))
            colors = torch.where(colors.isnan(), seen, colors)
        self.dc.copy_(rgb_to_sh(filled(colors, self.means, frames[0].names))[:, None])
        self.sh_rest.zero_()

    def forward(self, views: Views) -> Splats:
        """The splats of the views' frame, in the canonical frame."""
        frame = self._frame(views)
        return self.deformed(self.code(frame), self.pose(frame) if self.config.sh_frame == "world" else None)

    def deformed(
        self, code: Float[Tensor, "D"], pose: Float[Tensor, "4 4"] | None = None, prepared: Ready | None = None
    ) -> Splats:
        """The splats under an expression code, in the canonical frame.

        The pose says how the head is turned, which matters to colours where `sh_frame` is world. Who plays an avatar
        hands over what `prepare` has made, once, under no_grad.
        """
        base = self.canonical()
        if self.coarse is None and not self.has_details:
            return self._colored(base, pose)
        splats = composed(base, self.motion(code, prepared or self.prepare()))
        if self.has_details and self.stretch_colors.numel():
            splats = creased(splats, self.stretch_colors)
        return self._colored(splats, pose)

    def _colored(self, splats: Splats, pose: Float[Tensor, "4 4"] | None) -> Splats:
        if pose is None or self.config.sh_frame == "head":
            return splats
        return replace(splats, sh=rotated_sh(splats.sh, rotation_of(pose.detach()).T))

    def posed(self, code: Float[Tensor, "D"], pose: Float[Tensor, "4 4"]) -> Splats:
        """The splats under an expression code in the world, where the head has a pose, for exports."""
        return placed(self.deformed(code, pose), pose)

    def cameras(self, views: Views) -> Cameras:
        """The cameras of the views in the canonical frame, which has the frame's pose in the world."""
        return views.cameras.moved(self.pose(self._frame(views)))

    def canonical(self) -> Splats:
        sh = torch.cat([self.dc, self.sh_rest], dim=1) if self.sh_rest.numel() else self.dc
        extra = {"latent": self.latent, "screen": self.screen_channels}
        extra = {name: value for name, value in extra.items() if value.numel()}
        return Splats(self.means, self.quats, self.log_scales, self.opacity_logits, sh, extra)

    def prepare(self) -> Ready:
        """What the fields read of the rows that move, and what the coarse field makes of it before it knows a code."""
        rows = None if bool(self.moving.all()) else self.moving.nonzero()[:, 0]
        exact = self.config.jacobian == "exact"
        columns = (self.means, self.latent, self.label, self.gates(), self.lively)
        return ready(rows, *columns, self.coarse, exact)

    @property
    def labelled(self) -> bool:
        """Whether the coarse field reads latent vectors as labels of parts alone, as one of bumps does."""
        return self.coarse is not None and self.coarse.bumps is not None

    @property
    def label(self) -> Float[Tensor, "N L"]:
        """What the coarse field reads as latent vectors: trained ones would leave the bumps of their part."""
        return self.distilled_latent if self.labelled else self.latent

    def motion(self, code: Float[Tensor, "D"], prepared: Ready) -> Motion:
        """What the fields say of all Gaussians under a code."""
        coarse, detail = self.coarse, self.detail if self.has_details else None
        motion = prepared.motion(code, coarse, detail, len(self.means))
        if coarse is not None and self.config.jacobian == "knn":
            cloud = (self.means, self.means + motion.offset, self.neighbors, self.neighbor_weights)
            jacobian = from_neighbours(*cloud, prepared.rows)
            motion = replace(motion, jacobian=prepared.of_all([jacobian], len(self.means), torch.eye(3).to(jacobian)))
        return motion.guarded()

    def gates(self) -> Float[Tensor, "N G"] | None:
        return self.gate_logits.sigmoid() if self.config.gates else None

    def code(self, frame: int) -> Float[Tensor, "D"]:
        """The corrected code of a frame."""
        return self.tracked[frame] + self.code_corrections[frame]

    def pose(self, frame: int) -> Float[Tensor, "4 4"]:
        """The corrected world_from_canonical of a frame."""
        return corrected(self.poses[frame], self.pose_corrections[frame])

    def code_correction(self, views: Views) -> Float[Tensor, "D"]:
        return self.code_corrections[self._frame(views)]

    @torch.no_grad()
    def distilled_offset(self, views: Views, rows: Int[Tensor, "M"]) -> Float[Tensor, "M 3"] | None:
        """Of the coarse field before training, with all gates open, at the present centres; None without the field."""
        if self.distilled is None:
            return None
        code = self.code(self._frame(views))
        return self.distilled(self.means[rows], self.distilled_latent[rows], None, code)

    def _frame(self, views: Views) -> int:
        if views.frame is None or not 0 <= views.frame < len(self.tracked):
            raise ValueError(f"frame: expected 0 to {len(self.tracked) - 1}, got {views.frame}")
        return views.frame

    @property
    def has_details(self) -> bool:
        return self.detail is not None and self.config.detail and bool(self.detail.heads)

    def graph(self) -> Graph:
        """Neighbours in the canonical frame, without edges across slits; made anew by `rebuild` alone."""
        if self._graph is None or self._graph[0] is not self.neighbor_weights:
            self._graph = self.neighbor_weights, make_graph(self.neighbors, self.neighbor_weights)
        return self._graph[1]

    @torch.no_grad()
    def rebuild(self) -> None:
        """Makes the graph from the present rows and, from `skip_from` on, finds anew which rows skip the fields."""
        rows = (self.means, self.label, self.gates())
        self.neighbors, distances = nearest(self.means, self.config.neighbors)
        weights = gaussian_weights(distances)
        if self.coarse is not None and self.config.cut_slits:
            weights = cut_slits(self.coarse, *rows, self.probes, self.neighbors, weights)
        self.neighbor_weights = weights
        self.built.copy_(self.age)
        if self.coarse is not None and self.config.detail_full > 0:
            begin, full = self.config.detail_from, self.config.detail_full
            moved = farthest(self.coarse, self.means, self.label, self.gates(), self.probes)
            self.lively.copy_(((moved - begin) / (full - begin)).clamp(0, 1))
        if self.config.skip_from and int(self.age) >= self.config.skip_from:
            self.skip_still()

    @torch.no_grad()
    def skip_still(self) -> None:
        """Lets Gaussians leave out both fields that no probe moves or changes."""
        detail = self.detail if self.has_details else None
        rows = (self.means, self.latent, self.gates())
        self.moving.copy_(moving(self.coarse, detail, *rows, self.probes, label=self.label, lively=self.lively))

    def constrain(self) -> None:
        """After each step: counts it, and makes the graph anew where it is old."""
        self.age += 1
        if int(self.age - self.built) >= self.config.rebuild_every:
            self.rebuild()

    @torch.no_grad()
    def edit(self, edit: Edit) -> None:
        """Gathers the rows of all Gaussians, then writes the patch; new ones get noise on their latent vectors."""
        if edit.axis != "gaussians":
            return
        patch = dict(edit.patch)
        if "sh" in patch:
            sh = patch.pop("sh")
            patch |= {"dc": sh[:, :1], "sh_rest": sh[:, 1:]}
        if edit.rows is None:
            for name, value in patch.items():
                getattr(self, name).copy_(value)
            return
        tensors = {name: getattr(self, name)[edit.rows] for name in (*COLUMNS, *MARKS)} | patch
        if edit.fresh is not None:
            random = torch.Generator().manual_seed(1_000_003 * self.config.seed + int(self.age))
            noise = NOISE * torch.randn(tensors["latent"].shape, generator=random).to(self.latent)
            tensors["latent"] = torch.where(edit.fresh[:, None], tensors["latent"] + noise, tensors["latent"])
        for name, value in tensors.items():
            setattr(self, name, nn.Parameter(value) if name in COLUMNS else value)
        self.rebuild()

    def parameter_groups(self) -> list[ParameterGroup]:
        return groups_of(self)
