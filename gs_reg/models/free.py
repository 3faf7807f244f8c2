"""Plain splats: all attributes of every Gaussian are optimised, as in 3DGS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.optim import ParameterGroup
from gs_reg.types import Splats, Views


@dataclass(frozen=True)
class FreeConfig:
    opacity: float = 0.02
    """Initial opacity of all but filled Gaussians."""
    sh_degree: int = 1
    """Highest degree of view-dependent colour."""
    max_aspect: float = math.inf
    """Largest ratio of the longest axis to the second one; discs stay free. Without a limit, fine texture that few
    photos show becomes long needles, which are streaks in other views."""
    aspect_from: float = 0.0
    """Axes of up to this many initial sizes are not limited: strokes so short are the texture itself."""
    lr_offset: float = 0.2
    """Learning rate of the centres, in units of a Gaussian's initial size."""
    lr_quat: float = 1e-2
    """Learning rate of the quaternions."""
    lr_scale: float = 8e-2
    """Learning rate of the log-scales."""
    lr_opacity: float = 5e-2
    """Learning rate of the opacity logits."""
    lr_color: float = 1e-3
    """Learning rate of the SH coefficients of degree 0; higher degrees have a twentieth of it."""

    def __post_init__(self) -> None:
        if not self.max_aspect >= 1:
            raise InputError(f"max_aspect: expected at least 1, got {self.max_aspect}")
        if not self.aspect_from >= 0:
            raise InputError(f"aspect_from: expected at least 0 initial sizes, got {self.aspect_from}")


class Free(nn.Module):
    """Means are start + unit * offset, where `unit` is the initial size of the Gaussian.

    Adam's steps are then in units of that size: far and near Gaussians move equally in pixels, at any scene scale.
    """

    def __init__(self, tensors: dict[str, Tensor], config: FreeConfig):
        """From the tensors of a state dict; see `from_splats` for a fresh one."""
        super().__init__()
        self.config = config
        self.start: Tensor
        self.unit: Tensor
        self.filled: Tensor
        for name in ("start", "unit", "filled"):
            self.register_buffer(name, tensors[name])
        self.offset = nn.Parameter(tensors["offset"])
        self.quats = nn.Parameter(tensors["quats"])
        self.log_scales = nn.Parameter(tensors["log_scales"])
        self.opacity_logits = nn.Parameter(tensors["opacity_logits"])
        self.dc = nn.Parameter(tensors["dc"])
        self.sh_rest = nn.Parameter(tensors["sh_rest"])

    @classmethod
    def from_splats(cls, splats: Splats, config: FreeConfig) -> Free:
        """Starts from the given splats; opacity is set to `config.opacity`, and of `extra` only `filled` is kept.

        Filled Gaussians keep their opacity: no training photo shows them, so no gradient would raise it again.
        """
        splats, N, K = splats.detach(), len(splats), (config.sh_degree + 1) ** 2
        filled = splats.extra.get("filled", torch.zeros_like(splats.opacity_logits, dtype=torch.bool))
        logits = torch.full_like(splats.opacity_logits, config.opacity).logit()
        rest = torch.zeros(N, K - 1, 3).to(splats.sh)
        common = min(K, splats.sh.shape[1]) - 1
        rest[:, :common] = splats.sh[:, 1 : common + 1]
        return cls(
            {
                "start": splats.means,
                "unit": splats.log_scales.mean(1, keepdim=True).exp(),
                "filled": filled,
                "offset": torch.zeros_like(splats.means),
                "quats": splats.quats.clone(),
                "log_scales": splats.log_scales.clone(),
                "opacity_logits": torch.where(filled, splats.opacity_logits, logits),
                "dc": splats.sh[:, :1].clone(),
                "sh_rest": rest,
            },
            config,
        )

    def forward(self, views: Views | None = None) -> Splats:
        """The splats; the same for every view."""
        return Splats(
            means=torch.addcmul(self.start, self.unit, self.offset),
            quats=self.quats,
            log_scales=self.log_scales,
            opacity_logits=self.opacity_logits,
            sh=torch.cat([self.dc, self.sh_rest], dim=1) if self.sh_rest.numel() else self.dc,
            extra={"filled": self.filled},
        )

    def canonical(self) -> Splats:
        return self()

    @torch.no_grad()
    def constrain(self) -> None:
        """Shortens the longest axis to its limit.

        After a step, not in `forward`: there the limited axis would have no gradient that could shorten it again.
        """
        c = self.config
        if math.isinf(c.max_aspect):
            return
        limits = self.log_scales.median(1, keepdim=True).values + math.log(c.max_aspect)
        if c.aspect_from > 0:
            limits = torch.maximum(limits, self.unit.log() + math.log(c.aspect_from))
        self.log_scales.copy_(torch.minimum(self.log_scales, limits))

    @torch.no_grad()
    def edit(self, edit: Edit) -> None:
        """Gathers the rows of all tensors, then writes the patch; edits of another axis change nothing here."""
        if edit.axis != "gaussians":
            return
        state, patch = self.state_dict(), dict(edit.patch)
        tensors = state if edit.rows is None else {name: value[edit.rows] for name, value in state.items()}
        if "means" in patch:
            start, unit, offset = (tensors[name] for name in ("start", "unit", "offset"))
            means = patch.pop("means")
            # the offset of a mean that did not move is not recomputed: rounding would change its bits
            moved = means != torch.addcmul(start, unit, offset)
            patch["offset"] = torch.where(moved, (means - start) / unit, offset)
        if edit.rows is None:
            for name, value in patch.items():
                state[name].copy_(value)
            return
        for name, value in (tensors | patch).items():
            setattr(self, name, nn.Parameter(value) if isinstance(getattr(self, name), nn.Parameter) else value)

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        rates = {
            "offset": (self.offset, c.lr_offset),
            "quats": (self.quats, c.lr_quat),
            "log_scales": (self.log_scales, c.lr_scale),
            "opacity_logits": (self.opacity_logits, c.lr_opacity),
            "dc": (self.dc, c.lr_color),
            "sh_rest": (self.sh_rest, c.lr_color / 20),
        }
        return [ParameterGroup(name, [p], lr, axis="gaussians") for name, (p, lr) in rates.items() if p.numel()]
