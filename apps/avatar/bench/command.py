"""`gs-reg avatar bench`: makes the capture, trains every variant with every seed, and says who is best."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs_reg.data_tools.heads.synth.write import DESCRIPTION
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from ...runs.progress import say
from .. import presets, train
from ..config import Config as TrainConfig
from ..results import words
from ..synth import Config as SynthConfig
from ..synth import main as synth
from .table import print_table, summary
from .variants import USUAL, VARIANTS, file_name


@dataclass(frozen=True)
class Config:
    data: Path | None = None
    """A capture; default one is made in --out, see --capture."""
    capture: str = "s1"
    """Preset of `avatar synth`."""
    preset: presets.Name = "fast"
    """Of the training."""
    variants: tuple[str, ...] = USUAL
    """What is trained, of: full; no latents; no Laplacian on latents; no Laplacian on dynamics; no latents, no
    Laplacian; no prior field; no detail field; rig-bound Gaussians; mean scores; no Jacobian; lean heads."""
    seeds: int = 3
    """Trainings of each variant."""
    steps: int | None = None
    """Steps of each training; default those of the preset."""
    out: Path = Path("runs/avatar-bench")
    """Folder of the capture, the runs and bench.json. Finished runs are not repeated."""
    json: Path | None = None
    """Also write the figures to this file."""


def main(config: Config) -> int:
    for name in config.variants:
        if name not in VARIANTS:
            raise InputError(f"--variants: {name!r} is none of {', '.join(VARIANTS)}")
    if config.seeds < 1:
        raise InputError(f"--seeds: expected at least 1, got {config.seeds}")
    data = config.data or made_capture(config)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in config.variants}
    for seed in range(config.seeds):  # all variants of a seed first: a bench that is stopped has a table already
        for name in config.variants:
            results[name].append(trained(config, data, name, seed))
            write(config, data, {k: v for k, v in results.items() if v})
    figures = summary(results)
    print_table(figures, f"S1: {data}, preset {config.preset}, seeds: {config.seeds}")
    return 0


def made_capture(config: Config) -> Path:
    """The capture in --out; one that was broken off is drawn anew."""
    folder = config.out / "capture"
    if (folder / "calibration").is_dir() and not (folder / DESCRIPTION).is_file():
        say(f"{folder}: a capture that was broken off; drawing it anew")
        shutil.rmtree(folder)
    if not folder.exists():
        synth(replace(SynthConfig.of_preset(config.capture), out=folder))
    return folder


def trained(config: Config, data: Path, variant: str, seed: int) -> dict[str, Any]:
    """The result of a run, which is made or finished where it is not there."""
    out = config.out / "runs" / f"{file_name(variant)}-{seed}"
    if not (out / "result.json").is_file():
        say(f"{variant}, seed {seed}:")
        base: TrainConfig = TrainConfig.of_preset(config.preset)
        job = VARIANTS[variant](replace(base, data=str(data), seed=seed, steps=config.steps, out=out))
        # the gates are the whole method's: a variant without latents may fail them, and is compared all the same
        job = replace(job, allow_bad_distill=True, resume=(out / "config.yaml").is_file())
        train.main(job)
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    say(f"{variant}, seed {seed}: self-reenactment {words(result['self_reenactment'])}")
    return result


def write(config: Config, data: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    first = next(iter(results.values()))[0]
    content = {
        "data": str(data),
        "preset": config.preset,
        "protocols": first["protocols"],
        "lpips": first["lpips"],
        "variants": summary(results),
        "each": {name: [one["self_reenactment"] for one in runs] for name, runs in results.items()},
    }
    text = json.dumps(content, indent=1) + "\n"
    for path in (config.out / "bench.json", *([config.json] if config.json else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
