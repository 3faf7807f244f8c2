"""A job at work: its run, config, capture and device; and how it begins or goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from gs_reg.densify.clusters import cluster_codes
from gs_reg.errors import InputError
from gs_reg.metrics import Lpips, find_lpips

from ..runs.folder import Run, check_free, new_run, open_run, write_settings
from ..runs.resume import check_settings
from ..runs.stage_times import StageTimes
from ..view.live.flags import LiveConfig
from .config import Config
from .regions import Surface
from .sources import PRIOR_POINTS, Source, dataset_of, digest_of, same_prior

SHARES: Mapping[str, float] = {"distil": 20, "training": 65, "evaluation": 15}
"""Stages in their order, and the percentage of the whole that each usually takes."""
DATASET = "dataset.json"


@dataclass(frozen=True)
class Job:
    run: Run
    config: Config
    source: Source
    device: torch.device

    @property
    def times(self) -> StageTimes:
        return StageTimes(self.run, SHARES)

    @cached_property
    def frame_clusters(self) -> Int[Tensor, "T"]:
        """Cluster of expressions of each frame; of frames that are not trained on, 0."""
        frames = torch.tensor(self.source.capture.train_frames)
        found = torch.zeros(len(self.source.capture), dtype=torch.long)
        found[frames] = cluster_codes(self.source.codes, self.config.clusters, self.config.seed)
        return found

    @cached_property
    def surface(self) -> Surface:
        return Surface.of(self.source.prior, self.source.ident)

    @cached_property
    def lpips(self) -> tuple[Lpips | None, str]:
        """The network, and its files or why there is none."""
        return find_lpips(self.config.lpips)


def start(config: Config, source: Source, device: torch.device) -> Job:
    """A job in a new run, or in the one that --resume names.

    Raises:
        InputError: the run was begun with other settings, another capture or other files of the prior, or a picture
            that the evaluation needs is broken.
    """
    if not config.resume:
        return Job(_begin(config, source, device), config, source, device)
    run = open_run(config.out or config.home)
    check_settings(run, config)
    begun = run.read_json(DATASET)
    if begun["sha256"] != digest_of(source.capture):
        raise InputError(f"{source.capture.folder}: not the capture that {run.path} began with; start a new run")
    if not same_prior(source, begun.get(PRIOR_POINTS)):
        place = config.prior_folder or source.capture.folder
        raise InputError(f"{place}: not the files of {source.prior.name} that {run.path} began with; start a new run")
    job = Job(run, config, source, device)
    _check_evaluated(job)
    return job


def _begin(config: Config, source: Source, device: torch.device) -> Run:
    check_free(config.out)

    def fill(run: Run) -> None:
        _check_evaluated(Job(run, config, source, device))
        write_settings(run, with_absolute_paths(config))
        run.write_json(DATASET, dataset_of(source))

    return new_run(config.out, config.home, fill)


def _check_evaluated(job: Job) -> None:
    from .held_out import check_evaluated  # it imports this module

    check_evaluated(job)


def with_absolute_paths(config: Config) -> Config:
    """The config as a run stores it: it can be continued from any folder."""
    return replace(
        config,
        data=str(Path(config.data).resolve()),
        prior_folder=None if config.prior_folder is None else config.prior_folder.resolve(),
        lpips=tuple(path.resolve() for path in config.lpips),
        out=None,
        config=None,
        resume=False,
        json=False,
        live=LiveConfig(),
    )
