"""Edits with one thing more at a time, as in RoMaP's table: mask, anchors, score distillation, prior removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gs_reg.terms.photometric import L1, Ssim

from .. import presets
from ..config import Config

ROWS: Mapping[str, str] = {
    "mask": "score distillation alone, inside the part",
    "+ anchor L1": "edited pictures instead of it",
    "+ SDS": "both",
    "+ prior removal": "both, from a neutral colour",
}
"""The rows, and what each has."""


def ablated(config: Config, row: str) -> Config:
    """The config of an edit with what the row has, and nothing else."""
    number = list(ROWS).index(row)
    terms, guidance = config.terms, replace(config.guidance, weight=presets.BEST.guidance.weight)
    if number == 0:
        terms = replace(terms, l1=L1(0.0), ssim=Ssim(0.0))
    if number == 1:
        guidance = replace(guidance, weight=0.0)
    return replace(config, terms=terms, guidance=guidance, neutral="grey" if number == 3 else "none")
