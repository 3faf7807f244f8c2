"""Loss terms as values: each is a frozen dataclass with a weight, and the loss is the sum of one mapping.

To add one, write a dataclass with `weight` and `__call__(context) -> scalar`, a field in a group of terms, and a test.
A term that calls methods which not every model has names them in `needs`, a Protocol.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.shot import Shot
from gs_reg.ssim import l1_and_dssim
from gs_reg.types import Cameras, Render, Splats, Views


@dataclass(frozen=True)
class Context:
    """What a term may look at in one step."""

    step: int
    steps: int
    model: Any
    splats: Splats
    """As rendered: dropped Gaussians have an opacity near 0."""
    image: Render
    shot: Shot

    @property
    def views(self) -> Views:
        return self.shot.views

    @property
    def progress(self) -> float:
        """0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)

    @cached_property
    def l1_and_dssim(self) -> tuple[Tensor, Tensor]:
        """Both photometric losses; cached, as one pass over the image gives both."""
        return l1_and_dssim(self.image.colors, self.views.photos, self.views.masks)

    def draw(self, cameras: Cameras) -> Render:
        """The splats of this step rendered with its settings into other cameras; differentiable."""
        return self.shot.draw(self.splats, cameras)


@runtime_checkable
class Term(Protocol):
    """Unweighted loss of a step; a `weight` of 0 turns it off.

    It may have `needs`, a runtime-checkable Protocol of methods that the model must have, and `needs_views`, names of
    fields of Views that must not be None.
    """

    @property
    def weight(self) -> float: ...

    def __call__(self, context: Context) -> Tensor: ...


Terms = Any
"""A dataclass of terms, or a mapping of names to terms."""


def active_terms(terms: Terms) -> dict[str, Term]:
    """The terms whose weight is not 0, by name.

    Raises:
        InputError: a weight that is negative or not finite; a term would be maximised.
    """
    if not isinstance(terms, Mapping):
        terms = {field.name: getattr(terms, field.name) for field in dataclasses.fields(terms)}
    for name, term in terms.items():
        if not 0 <= term.weight < math.inf:
            raise InputError(f"{name}.weight: expected a finite number of at least 0, got {term.weight}")
    return {name: term for name, term in terms.items() if term.weight != 0}


def evaluate(terms: Terms, context: Context) -> Mapping[str, Tensor]:
    """Weighted values of the terms by name; terms of weight 0 are not computed."""
    return {
        name: term.weight * scalar_value(f"term {name}", term(context)) for name, term in active_terms(terms).items()
    }


def scalar_value(where: str, value: Any) -> Tensor:
    """The value of a term or of a cost.

    Raises:
        ValueError: it is no scalar tensor; the text begins with `where`.
    """
    if not isinstance(value, Tensor) or value.ndim:
        got = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.40}"
        raise ValueError(f"{where}: expected a scalar tensor, got {got}")
    return value


def cost_of(terms: Terms) -> Callable[[Context], Mapping[str, Tensor]]:
    """The function of a Context that `fit` takes as its cost."""
    return partial(evaluate, terms)


def check_needs(terms: Terms, model: type, views: Collection[str], flag: str = "terms") -> None:
    """Checks, before anything long starts, that model and views have what the active terms need.

    `model` is the class of the model, `views` names the fields of Views that will be set, `flag` is the prefix of the
    terms on the command line.

    Raises:
        InputError: names the flag and what is missing.
    """
    for name, term in active_terms(terms).items():
        needs = getattr(term, "needs", None)
        if needs is not None and not issubclass(model, needs):
            # the docstring of the Protocol completes the sentence
            what = " ".join((needs.__doc__ or needs.__name__).split()).rstrip(".")
            raise InputError(f"--{flag}.{name}.weight: not available for {model.__name__}: it needs {what}")
        missing = [field for field in getattr(term, "needs_views", ()) if field not in views]
        if missing:
            raise InputError(f"--{flag}.{name}.weight: not available here: it needs views with {', '.join(missing)}")
