"""Costs as values: a term is a frozen dataclass with a weight, the total is the sum of one mapping in one place.

To add one: a dataclass with `weight` and `__call__(context) -> scalar`, a field where terms are grouped, a test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from gs_reg.ssim import l1_and_dssim
from gs_reg.types import Render, Splats, Views


@dataclass(frozen=True)
class Context:
    """What a term may look at in one step."""

    step: int
    steps: int
    model: Any
    splats: Splats
    image: Render
    views: Views

    @property
    def progress(self) -> float:
        """0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)

    @cached_property
    def l1_and_dssim(self) -> tuple[Tensor, Tensor]:
        """Both photometric costs, for one pass over the image gives both."""
        return l1_and_dssim(self.image.colors, self.views.photos, self.views.masks)


@runtime_checkable
class Term(Protocol):
    """Unweighted cost of a step; a `weight` of 0 is the only switch."""

    @property
    def weight(self) -> float: ...

    def __call__(self, context: Context) -> Tensor: ...


def evaluate(terms: Any, context: Context) -> Mapping[str, Tensor]:
    """Weighted values of a dataclass of terms by field name; terms of weight 0 are not computed."""
    named = {field.name: getattr(terms, field.name) for field in dataclasses.fields(terms)}
    return {name: term.weight * term(context) for name, term in named.items() if term.weight != 0}
