"""Reads a job file: YAML of what to do, as `Spec`s. Every complaint says the file, the line and the key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError, MissingPart, did_you_mean, reading

from ..runs.config_file import SCHEMA, from_plain, read_over_preset
from ..runs.flag_names import nested
from .edit_form import as_flags
from .kinds import KINDS, NEEDED, OF_THE_BATCH, Kind
from .matrix import JOB_NAME, MOST_JOBS, REFERENCE, combinations, filled, name_of, size
from .paths import absent, absolute
from .specs import Resources, Retry, Spec
from .yaml_lines import Lines, Way, read_lines

TOP = ("schema", "kind", "defaults", "resources", "retry", "seeds", "matrix", "jobs")
OF_A_JOB = ("id", "kind", "needs", "resources", "retry", "seeds", "matrix")
"""Keys of a job that are no flags."""
EDITS = ("edit", "parts")


@dataclass(frozen=True)
class _Entry:
    """A job of the file, or its matrix, before it is expanded."""

    values: dict[str, Any]
    way: Way
    matrix_way: Way


def read_jobs(path: Path) -> tuple[Spec, ...]:
    """All jobs of a file, in its order, with their settings checked.

    Raises:
        InputError: file, line and key of what is wrong.
        MissingPart: a job would end so.
    """
    data, lines = read_lines(path)
    with reading(path):
        return _File(data, lines).specs()


class _File:
    def __init__(self, data: dict[str, Any], lines: Lines):
        self.data, self.lines = data, lines
        self._known((), data, TOP)
        if data.get("schema", SCHEMA) != SCHEMA:
            raise lines.refusal(("schema",), f"expected {SCHEMA}")
        self.kind = data.get("kind")
        if self.kind is not None:
            self._kind(("kind",), self.kind)
        self.resources = self._part(("resources",), data.get("resources", {}), Resources())
        self.retry = self._part(("retry",), data.get("retry", {}), Retry())

    def specs(self) -> tuple[Spec, ...]:
        entries = list(self._entries())
        total = 0
        for entry in entries:
            total += size(self._matrix(entry))
            if total > MOST_JOBS:
                raise self.lines.refusal(entry.matrix_way, f"expected at most {MOST_JOBS:,} jobs in all")
        if not total:
            raise self.lines.refusal(("jobs",), "expected a list of jobs, or a matrix")
        made: list[tuple[str, Spec]] = []
        for entry in entries:
            made += ((self._id(entry), spec) for spec in self._expanded(entry))
        self._once(made)
        return tuple(self._connected(made))

    def _entries(self) -> Iterator[_Entry]:
        jobs = self.data.get("jobs", [])
        if not isinstance(jobs, list):
            raise self.lines.refusal(("jobs",), "expected a list")
        for number, values in enumerate(jobs):
            way: Way = ("jobs", number)
            if not isinstance(values, dict):
                raise self.lines.refusal(way, "expected a map of the job's flags")
            yield _Entry(values, way, (*way, "matrix"))
        if "matrix" in self.data:
            yield _Entry({"id": "matrix", "matrix": self.data["matrix"]}, (), ("matrix",))

    def _matrix(self, entry: _Entry) -> dict[str, list[Any]]:
        matrix = entry.values.get("matrix", {})
        if not isinstance(matrix, dict):
            raise self.lines.refusal(entry.matrix_way, "expected a map of flags to lists of values")
        for key, values in matrix.items():
            if not isinstance(values, list) or not values:
                raise self.lines.refusal((*entry.matrix_way, key), "expected a list of values")
        own, common = entry.values.get("seeds"), self.data.get("seeds")
        seeds = common if own is None else own
        if seeds is None:
            return matrix
        way: Way = ("seeds",) if own is None else (*entry.way, "seeds")
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
            raise self.lines.refusal(way, "expected a list of whole numbers")
        if not self._has_seed(entry):
            if own is not None:
                raise self.lines.refusal(way, f"{self._kind_of(entry)[0]} has no seed: leave it out")
            return matrix
        if "seed" in matrix:
            raise self.lines.refusal(way, "given twice, also as seed in the matrix")
        return matrix | {"seed": seeds}

    def _has_seed(self, entry: _Entry) -> bool:
        return "seed" in {field.name for field in dataclasses.fields(self._kind_of(entry)[1].config)}

    def _id(self, entry: _Entry) -> str:
        name = entry.values.get("id")
        if not isinstance(name, str) or not JOB_NAME.fullmatch(name):
            way: Way = (*entry.way, "id") if "id" in entry.values else entry.way
            raise self.lines.refusal(way, f"id: expected letters, digits, _ - . (no path), got {name!r:.80}")
        return name

    def _kind_of(self, entry: _Entry) -> tuple[str, Kind]:
        name = entry.values.get("kind", self.kind)
        return str(name), self._kind((*entry.way, "kind"), name)

    def _kind(self, way: Way, name: Any) -> Kind:
        if isinstance(name, str) and name in KINDS:
            return KINDS[name]
        offer = did_you_mean(name, KINDS)
        raise self.lines.refusal(way, f"kind: expected one of {', '.join(KINDS)}, got {name!r:.80}{offer}")

    def _defaults(self, kind: str) -> tuple[dict[str, Any], Way]:
        """Flags that jobs of a kind share, and where they stand."""
        values, way = self.data.get("defaults", {}), ("defaults",)
        if not isinstance(values, dict):
            raise self.lines.refusal(way, "expected a map")
        if self.kind is not None:
            return (values if kind == self.kind else {}), way
        for key, inner in values.items():
            self._kind((*way, key), key)
            if not isinstance(inner, dict):
                raise self.lines.refusal((*way, key), "expected a map of flags")
        return values.get(kind, {}), (*way, kind)

    def _expanded(self, entry: _Entry) -> Iterator[Spec]:
        name, (kind_name, kind) = self._id(entry), self._kind_of(entry)
        place = f"{self.lines.place(entry.way)}: {name}"
        resources = self._part((*entry.way, "resources"), entry.values.get("resources", {}), self.resources)
        retry = self._part((*entry.way, "retry"), entry.values.get("retry", {}), self.retry)
        needs = entry.values.get("needs", [])
        if not isinstance(needs, list) or not all(isinstance(one, str) for one in needs):
            raise self.lines.refusal((*entry.way, "needs"), "expected a list of ids of jobs")
        defaults, default_way = self._defaults(kind_name)
        own = {key: value for key, value in entry.values.items() if key not in OF_A_JOB}
        ways: list[Way] = [entry.matrix_way, entry.way, default_way]
        for way, values in ((default_way, defaults), (entry.way, own), (entry.matrix_way, self._matrix(entry))):
            for key in values:
                if key.replace("-", "_") in OF_THE_BATCH:
                    raise self.lines.refusal((*way, key), "the batch gives this to each job: leave it out")
        for chosen in combinations(self._matrix(entry)):
            raw = filled({**defaults, **own, **chosen}, chosen, lambda text: self.lines.refusal(entry.way, text))
            wanted = filled(needs, chosen, lambda text: self.lines.refusal((*entry.way, "needs"), text))
            settings = self._checked(kind_name, kind, raw, place, ways, bool(wanted))
            yield Spec(name_of(name, chosen), kind_name, settings, tuple(wanted), resources, retry, place)

    def _checked(
        self, name: str, kind: Kind, raw: dict, place: str, ways: Sequence[Way], waits: bool
    ) -> dict[str, Any]:
        """The settings nested, with absolute paths, once they are known to make a config; `waits`: for another job,
        which may write what is not there yet."""
        try:
            flags = as_flags(raw) if name in EDITS else raw
            settings = nested(kind.config, flags, place)
            if name in NEEDED and not isinstance(settings.get(NEEDED[name]), str):
                raise InputError(f"{place}.{NEEDED[name]}: expected the path of what to {name}")
            if kind.target is not None:
                settings.setdefault("to", kind.target(settings))
            settings = absolute(kind, settings, self.lines.path.parent)
            config = read_over_preset(kind.config, settings, place)
            if kind.check is not None and (kind.target is not None or not _promised(settings)):
                kind.check(config)
            if not waits and (missing := absent(kind, settings)) is not None:
                raise InputError(f"{_key_of(missing, settings)}: {missing:.200}: no such file or folder")
        except (ValueError, MissingPart) as error:
            text = str(error).removeprefix(place).lstrip(": .")
            where = self._line_of(text, ways)
            made = f"{where}: {place.partition(': ')[2]}: {text}"
            raise (MissingPart if isinstance(error, MissingPart) else InputError)(made) from None
        return settings

    def _line_of(self, text: str, ways: Sequence[Way]) -> str:
        """File and line of the setting that a complaint names, as far as it is in the file."""
        first = text.partition(":")[0]
        unknown = re.findall(r"unknown key '([^']+)'", text)
        words = [*(f"{first}.{key}" for key in unknown), *unknown, first, *re.findall(r"--([\w.-]+)", text)]
        for word in words:
            keys = word.strip(".").replace("-", "_").split(".")
            for way in ways:
                for start in range(len(keys)):
                    for end in range(len(keys), start, -1):
                        for inner in (tuple(keys[start:end]), (".".join(keys[start:end]),)):
                            if (*way, *inner) in self.lines.of:
                                return self.lines.place((*way, *inner))
        return self.lines.place(ways[1])

    def _part(self, way: Way, values: Any, base: Any) -> Any:
        """Resources or retry of a job, over those of the file."""
        place = ".".join(str(key) for key in way)
        try:
            return from_plain(type(base), values, place, base)
        except InputError as error:
            raise InputError(f"{self.lines.place(way)}: {error}") from None

    def _known(self, way: Way, values: dict[str, Any], known: Sequence[str]) -> None:
        for key in values:
            if key not in known:
                offer = did_you_mean(key, known, f"; expected {', '.join(known)}")
                raise self.lines.refusal((*way, key), f"unknown key{offer}")

    def _once(self, made: Sequence[tuple[str, Spec]]) -> None:
        seen: dict[str, str] = {}
        for _, spec in made:
            if spec.name in seen:
                raise InputError(f"{spec.place}: {spec.name} is the name of two jobs ({seen[spec.name]}): change an id")
            seen[spec.name] = spec.place

    def _connected(self, made: Sequence[tuple[str, Spec]]) -> Iterator[Spec]:
        """The jobs with the names of all that they need, by `needs` or by a reference."""
        by_id: dict[str, list[str]] = {}
        for base, spec in made:
            by_id.setdefault(base, []).append(spec.name)
            if base != spec.name:
                by_id.setdefault(spec.name, []).append(spec.name)
        for _, spec in made:
            needs: dict[str, None] = {}
            for name in spec.needs:
                if name not in by_id:
                    raise InputError(f"{spec.place}: needs: no job {name!r:.80}{_near(name, by_id)}")
                needs |= dict.fromkeys(by_id[name])
            for name in REFERENCE.findall(str(spec.settings)):
                found = by_id.get(name, [])
                if len(found) != 1:
                    what = f"is {len(found)} jobs: name one, such as {found[0]}" if found else "is no job"
                    raise InputError(
                        f"{spec.place}: {{jobs.{name:.80}.out}} {what}{'' if found else _near(name, by_id)}"
                    )
                needs[found[0]] = None
            yield dataclasses.replace(spec, needs=tuple(needs))


def _near(name: str, known: dict[str, list[str]]) -> str:
    return did_you_mean(name, known, f"; there is {', '.join(list(known)[:8])}")


def _key_of(text: str, settings: Any, above: str = "") -> str:
    """The setting that has a text as its value, or in its list."""
    for key, value in settings.items():
        if isinstance(value, dict) and (found := _key_of(text, value, f"{above}{key}.")):
            return found
        if value == text or (isinstance(value, list) and text in value):
            return f"{above}{key}"
    return ""


def _promised(settings: Any) -> bool:
    """Whether the settings name an output that is not there yet."""
    return bool(REFERENCE.search(str(settings)))
