"""Editing of one part: its Gaussians are optimised and may have children, all others are constants.

RoMaP masks the gradients of the other rows, whose Adam moments still move them; here they never reach an optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.io.rows import RowEdit
from gs_reg.optim import ParameterGroup
from gs_reg.parts.neutral import Neutral, remove_prior
from gs_reg.types import Splats, Views

COLUMNS = ("means", "quats", "log_scales", "opacity_logits")
"""Fields of Splats that are leaves of their own; colours are in `dc` and `sh_rest`."""
PER_ROW = (*COLUMNS, "dc", "sh_rest", "origin", "parent", "home", "floor", "ceiling")
QUANTILE = 0.99
"""Of the part's longest axes: scales above it count as fog."""


@dataclass(frozen=True)
class PartEditConfig:
    shape: bool = False
    """Change the shape too: positions move, Gaussians may come and go, and opacities may fall as low as they like."""
    reach: float = 0.25
    """How far Gaussians get from where a Gaussian of the part was, in radii of the part."""
    growth: float = 1.25
    """Without `shape`: how much longer than before an axis may become."""
    lr_color: float = 0.0125
    """Learning rate of the SH coefficients of degree 0; higher degrees have a twentieth of it."""
    lr_opacity: float = 0.01
    """Learning rate of the opacity logits."""
    lr_scale: float = 0.005
    """Learning rate of the log-scales."""
    lr_quat: float = 0.001
    """Learning rate of the quaternions."""
    lr_means: float = 1.6e-4
    """Learning rate of the positions, in units of the scene's size; only with `shape`."""

    def __post_init__(self) -> None:
        if not 0 <= self.reach < math.inf:
            raise InputError(f"reach: expected a finite number of at least 0, got {self.reach}")
        if not self.growth >= 1:
            raise InputError(f"growth: expected at least 1, got {self.growth}")


class PartEdit(nn.Module):
    """Frozen rows first, in their order, then M rows of the edit; `row_edit()` says what that is in the file's order.

    The frozen rows are in no state dict: to go on, the model is made from the same splats again.
    """

    means: Tensor
    quats: Tensor
    log_scales: Tensor
    opacity_logits: Tensor
    dc: Tensor
    sh_rest: Tensor
    frozen_means: Tensor
    frozen_sh: Tensor
    owned: Tensor
    origin: Tensor
    parent: Tensor
    home: Tensor
    """Where the Gaussian of the part was from which each row comes."""
    floor: Tensor
    """Lowest opacity logits."""
    ceiling: Tensor
    """Largest log-scales."""
    reach: Tensor
    """Largest distance from `home`."""
    largest: Tensor
    extent: Tensor
    balance: Tensor
    """Weight of guidance beside the anchors, as measured so far; 0 = not yet."""

    def __init__(self, splats: Splats, tensors: Mapping[str, Tensor], config: PartEditConfig):
        """From the splats before the edit and the tensors of a state dict; see `from_splats` for a fresh one."""
        super().__init__()
        self.config = config
        kept = torch.ones(len(splats), dtype=torch.bool)
        kept[tensors["owned"].cpu()] = False
        frozen = splats.detach().rows(kept.to(splats.means.device))
        for name in (*COLUMNS, "sh"):
            self.register_buffer(f"frozen_{name}", getattr(frozen, name), persistent=False)
        leaves = {name for name in (*COLUMNS, "dc", "sh_rest") if name != "means" or config.shape}
        for name, value in tensors.items():
            if name in leaves:
                self.register_parameter(name, nn.Parameter(value.clone()))
            else:
                self.register_buffer(name, value.clone())

    @classmethod
    def from_splats(
        cls,
        splats: Splats,
        chosen: Bool[Tensor, "N"],
        config: PartEditConfig = PartEditConfig(),
        neutral: Neutral | None = None,
    ) -> PartEdit:
        """Starts from the given splats, with the chosen ones in a neutral colour where it is asked for (prior removal).

        Raises:
            InputError: nothing is chosen.
        """
        owned = _rows_of(splats, chosen)
        start = splats if neutral is None else remove_prior(splats, chosen, neutral)
        return cls(splats, _fresh(splats, owned, start.rows(owned), owned, owned, config), config)

    @classmethod
    def removing(
        cls,
        splats: Splats,
        chosen: Bool[Tensor, "N"],
        behind: Splats,
        parent: Int[Tensor, "M"],
        config: PartEditConfig = PartEditConfig(),
    ) -> PartEdit:
        """The chosen rows go, and the edit's rows are those `behind`, with parents among the rows that stay.

        Raises:
            InputError: nothing is chosen, or all is.
        """
        owned = _rows_of(splats, chosen)
        if len(owned) == len(splats):
            raise InputError("part: expected some Gaussians that are not removed, but all are chosen")
        return cls(splats, _fresh(splats, owned, behind, torch.full_like(parent, -1), parent, config), config)

    def forward(self, views: Views | None = None) -> Splats:
        """The splats, the same for every view; `extra["edited"]` is 1 for rows of the edit and 0 for frozen ones."""
        sh = torch.cat([self.dc, self.sh_rest], dim=1) if self.sh_rest.numel() else self.dc
        columns = {name: torch.cat([getattr(self, f"frozen_{name}"), getattr(self, name)]) for name in COLUMNS}
        edited = torch.zeros_like(columns["opacity_logits"], requires_grad=False)
        edited[len(self.frozen_means) :] = 1
        return Splats(**columns, sh=torch.cat([self.frozen_sh, sh]), extra={"edited": edited})

    def canonical(self) -> Splats:
        return self()

    def row_edit(self) -> RowEdit:
        """What the edit makes of the rows of its splats, on the CPU."""
        rows = self().detach().to("cpu").rows(slice(len(self.frozen_means), None))
        return RowEdit(self.owned.cpu(), rows, self.origin.cpu(), self.parent.cpu())

    def scale_limit(self) -> Tensor:
        """Scale of the part before the edit that 99 % of its Gaussians did not exceed."""
        return self.largest

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        rates = {
            "quats": c.lr_quat,
            "log_scales": c.lr_scale,
            "opacity_logits": c.lr_opacity,
            "dc": c.lr_color,
            "sh_rest": c.lr_color / 20,
        }
        if c.shape:
            rates["means"] = c.lr_means * float(self.extent)
        leaves = {name: getattr(self, name) for name in rates}
        return [ParameterGroup(name, [p], rates[name], axis="part") for name, p in leaves.items() if p.numel()]

    @torch.no_grad()
    def constrain(self) -> None:
        """Bounds of opacity and size; positions stay within reach of where a Gaussian of the part was."""
        self.opacity_logits.copy_(torch.maximum(self.opacity_logits, self.floor))
        self.log_scales.copy_(torch.minimum(self.log_scales, self.ceiling))
        if self.config.shape:
            away = self.means - self.home
            beyond = away.norm(dim=1, keepdim=True) > self.reach
            inside = self.home + away * (self.reach / away.norm(dim=1, keepdim=True).clamp_min(1e-30))
            self.means.copy_(torch.where(beyond, inside, self.means))

    @torch.no_grad()
    def edit(self, edit: Edit) -> None:
        """An edit of axis "part": gathers rows of the edit, then writes the patch. Edits of frames change nothing.

        Raises:
            ValueError: an edit of all Gaussians, or one that leaves none of the part.
        """
        if edit.axis == "gaussians":
            raise ValueError("edit: PartEdit changes rows of its part alone; wrap the density control in PartDensity")
        if edit.axis != "part":
            return
        if edit.rows is None:
            for name, value in edit.patch.items():
                getattr(self, name).copy_(value)
        elif len(edit.rows) == 0:
            raise ValueError("edit: no Gaussian of the part would be left")
        else:
            tensors = {name: getattr(self, name)[edit.rows] for name in PER_ROW} | dict(edit.patch)
            tensors["origin"] = _first_of_each(tensors["origin"])
            for name, value in tensors.items():
                parameter = isinstance(getattr(self, name), nn.Parameter)
                setattr(self, name, nn.Parameter(value) if parameter else value)
        self.constrain()


def _rows_of(splats: Splats, chosen: Bool[Tensor, "N"]) -> Int[Tensor, "E"]:
    if chosen.dtype != torch.bool or chosen.shape != (len(splats),):
        raise ValueError(f"chosen: expected bool [{len(splats)}], got {chosen.dtype} {list(chosen.shape)}")
    if not chosen.any():
        raise InputError("part: expected some Gaussians to edit, but none is chosen")
    return chosen.nonzero()[:, 0]


def _fresh(
    splats: Splats,
    owned: Int[Tensor, "E"],
    start: Splats,
    origin: Int[Tensor, "M"],
    parent: Int[Tensor, "M"],
    config: PartEditConfig,
) -> dict[str, Tensor]:
    """The tensors before the first step."""
    start, before = start.detach(), splats.detach().rows(owned)
    longest = before.log_scales.amax(1).exp()
    largest = longest.sort().values[int(QUANTILE * (len(longest) - 1))]
    half = (start.opacities / 2).logit()
    ceiling = (
        torch.maximum(start.log_scales, largest.log()) if config.shape else start.log_scales + math.log(config.growth)
    )
    return {
        **{name: getattr(start, name) for name in COLUMNS},
        "dc": start.sh[:, :1],
        "sh_rest": start.sh[:, 1:],
        "owned": owned,
        "origin": origin,
        "parent": parent,
        "home": start.means,
        "floor": torch.full_like(half, -torch.inf) if config.shape else half,
        "ceiling": ceiling,
        "reach": config.reach * torch.maximum(radius_of(before.means), largest),
        "largest": largest,
        "extent": radius_of(splats.detach().means),
        "balance": torch.zeros_like(largest),
    }


def radius_of(means: Tensor) -> Tensor:
    """Distance from the middle within which 95 % of the points lie."""
    distances = (means - means.median(0).values).norm(dim=1)
    return distances.sort().values[int(0.95 * (len(distances) - 1))]


def _first_of_each(origin: Int[Tensor, "M"]) -> Int[Tensor, "M"]:
    """Of rows that would take the same place, the first one has it; the others are new (-1)."""
    order = torch.sort(origin, stable=True)
    again = torch.zeros_like(origin, dtype=torch.bool)
    again[order.indices[1:]] = order.values[1:] == order.values[:-1]
    return torch.where(again, -1, origin)
