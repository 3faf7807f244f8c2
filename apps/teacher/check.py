"""`gs-reg teacher check`: measures a teacher on shapes that it never saw, and writes its figures and model card."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs_reg.data_tools.synthetic.objects.colors import FINISHES, NAMES
from gs_reg.data_tools.synthetic.objects.dataset import Split, read_index, read_split
from gs_reg.data_tools.synthetic.objects.families import PARTS
from gs_reg.diffusion.libraries import diffusers
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path

from ..cli import EXIT_FAILED
from ..runs.progress import say
from .card import model_card
from .export import export, read_settings, write_settings
from .figures import as_json, bench_checks, measure, supervision, with_checks


@dataclass(frozen=True)
class Config:
    model: Path = Path("runs/teacher/model")
    """Folder of the teacher."""
    training: Path | None = None
    """Write that folder first, from the newest checkpoints of this training."""
    data: Path = Path("runs/teacher/data")
    """Data set; its pictures have at least the size of the teacher's."""
    pictures: int = 12
    """Of each family, for each check."""
    supervised: Path | None = None
    """With --unsupervised: a training whose maps are measured beside, of as many steps of coarse."""
    unsupervised: Path | None = None
    """The same training with `--maps 0 --binding 0`: what the losses on attention do."""
    bench: Path | None = None
    """File of `gs-reg edit bench --json` of this teacher, whose figures of parts and edits are taken over."""
    keep: bool = False
    """Keep the folder's figures.json, and only add what --bench, --supervised and --unsupervised say."""
    threads: int = 1
    json: bool = False
    """The figures as JSON on stdout."""


def main(config: Config) -> int:
    diffusers()
    torch.set_num_threads(config.threads)
    if (config.supervised is None) != (config.unsupervised is None):
        raise InputError("--supervised, --unsupervised: expected both or neither")
    index = read_index(config.data)
    if config.training is not None:
        export(config.training, config.model)
    settings = read_settings(config.model)
    if index["config"]["size"] < settings["resolution"]:
        raise InputError(
            f"{config.data}: pictures of {index['config']['size']} px, the teacher has {settings['resolution']}"
        )
    beside = {}
    if config.supervised is not None and config.unsupervised is not None:
        pair = (config.supervised, config.unsupervised)
        beside = {"supervision": supervision(pair, *_splits(config), config.pictures)}
    figures = _known(config) if config.keep else _measured(config, settings, index)
    figures |= beside
    if config.bench is not None:
        with reading(config.bench):
            found = bench_checks(json.loads(config.bench.read_text(encoding="utf-8")))
        figures = with_checks(figures, found)
    _write(config.model / "figures.json", json.dumps(_finite(figures), indent=1) + "\n")
    facts = {
        "families": len(PARTS),
        "parts": len({part for parts in PARTS.values() for part in parts}),
        "colors": len(NAMES),
        "finishes": len(FINISHES),
        "tokens": settings["training"]["network"]["tokens"],
        "supervised": settings["training"]["loss"]["maps"] > 0,
    }
    _write(config.model / "README.md", model_card(figures, facts))
    for check in figures["checks"]:
        value = check["reason"] if check["value"] is None else f"{check['value']:.3f}"
        say(f"{'' if check['passed'] is not False else 'MISSED '}{check['name']}: {value}")
    if config.json:
        print(json.dumps(_finite(figures), indent=1))
    return 0 if figures["accepted"] else EXIT_FAILED


def _measured(config: Config, settings: dict[str, Any], index: dict[str, Any]) -> dict[str, Any]:
    """All figures; writes how maps are best read into the folder's settings."""
    checks, more = measure(config.model, *_splits(config), config.pictures)
    chosen = more["settings"]
    read = {"blocks": chosen["blocks"], "u_path": chosen["path"], "tau": chosen["tau"], "refine": chosen["refine"]}
    write_settings(config.model, {**settings, **read})
    return as_json(checks, {**more, "data": index["config"], "data_version": index["version"]})


def _known(config: Config) -> dict[str, Any]:
    path = config.model / "figures.json"
    if not path.is_file():
        raise InputError(f"{path}: --keep: there is none; leave --keep out")
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def _splits(config: Config) -> tuple[Split, Split]:
    return read_split(config.data, "validation"), read_split(config.data, "test")


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _finite(value):
    """NaN (nothing to measure) as null, which JSON has."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
