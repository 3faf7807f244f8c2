"""Laplacian energy: latents and deformations of neighbouring Gaussians should differ little."""

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
    """Gaussians with a graph of neighbours."""

    def graph(self) -> Graph:
        """Weighted edges between the rows."""
        ...


@dataclass(frozen=True)
class Laplacian:
    """Mean over Gaussians of the weighted squared difference to their neighbours, on the model's graph.

    It applies to the `extra` columns of the splats that are named like the fields after `final`.
    """

    needs: ClassVar[type] = Neighborhood

    weight: float = 0.0
    """Weight of the Laplacian energy; it follows a cosine schedule down to `final` times this."""
    final: float = 0.1
    """Factor on the weight at the last step."""
    latent: float = 1e-2
    """Relative weight of the latent vectors."""
    offset: float = 1.0
    """Relative weight of the offsets of the means."""
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
        extra, count = context.splats.extra, len(context.splats)
        columns = {name: extra[name].reshape(count, -1) for name in names if name in extra}
        if not columns:
            raise ValueError(f"extra: expected one of {', '.join(names)} for the Laplacian term")
        features = torch.cat(list(columns.values()), dim=1)
        attributes = torch.cat([features.new_full((c.shape[1],), getattr(self, name)) for name, c in columns.items()])
        schedule = self.final + (1 - self.final) * (1 + math.cos(math.pi * context.progress)) / 2
        return schedule * laplacian_energy(features, context.model.graph(), attributes)
