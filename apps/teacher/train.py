"""`gs-reg teacher train`: trains the small teacher in slices of some minutes; a later call goes on where one ended."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from gs_reg.data_tools.synthetic.objects.dataset import read_index
from gs_reg.diffusion.libraries import diffusers
from gs_reg.diffusion.networks import NetworkConfig
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from ..runs.config_file import to_plain
from ..runs.interrupts import Interrupted
from ..runs.progress import say
from ..runs.training import StopSignal
from .learning import SETTINGS, Loss, StageConfig, Trainer, read_training_settings
from .stages import STAGES, make_trainer


@dataclass(frozen=True)
class Config:
    data: Path = Path("runs/teacher/data")
    """Data set of 64-pixel pictures, for the stages coarse and decoder."""
    fine_data: Path | None = None
    """Data set of larger pictures, for the stage fine; without it that stage is left out."""
    out: Path = Path("runs/teacher/training")
    """Folder of the checkpoints and of events.jsonl."""
    stage: tuple[str, ...] = STAGES
    """What to train: coarse (small pictures), decoder (of the VAE), fine (large pictures, from coarse)."""
    minutes: float = math.inf
    """Stop after so long, with a checkpoint."""
    threads: int = 1
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: Annotated[Loss, tyro.conf.OmitArgPrefixes] = field(default_factory=Loss)
    coarse: StageConfig = field(default_factory=lambda: StageConfig(steps=20000))
    decoder: StageConfig = field(default_factory=lambda: StageConfig(steps=4000))
    fine: StageConfig = field(default_factory=lambda: StageConfig(steps=12000, rate=1e-3))
    seed: int = 0

    def __post_init__(self) -> None:
        if wrong := [name for name in self.stage if name not in STAGES]:
            raise InputError(f"stage: {wrong[0]!r} is none of {', '.join(STAGES)}")
        if not self.minutes > 0:
            raise InputError(f"minutes: expected more than 0, got {self.minutes:g}")


def main(config: Config) -> int:
    diffusers()
    _check_settings(config)
    torch.set_num_threads(config.threads)
    deadline = time.monotonic() + 60 * config.minutes
    stages = [name for name in STAGES if name in config.stage and (name != "fine" or config.fine_data)]
    with StopSignal() as stop:
        for name in stages:
            trainer = make_trainer(name, config)
            if not _train(trainer, deadline, stop):
                return 0
    say(f"{config.out}: all of {', '.join(stages)} done; `gs-reg teacher check --training {config.out}` measures it")
    return 0


def _check_settings(config: Config) -> None:
    """Writes what must stay the same over all calls, or compares it.

    Raises:
        InputError: the training in `out` was begun with another network, loss, seed or data set.
    """
    path, files = config.out / SETTINGS, read_index(config.data)["sha256"]
    current = {"network": config.network, "loss": config.loss, "seed": config.seed}
    current = {name: to_plain(value) for name, value in current.items()} | {"data": files["train_codes.npy"]}
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(current, indent=1) + "\n", encoding="utf-8")
        return
    for name, before in read_training_settings(config.out).items():
        if before != current[name]:
            raise InputError(f"{path}: {name} was {before}, now {current[name]}; keep it, or choose another --out")


def _train(trainer: Trainer, deadline: float, stop: StopSignal) -> bool:
    """Does the remaining steps of a stage; False where the time was over before the last one."""
    saved = time.monotonic()
    while trainer.step < trainer.config.steps:
        trainer.train_step()
        over = time.monotonic() > deadline or stop.requested is not None
        if over or trainer.step == trainer.config.steps or time.monotonic() - saved > 60 * trainer.config.save_minutes:
            trainer.save()
            saved = time.monotonic()
        if stop.requested is not None:
            raise Interrupted(stop.requested, f"{trainer.name} is at step {trainer.step}; the same command goes on")
        if over and trainer.step < trainer.config.steps:
            say(f"{trainer.name}: step {trainer.step} of {trainer.config.steps}; the same command goes on")
            return False
    return True
