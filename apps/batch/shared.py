"""Edits of one scene with the same parts share one `edit parts`: its maps, labels and renders are made once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from ..runs.config_file import read_over_preset, to_plain
from .kinds import KINDS, OF_THE_BATCH
from .matrix import JOB_NAME
from .specs import Spec

NOT_OF_LABELS = (*OF_THE_BATCH, "device", "vram_gb", "labels", "keep_renders")


def with_shared_parts(specs: Sequence[Spec]) -> tuple[Spec, ...]:
    """The jobs, with one of kind parts before each group of edits that would find the same parts."""
    groups: dict[str, list[Spec]] = {}
    for spec in specs:
        if spec.kind == "edit" and spec.settings.get("labels") is None:
            groups.setdefault(_labels_of(spec), []).append(spec)
    taken, parts_of, made = {spec.name for spec in specs}, {}, {}
    for group in groups.values():
        if len(group) > 1:
            parts = _parts_job(group, taken)
            taken.add(parts.name)
            made[group[0].name] = parts
            parts_of |= dict.fromkeys((spec.name for spec in group), parts.name)
    out: list[Spec] = []
    for spec in specs:
        if spec.name in made:
            out.append(made[spec.name])
        if name := parts_of.get(spec.name):
            settings = spec.settings | {"labels": f"{{jobs.{name}.out}}"}
            spec = dataclasses.replace(spec, settings=settings, needs=(*spec.needs, name))
        out.append(spec)
    return tuple(out)


def _labels_of(spec: Spec) -> str:
    """Everything on which maps and labels depend."""
    config: dict[str, Any] = to_plain(read_over_preset(KINDS["parts"].config, _parts_settings(spec), spec.place))
    return json.dumps([{k: v for k, v in config.items() if k not in NOT_OF_LABELS}, sorted(spec.needs)], sort_keys=True)


def _parts_settings(spec: Spec) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(KINDS["parts"].config)}
    return {key: value for key, value in spec.settings.items() if key in known}


def _parts_job(group: Sequence[Spec], taken: set[str]) -> Spec:
    first = group[0]
    stem = PurePath(str(first.settings.get("data", ""))).name.split(".")[0]
    base = f"{stem}-parts" if JOB_NAME.fullmatch(f"{stem}-parts") else f"{first.name}-parts"[-100:]
    name = next(n for n in (base, *(f"{base}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    return dataclasses.replace(first, name=name, kind="parts", settings=_parts_settings(first) | {"keep_renders": True})
