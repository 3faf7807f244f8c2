"""`gs-reg batch run`: all jobs of a file, here, on a Ray cluster or under Slurm, with nothing done twice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.errors import InputError
from gs_reg.io.atomic import remove_leftovers

from ..runs.folder import Run
from ..runs.progress import plural, say
from .batch import Batch, mark_stale, reset
from .executors import Name
from .jobfile import read_jobs
from .listing import print_plan
from .lockfile import Lock, lock_jobs, read_lock, replaced, stored_digests, write_lock
from .options import Options, check_options, start
from .shared import with_shared_parts

JOBS_FILE = "jobs.yaml"


@dataclass(frozen=True)
class Config:
    jobs: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="JOBS")]
    """YAML file of the jobs (see docs/operations.md)."""
    out: Path | None = None
    """Folder of the batch; default runs/batch-<name of the file>. What is done there is not done again."""
    executor: Name = "local"
    """Where jobs run. local: this machine; ray: a Ray cluster, or a local one; slurm: jobs of Slurm."""
    workers: int | None = None
    """Most jobs at a time; default what the executor has room for."""
    address: str | None = None
    """Of a Ray cluster, such as 10.0.0.5:6379, default a new one on this machine alone; with --executor slurm, `local`
    runs without Slurm."""
    only: tuple[str, ...] = ()
    """Names of jobs, or of entries with a matrix; what they need runs too. Default all."""
    only_failed: bool = False
    """Only jobs that have failed."""
    force: bool = False
    """Do the jobs again that are done already."""
    dry_run: bool = False
    """Print a table of the jobs, their inputs and what they will take; run none."""
    json: bool = False
    """Print the state of every job on stdout."""


def main(config: Config) -> int:
    specs = with_shared_parts(read_jobs(config.jobs))
    path = config.out or Path("runs") / f"batch-{config.jobs.stem}"
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path}: a file; expected a folder")
    digests = stored_digests(path)
    say(f"{config.jobs}: {plural(len(specs), 'job')}")
    jobs = lock_jobs(specs, digests)
    before = read_lock(path) if (path / "jobs.lock.json").is_file() else Lock(())
    batch, options = Batch(path, replaced(before, jobs)), Options(config.executor, config.workers, config.address)
    check_options(options)
    chosen = list(batch.named(config.only) if config.only else batch.lock.jobs)
    if config.dry_run:
        print_plan(batch)
        return 0
    path.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path, deep=False)
    write_lock(path, batch.lock, digests)
    if not (path / JOBS_FILE).exists() or not (path / JOBS_FILE).samefile(config.jobs):
        shutil.copyfile(config.jobs, path / JOBS_FILE)
    mark_stale(batch)
    Run(path).write_json("batch.json", {"file": str(config.jobs.resolve()), **options.plain})
    if config.only_failed:
        chosen = [job for job in chosen if batch.status(job).state == "failed"]
    if config.force or config.only_failed:
        reset(batch, chosen, fresh=config.force)
    return start(batch, chosen, options, config.json)
