"""Settings of a head avatar, and the learning rate schedules of its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gs_reg.errors import InputError


@dataclass(frozen=True)
class Exponential:
    """Falls exponentially to `final` times the start."""

    final: float

    def __call__(self, progress: float) -> float:
        return self.final**progress


@dataclass(frozen=True)
class Cosine:
    """Falls along half a cosine to `final` times the start."""

    final: float

    def __call__(self, progress: float) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class AvatarConfig:
    """Lengths are in units of the canonical frame, of 0.25 m."""

    opacity: float = 0.5
    """Initial opacity; the surface is known, so that fainter Gaussians only have to become as opaque first."""
    sh_degree: int = 3
    """Highest degree of view-dependent colour."""
    sh_frame: Literal["head", "world"] = "head"
    """Frame in which a direction of view has its colour: head, or world, where lamps are fixed and the head turns."""
    jacobian: Literal["exact", "knn", "none"] = "exact"
    """How the field's motion turns and stretches Gaussians: by its derivative, by a fit to the motion of neighbours, or
    not at all."""
    detail: bool = True
    """Use the detail field; without it Gaussians have the coarse motion alone, as while warming up."""
    detail_from: float = 2e-3
    """Motion by the coarse field, the largest of all probes, up to which a Gaussian has no details: where no expression
    moves the head, as in hair, what the field learned there would be noise."""
    detail_full: float = 8e-3
    """Motion from which on it has all of them; 0 = all Gaussians have."""
    stretch_colors: bool = True
    """Let each Gaussian have a colour of its own for skin that the coarse field compresses, and one for skin that it
    stretches, as creases need."""
    gates: bool = True
    """Let a Gaussian close itself to groups of channels of the code."""
    neighbors: int = 16
    """Neighbours of a Gaussian in the graph of the Laplacian terms."""
    cut_slits: bool = True
    """Leave out edges of the graph between Gaussians that move apart, such as those of upper and lower lip."""
    rebuild_every: int = 2000
    """Steps after which the graph is made anew; it is so after every change of the number of Gaussians too."""
    skip_from: int = 0
    """Step from which Gaussians that no training code moves or changes leave out both fields, found anew with the
    graph; 0 = never."""
    train: Literal["all", "screen"] = "all"
    """What is trained: all, or the screen-space network with its channels and the detail field alone."""
    lr_means: float = 5e-5
    """Learning rate of the positions, 0 = fixed, as everywhere here; it falls to a hundredth."""
    lr_quat: float = 1e-3
    """Learning rate of the quaternions."""
    lr_scale: float = 5e-3
    """Learning rate of the log-scales."""
    lr_opacity: float = 2.5e-2
    """Learning rate of the opacity logits."""
    lr_color: float = 2.5e-3
    """Learning rate of the SH coefficients of degree 0; higher degrees have a twentieth of it."""
    lr_latent: float = 1e-2
    """Learning rate of the latent vectors; it falls to a tenth."""
    lr_gate: float = 1e-3
    """Learning rate of the gates."""
    lr_coarse: float = 2e-5
    """Learning rate of the coarse field, where it is a network; bumps in closed form stay as they are."""
    lr_detail: float = 5e-4
    """Learning rate of the detail field; it falls to a hundredth along a cosine."""
    lr_screen: float = 5e-4
    """Learning rate of the screen-space network."""
    lr_code: float = 1e-4
    """Learning rate of the corrections of tracked codes."""
    lr_pose: float = 1e-5
    """Learning rate of the corrections of tracked head poses."""
    seed: int = 0
    """Of the noise on latent vectors of new Gaussians."""

    def __post_init__(self) -> None:
        if not 0 < self.opacity < 1:
            raise InputError(f"opacity: expected a number between 0 and 1, got {self.opacity}")
        if not 0 <= self.sh_degree <= 4:
            raise InputError(f"sh_degree: expected 0 to 4, got {self.sh_degree}")
        if not 1 <= self.neighbors <= 64:
            raise InputError(f"neighbors: expected 1 to 64, got {self.neighbors}")
        if self.rebuild_every < 1:
            raise InputError(f"rebuild_every: expected at least 1 step, got {self.rebuild_every}")
        if self.detail_full and not 0 <= self.detail_from < self.detail_full:
            most = f"0 or more and less than detail_full ({self.detail_full:g})"
            raise InputError(f"detail_from: expected {most}, got {self.detail_from:g}")
        if self.skip_from < 0:
            raise InputError(f"skip_from: expected at least 0 steps, got {self.skip_from}")
