"""Flags that change nothing under the other settings: they are refused before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from gs_reg.errors import InputError
from gs_reg.terms.scene import SceneTerms

from ..runs.flag_names import flag_of
from . import presets
from .config import Config
from .stages import plan_stages

ON_RAYS = "terms", "train", "model.depth_range", "model.sh_degree", "model.lr_"
"""Settings of the stage on the rays."""
OF_MAPS = "depth.kind", "depth.png_scale", "depth.sd", "depth.holes", "depth.check"
"""Settings of depth maps from files."""
OF_MATCHING = "depth.max_planes", "depth.sweep_pixels", "depth.smoothness", "depth.threads", "depth.finer"
"""Settings of the depth search in the photos."""


def check_effect(config: Config) -> None:
    """Checks that every setting that is not the preset's changes something.

    Raises:
        InputError: names the flag, the reason, and a flag that would do it, where there is one.
    """
    if config.json and config.stop_after != "report":
        raise InputError(f"--json: no effect: --stop-after {config.stop_after} measures nothing")
    if config.live.view and config.stop_after == "init":
        raise InputError("--view: no effect: --stop-after init fits nothing")
    if config.stop_after == "init":
        return  # no step is made, whatever the settings of training
    preset = presets.PRESETS[config.preset]
    usual = Config(**{field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)})
    changed = dict(_changed(config, usual))
    for prefix, but, reason in _idle(config):
        for name in changed:
            if name.startswith(prefix) and not name.startswith(but):
                raise InputError(f"{flag_of(Config, name.split('.'))}: no effect: {reason}{_instead(name)}")


def _changed(value: Any, usual: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the fields that differ."""
    for field in dataclasses.fields(value):
        name, one, other = f"{place}{field.name}", getattr(value, field.name), getattr(usual, field.name)
        if one != other and dataclasses.is_dataclass(one) and dataclasses.is_dataclass(other):
            yield from _changed(one, other, f"{name}.")
        elif one != other:
            yield name, one


def _idle(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Beginnings of the names of settings that have no effect, those among them that have one, and why."""
    at_random = config.start == "random"
    active = {plan.name for plan in plan_stages(config) if plan.train.steps > 0}
    if "rays" not in active:
        why = "these settings make no steps with Gaussians on the rays"
        # 0 steps that were asked for are an effect, or what is so anyway
        asked = ("train.steps",) if not at_random or config.train.steps == 0 else ()
        yield from ((prefix, asked, why) for prefix in ON_RAYS)
    if "free" not in active:
        yield "free.", ("free.train.steps",), "these settings make no steps with free Gaussians"
    if at_random:
        why = "--start random has no depth"
        yield "depth.", ("depth.sources", "depth.aliked"), why
        yield from ((prefix, (), why) for prefix in ("model.", "fill.", "flow."))
    if not config.coherent.on:
        yield "coherent.", (), "it is of CoherentGS; add --coherent.on, or start from --preset paper"
    yield from _idle_depth(config)
    if config.free.densify.method == "none":
        yield "free.densify.", (), "--free.densify.method none adds and removes nothing"
    if config.fill.border <= 0:
        yield "fill.stride", (), "--fill.border 0 fills nothing"
    for flag, train, terms in (("", config.train, config.terms), ("free.", config.free.train, config.free.terms)):
        yield from _idle_training(flag, train.multisample, terms)


def _idle_depth(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    source, network = config.depth.source, config.depth.path is not None
    if source == "ours" or (source == "auto" and not network):
        yield from ((prefix, (), "the photos themselves are measured") for prefix in (*OF_MAPS, "depth.download"))
    if source == "files":
        yield "depth.download", (), "maps come from files"
        yield "depth.finer", (), "maps come from files"
    if source == "files" and config.depth.kind == "metric":
        yield from ((prefix, (), "metric maps are taken as they are") for prefix in OF_MATCHING)


def _idle_training(flag: str, multisample: int, terms: SceneTerms) -> Iterator[tuple[str, tuple[str, ...], str]]:
    if multisample <= 1:
        yield f"{flag}train.multisample_from", (), f"--{flag}train.multisample 1 never supersamples"
    for field in dataclasses.fields(terms):
        if getattr(terms, field.name).weight == 0:
            # a weight of 0 that was asked for is an effect
            weight = f"{flag}terms.{field.name}.weight"
            yield f"{flag}terms.{field.name}.", (weight,), f"--{weight} is 0"


def _instead(name: str) -> str:
    if name.endswith("train.render.backend"):
        return "; --backend sets that of every stage"
    if name == "train.steps":
        return "; --steps is the total of all stages"
    return ""
