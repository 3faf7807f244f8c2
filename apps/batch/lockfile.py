"""jobs.lock.json of a batch: its jobs with their ids, each from all that its result depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg import __version__
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path

from ..runs.config_file import from_plain, read_over_preset, to_plain
from ..runs.resume import IGNORED_ON_RESUME
from .kinds import KINDS, OF_THE_BATCH
from .matrix import REFERENCE
from .paths import Digests, paths_in
from .specs import Resources, Retry, Spec

LOCK, SCHEMA = "jobs.lock.json", 1
JOBS = "jobs"
JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,110}")
NO_PART_OF_THE_RESULT = {*OF_THE_BATCH, *IGNORED_ON_RESUME} - {"data", "prior_folder", "lpips", "stop_after"}


@dataclass(frozen=True)
class Job:
    id: str
    """Its name, and a hash of its config, the content of its inputs and the version."""
    name: str
    kind: str
    settings: dict[str, Any]
    """{jobs.ID.out} stands for the output of another job."""
    needs: tuple[str, ...]
    """Ids."""
    inputs: dict[str, str]
    """SHA-256 of each file or folder that the settings name."""
    bytes: int
    """Of the inputs."""
    resources: Resources
    retry: Retry
    out: str
    """Folder of what it makes, below the batch."""

    def folder(self, batch: Path) -> Path:
        return batch / JOBS / self.id


@dataclass(frozen=True)
class Lock:
    jobs: tuple[Job, ...]
    version: str = __version__
    stale: tuple[str, ...] = ()
    """Ids of jobs of earlier versions of the file, or of its inputs."""


def lock_jobs(specs: Sequence[Spec], digests: Digests) -> tuple[Job, ...]:
    """The jobs, those that are needed first.

    Raises:
        InputError: jobs need one another in a circle.
    """
    by_name = {spec.name: spec for spec in specs}
    made: dict[str, Job] = {}
    for name in _in_order(by_name):
        made[name] = _locked(by_name[name], made, digests)
    return tuple(made.values())


def _in_order(specs: Mapping[str, Spec]) -> list[str]:
    """Names such that each comes after those that it needs, else as in the file."""
    order: dict[str, None] = {}
    for start in specs:
        way: list[tuple[str, int]] = [(start, 0)]
        on_way = {start}
        while way:
            name, number = way.pop()
            needs = specs[name].needs
            if name in order or number == len(needs):
                order.setdefault(name)
                on_way.discard(name)
                continue
            way.append((name, number + 1))
            after = needs[number]
            if after in on_way:
                raise InputError(
                    f"{specs[name].place}: needs {after}, which needs it too: jobs cannot wait in a circle"
                )
            if after not in order:
                on_way.add(after)
                way.append((after, 0))
    return list(order)


def _locked(spec: Spec, made: Mapping[str, Job], digests: Digests) -> Job:
    kind, settings = KINDS[spec.kind], _with_ids(spec.settings, made)
    inputs, total = {}, 0
    for text in paths_in(kind, settings):
        if not REFERENCE.search(text) and Path(text).is_absolute() and Path(text).exists():
            inputs[text], size = digests.of(Path(text))
            total += size
    plain = to_plain(read_over_preset(kind.config, settings, spec.place))
    known = {key: value for key, value in plain.items() if key not in NO_PART_OF_THE_RESULT}
    whole = [spec.kind, _with_digests(known, inputs), __version__]
    short = hashlib.sha256(json.dumps(whole, sort_keys=True).encode(errors="surrogateescape")).hexdigest()[:8]
    job_id = f"{spec.name}-{short}"
    return Job(
        id=job_id,
        name=spec.name,
        kind=spec.kind,
        settings=settings,
        needs=tuple(made[name].id for name in spec.needs),
        inputs=inputs,
        bytes=total,
        resources=spec.resources,
        retry=spec.retry,
        out=f"{JOBS}/{job_id}/out",
    )


def _with_ids(value: Any, made: Mapping[str, Job]) -> Any:
    """References by id in place of those by name."""
    if isinstance(value, dict):
        return {key: _with_ids(inner, made) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_ids(inner, made) for inner in value]
    return REFERENCE.sub(lambda m: f"{{jobs.{_named(m[1], made).id}.out}}", value) if isinstance(value, str) else value


def _named(name: str, made: Mapping[str, Job]) -> Job:
    """The job of a name, which may be the id of an entry that is one job."""
    return made[name] if name in made else next(job for job in made.values() if job.name.startswith(name))


def _with_digests(value: Any, inputs: Mapping[str, str]) -> Any:
    """The values with what inputs contain in place of where they lie."""
    if isinstance(value, dict):
        return {key: _with_digests(inner, inputs) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_digests(inner, inputs) for inner in value]
    if isinstance(value, str):
        word, colon, rest = value.partition(":")
        return inputs.get(value) or (f"{word}:{inputs[rest]}" if colon and rest in inputs else value)
    return value


def resolved(settings: Any, batch: Path, outs: Mapping[str, str]) -> Any:
    """Settings with the folders that references stand for."""
    if isinstance(settings, dict):
        return {key: resolved(value, batch, outs) for key, value in settings.items()}
    if isinstance(settings, list):
        return [resolved(value, batch, outs) for value in settings]
    if isinstance(settings, str):
        return REFERENCE.sub(lambda match: str(batch / outs[match[1]]), settings)
    return settings


def write_lock(batch: Path, lock: Lock, digests: Digests) -> None:
    batch.mkdir(parents=True, exist_ok=True)
    value = {
        "schema": SCHEMA,
        "version": lock.version,
        "stale": lock.stale,
        "jobs": [to_plain(job) for job in lock.jobs],
    }
    with atomic_path(batch / LOCK) as temporary:
        temporary.write_text(json.dumps(value | {"read": digests.known}, indent=1) + "\n", encoding="utf-8")


def read_lock(batch: Path) -> Lock:
    """The jobs of a batch.

    Raises:
        InputError: it is none, or its file is broken.
    """
    path = batch / LOCK
    if not path.is_file():
        raise InputError(f"{batch}: not the folder of a batch (no {LOCK}); `gs-reg batch run jobs.yaml` makes one")
    with reading(path):
        data = json.loads(path.read_text(encoding="utf-8"))
        jobs = tuple(_job(entry, path) for entry in data["jobs"])
        ids = {job.id for job in jobs}
        for job in jobs:
            if not ids.issuperset((*job.needs, *REFERENCE.findall(str(job.settings)))):
                raise InputError(f"{path}: {job.id} needs a job that is not there")
        stale = tuple(one for one in data["stale"] if isinstance(one, str) and JOB_ID.fullmatch(one))
        return Lock(jobs, str(data["version"]), stale)


def _job(entry: Any, path: Path) -> Job:
    values: dict[str, Any] = dict(entry)
    values["resources"] = from_plain(Resources, values["resources"], f"{path}: resources")
    values["retry"] = from_plain(Retry, values["retry"], f"{path}: retry")
    values["needs"] = tuple(values["needs"])
    texts = [values[name] for name in ("id", "name", "kind", "out")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(values["settings"], dict):
        raise InputError(f"{path}: expected texts as id, name, kind and out of each job, and a map as its settings")
    job = Job(**values)
    if not JOB_ID.fullmatch(job.id) or job.kind not in KINDS:
        raise InputError(f"{path}: {str(job.id)[:80]!r}: not a job of this version")
    inside = Path(job.out)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise InputError(f"{path}: {job.id}: out: expected a folder below the batch")
    return job


def stored_digests(batch: Path) -> Digests:
    """What the inputs contained when they were last read; nothing where there is no batch yet."""
    try:
        read = json.loads((batch / LOCK).read_text(encoding="utf-8"))["read"]
        return Digests({path: (int(size), int(time), str(digest)) for path, (size, time, digest) in read.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Digests()


def replaced(lock: Lock, jobs: Sequence[Job]) -> Lock:
    """The lock with new jobs; those that are no more are stale."""
    ids = {job.id for job in jobs}
    old = [*lock.stale, *(job.id for job in lock.jobs)]
    return dataclasses.replace(lock, jobs=tuple(jobs), stale=tuple(dict.fromkeys(i for i in old if i not in ids)))
