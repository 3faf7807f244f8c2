"""Bounds of the numbers in configs: a value that cannot be is refused by its name before anything starts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from gs_reg.errors import InputError

from .flag_names import flag_of

INF = math.inf
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("checkpoint_every", "keep_every", "eval_every", "reset_every", "cap_max", "frames", "finer"), (1, INF)
    ),
    **dict.fromkeys(("stride", "levels", "layers", "capacity", "shrink", "multisample"), (1, INF)),
    **dict.fromkeys(("max_gaussians", "sources", "max_planes", "sweep_pixels", "threads"), (1, INF)),
    "sh_degree": (0, 3),
    "seed": (0, 1e12),
    **dict.fromkeys(("start", "stop", "multisample_from", "sh_from", "sizes_from", "prune_opacity"), (0, 1)),
    **dict.fromkeys(("min_opacity", "min_alpha"), (0, 1)),
    "crop": (-INF, INF),
    "fps": (0.1, 1000),
}
"""Least and largest value of fields by their name; all others are at least 0. What a config's own class checks is not
said again here."""
ABOVE_0 = {"scale", "sd", "sigma_pixels", "depth_range", "edge", "downscale", "png_scale"}
BETWEEN_0_AND_1 = {"opacity"}
UNBOUNDED = {"checkpoint_minutes", "far"}
"""Infinity is a value of theirs, as of all fields whose default it is."""


def check_numbers(config: Any) -> None:
    """Checks all numbers of a config and of those in it.

    Raises:
        InputError: names the flag, what it may be and what it is.
    """
    _check_all(config, type(config), ())


def _check_all(config: Any, whole: type, fields: tuple[str, ...]) -> None:
    """Checks the numbers of a config that is so many fields down in the whole one."""
    for field in dataclasses.fields(config):
        value, below = getattr(config, field.name, None), (*fields, field.name)
        if dataclasses.is_dataclass(value):
            _check_all(value, whole, below)
        else:
            check_value(field.name, value, flag_of(whole, below), field.default)


def check_value(name: str, value: Any, place: str, default: object = None) -> None:
    """Checks the value of a field, if it is a number or a tuple of numbers; it may be infinite where its default is.

    Raises:
        InputError: it is out of bounds; the text begins with `place`.
    """
    if isinstance(value, tuple):
        for inner in value:
            check_value(name, inner, place, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = (0, 1) if name in BETWEEN_0_AND_1 else BOUNDS.get(name, (0, INF))
    above, below = name in ABOVE_0 | BETWEEN_0_AND_1, name in BETWEEN_0_AND_1
    inside = (low < value if above else low <= value) and (value < high if below else value <= high)
    unbounded = name in UNBOUNDED or default == INF
    if not inside or not (math.isfinite(value) or unbounded):
        least = "" if low == -INF else f" above {low:g}" if above else f" of at least {low:g}"
        most = "" if high == INF else f" and below {high:g}" if below else f" and at most {high:g}"
        number = "number" if unbounded else "finite number"
        raise InputError(f"{place}: expected a {number}{least}{most}, got {value}")
