"""What is compared: the whole method, without each of its parts, and a rival."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import Config

Change = Callable[[Config], Config]


def _laplacian(config: Config, **weights: float) -> Config:
    laplacian = replace(config.terms.laplacian, **weights)
    return replace(config, terms=replace(config.terms, laplacian=laplacian))


def _no_dynamics(config: Config) -> Config:
    return _laplacian(config, offset=0.0, d_rot=0.0, d_scale=0.0, d_opacity=0.0, d_color=0.0)


VARIANTS: Mapping[str, Change] = {
    "full": lambda c: c,
    "no latents": lambda c: replace(c, latents=False),
    "no Laplacian on latents": lambda c: _laplacian(c, latent=0.0),
    "no Laplacian on dynamics": _no_dynamics,
    "no latents, no Laplacian": lambda c: _laplacian(replace(c, latents=False), weight=0.0),
    "no prior field": lambda c: replace(c, coarse=False),
    "no detail field": lambda c: replace(c, heads=()),
    "rig-bound Gaussians": lambda c: replace(c, method="rig-bound"),
    "mean scores": lambda c: replace(c, clusters=1),
    "no Jacobian": lambda c: replace(c, model=replace(c.model, jacobian="none")),
    "lean heads": lambda c: replace(c, heads=("pos", "opacity", "color")),
}
"""Of a config of the whole method."""
USUAL = tuple(VARIANTS)[:8]
"""Those that issue and paper ask for."""


def file_name(variant: str) -> str:
    return variant.replace(",", "").replace(" ", "-").lower()
