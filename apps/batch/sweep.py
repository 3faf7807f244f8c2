"""`gs-reg sweep`: scenes x variants x seeds, each a run of `reconstruct` in a process of its own, and one table."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import remove_leftovers

from ..runs.config_file import dump_yaml, read_over_preset, read_yaml
from ..runs.flag_names import nested
from ..runs.folder import Run
from ..runs.interrupts import Interrupted, exit_code
from ..runs.lock import locked
from ..runs.progress import say
from ..scenes.config import Config as ReconstructConfig
from ..scenes.no_effect import check_effect
from ..scenes.whole_run import with_whole_run
from .batch import Batch, reset
from .lockfile import JOBS, Lock, lock_jobs
from .options import Options, raise_if_stopped, run_engine
from .paths import Digests
from .specs import Resources, Retry, Spec
from .sweep_table import as_markdown, table_rows

Settings = dict[str, dict[str, Any]]
"""Of the scenes or of the variants of a plan, by name."""


@dataclass(frozen=True)
class Config:
    plan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLAN")]
    """YAML file: `scenes` and `variants`, each a map of names to settings of reconstruct under the names of its flags
    (`views: 3`, `steps: 100`, `coherent.on: true`) or nested as in config.yaml, and a list of `seeds`."""
    out: Path = Path("runs/sweep")
    """Folder of the runs, <scene>/<variant>/seed_<n>, and of the table. Finished runs are not repeated."""
    only: tuple[str, ...] = ()
    """Scenes, variants or both to run; the others wait. Default all."""
    workers: int = 1
    """Runs at a time."""
    dry_run: bool = False
    """Check the plan and list its runs."""
    json: bool = False
    """Print table.json on stdout."""


@dataclass(frozen=True)
class Job:
    """One run of the plan."""

    scene: str
    variant: str
    seed: int
    settings: dict[str, Any]
    """Of reconstruct, as in a file of --config."""

    def folder(self, out: Path) -> Path:
        return out / self.scene / self.variant / f"seed_{self.seed}"

    @property
    def name(self) -> str:
        """For the engine of batches, which knows letters, digits, _, - and . alone."""
        whole = f"{self.scene}/{self.variant}/seed_{self.seed}"
        word = re.sub(r"[^A-Za-z0-9_.-]+", "_", whole.replace("/", "-")).lstrip(".-")
        return f"{word[-80:].lstrip('.-')}-{hashlib.sha256(whole.encode(errors='surrogateescape')).hexdigest()[:4]}"


def _only(config: Config, jobs: Sequence[Job]) -> list[Job]:
    """Those of the scenes named, if any is, and of the variants named, if any is.

    Raises:
        InputError: a name that is none of the plan's.
    """
    scenes, variants = {job.scene for job in jobs}, {job.variant for job in jobs}
    for name in config.only:
        if name not in scenes | variants:
            known = ", ".join([*dict.fromkeys(job.scene for job in jobs), *dict.fromkeys(job.variant for job in jobs)])
            raise InputError(f"--only {name}: no scene or variant of {config.plan} has that name; it has {known}")
    scenes, variants = scenes & set(config.only) or scenes, variants & set(config.only) or variants
    return [job for job in jobs if job.scene in scenes and job.variant in variants]


def main(config: Config) -> int:
    jobs = read_plan(config.plan)
    chosen = _only(config, jobs)
    if config.dry_run:
        for job in chosen:
            say(str(job.folder(config.out)))
        return 0
    config.out.mkdir(parents=True, exist_ok=True)
    with locked(config.out):
        try:
            return run_all(config, jobs, chosen)
        except KeyboardInterrupt as error:
            hint = str(error) or "continue with the same command; finished runs are kept"
            raise Interrupted(exit_code(error) - 128, hint) from None


def run_all(config: Config, jobs: Sequence[Job], chosen: Sequence[Job]) -> int:
    """Runs the chosen jobs and writes the table of all that are finished; returns the exit code."""
    remove_leftovers(config.out, deep=False)
    waiting = []
    for job in chosen:
        folder = job.folder(config.out)
        remove_leftovers(folder.parent, deep=False)
        if result_of(job, config.out) is not None and Run(folder).read_json("status.json").get("state") == "done":
            say(f"{folder}: there already")
        else:
            waiting.append(job)
    failed = run(waiting, config) if waiting else []
    rows = table_rows((job.scene, job.variant, result_of(job, config.out)) for job in jobs)
    table = Run(config.out)
    table.write_json("table.json", {"rows": rows, "failed": [str(job.folder(config.out)) for job in failed]})
    table.write("table.md", as_markdown(rows))
    say(as_markdown(rows) + f"wrote {config.out / 'table.md'}")
    if config.json:
        print(json.dumps(table.read_json("table.json")))
    return 1 if failed else 0


def run(jobs: Sequence[Job], config: Config) -> list[Job]:
    """Runs or resumes jobs as a batch does; returns those that failed."""
    for job in jobs:
        if not (job.folder(config.out) / "config.yaml").is_file():  # a run appears complete or not at all
            folder = job.folder(config.out)
            Run(folder.parent).write(f"{folder.name}.yaml", dump_yaml(job.settings))
    specs = [Spec(job.name, "reconstruct", job.settings, (), Resources(), Retry(), str(config.plan)) for job in jobs]
    with_folders = [
        replace(of_batch, out=str(job.folder(config.out).relative_to(config.out)))
        for job, of_batch in zip(jobs, lock_jobs(specs, Digests()), strict=True)
    ]
    batch = Batch(config.out, Lock(tuple(with_folders)))
    reset(batch, batch.lock.jobs, again=True)
    engine, states = run_engine(batch, batch.lock.jobs, Options(workers=config.workers))
    raise_if_stopped(engine, "the same command")
    return [job for job, status in zip(jobs, states, strict=True) if status.state != "done"]


def read_plan(path: Path) -> tuple[Job, ...]:
    """All runs of a plan, with their settings checked.

    Raises:
        InputError: no plan, an unknown key, or settings that reconstruct does not have.
    """
    with reading(path):
        return _checked_plan(path, read_yaml(path))


def _checked_plan(path: Path, plan: dict[str, Any]) -> tuple[Job, ...]:
    for key in plan.keys() - {"scenes", "variants", "seeds"}:
        raise InputError(f"{path}: unknown key {key!r}; a plan has scenes, variants and seeds")
    for key in ("scenes", "variants"):
        if not isinstance(plan.get(key), dict) or not all(isinstance(v, dict) for v in plan[key].values()):
            raise InputError(f"{path}: {key}: expected a map of names to settings of reconstruct")
        for name in plan[key]:
            if not isinstance(name, str) or not name or set(name) & {"/", "\\"} or name.startswith(".") or name == JOBS:
                raise InputError(
                    f"{path}: {key}: {name!r} cannot name a folder; leave out slashes and a leading dot, or `{JOBS}`"
                )
    seeds = plan.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise InputError(f"{path}: seeds: expected a list of whole numbers, got {seeds!r}")
    scenes, variants = (
        {
            name: nested(ReconstructConfig, settings, f"{path}: {key}.{name}")  # before the two are merged
            for name, settings in plan[key].items()
        }
        for key in ("scenes", "variants")
    )
    jobs = tuple(_jobs(path, scenes, variants, seeds))
    for job in jobs:
        place = f"{path}: {job.scene} x {job.variant}"
        config = read_over_preset(ReconstructConfig, job.settings, place)
        try:
            check_effect(with_whole_run(config))
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
    return jobs


def _jobs(path: Path, scenes: Settings, variants: Settings, seeds: list[int]) -> Iterator[Job]:
    for scene, of_scene in scenes.items():
        if not isinstance(of_scene.get("data"), str):
            raise InputError(f"{path}: scenes.{scene}: expected `data`, the folder of its photos")
        folder = path.parent / of_scene["data"]  # relative to the plan
        for variant, of_variant in variants.items():
            for seed in seeds:
                data = {"data": str(folder.resolve()) if folder.is_dir() else of_scene["data"]}
                yield Job(scene, variant, seed, _merged(of_scene, of_variant) | data | {"seed": seed})


def _merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The settings of both, nested maps merged alike; else `b` wins."""
    shared = {
        key: _merged(a[key], b[key])
        for key in a.keys() & b.keys()
        if isinstance(a[key], dict) and isinstance(b[key], dict)
    }
    return a | b | shared


def result_of(job: Job, out: Path) -> dict[str, Any] | None:
    """result.json of the job's run; None where that is not finished.

    Raises:
        InputError: the run had other settings.
    """
    folder = job.folder(out)
    if not (folder / "result.json").is_file():
        return None
    settings_file = folder.with_suffix(".yaml")
    if read_yaml(settings_file) != job.settings:
        raise InputError(
            f"{settings_file}: not the settings of the plan any more; remove {folder} or name another --out"
        )
    result = Run(folder).read_json("result.json")
    with reading(folder / "result.json"):
        figures = [*result["mean"].values(), result["seconds"]]
        if not all(figure is None or isinstance(figure, int | float) for figure in figures):
            raise InputError(f"{folder / 'result.json'}: expected numbers in `mean` and `seconds`")
    return result
