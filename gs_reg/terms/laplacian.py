"""What neighbours have learned differs little: the graph Laplacian of latents and of motion."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from gs_reg.neighbors import Graph, laplacian_energy
from gs_reg.terms import Context


@runtime_checkable
class Neighborhood(Protocol):
    """Gaussians on a graph of neighbours."""

    def graph(self) -> Graph:
        """Weighted edges between the rows."""
        ...


@dataclass(frozen=True)
class Laplacian:
    """Mean over splats of the squared difference to their neighbours, on the graph that the model keeps.

    The attributes are those `extra` columns of the splats that bear the names of the fields here.
    """

    needs: ClassVar[type] = Neighborhood

    weight: float = 0.0
    """Weight of the difference to the neighbours; it falls along a cosine to `final` of that."""
    final: float = 0.1
    """Share of the weight at the last step."""
    latent: float = 1e-2
    """Relative weight of the latent vectors."""
    offset: float = 1.0
    """Relative weight of the offset of the centres."""
    d_rot: float = 1e-2
    """Relative weight of the change of rotation."""
    d_scale: float = 1e-2
    """Relative weight of the change of log-scales."""
    d_opacity: float = 1e-2
    """Relative weight of the change of opacity."""
    d_color: float = 1e-2
    """Relative weight of the change of colour."""

    def __call__(self, context: Context) -> Tensor:
        names = [field.name for field in dataclasses.fields(self)[2:]]
        columns = {name: context.splats.extra[name].flatten(1) for name in names if name in context.splats.extra}
        if not columns:
            raise ValueError(f"extra: expected one of {', '.join(names)} for the Laplacian term")
        features = torch.cat(list(columns.values()), dim=1)
        attributes = torch.cat([features.new_full((c.shape[1],), getattr(self, name)) for name, c in columns.items()])
        falling = self.final + (1 - self.final) * (1 + math.cos(math.pi * context.progress)) / 2
        return falling * laplacian_energy(features, context.model.graph(), attributes)
