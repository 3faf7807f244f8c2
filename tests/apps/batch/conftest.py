"""Batches of fake jobs, in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gs_reg.apps import cli
from gs_reg.apps.batch import engine, reactions
from gs_reg.apps.batch.kinds import KINDS
from gs_reg.apps.batch.states import events

from .fakes import register


@dataclass
class Bench:
    root: Path

    @property
    def out(self) -> Path:
        return self.root / "batch"

    @property
    def file(self) -> Path:
        return self.root / "jobs.yaml"

    def write(self, *jobs: dict, **top) -> Path:
        self.file.write_text(yaml.safe_dump({"kind": "fake", "jobs": list(jobs), **top}, sort_keys=False))
        return self.file

    def run(self, *words) -> int:
        return cli.main(["batch", "run", str(self.file), "--out", str(self.out), "--workers", "2", *map(str, words)])

    def call(self, command: str, *words) -> int:
        return cli.main(["batch", command, str(self.out), *map(str, words)])

    def folder(self, name: str) -> Path:
        lock = json.loads((self.out / "jobs.lock.json").read_text())
        return self.out / "jobs" / next(job["id"] for job in lock["jobs"] if job["name"] == name)

    def status(self, name: str) -> dict:
        return json.loads((self.folder(name) / "status.json").read_text())

    def count(self, name: str, event: str) -> int:
        return sum(one["event"] == event for one in events(self.folder(name)))


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    """The kind `fake` is there, and attempts follow one another at once."""
    for name, kind in register().items():
        monkeypatch.setitem(KINDS, name, kind)
    monkeypatch.setattr(reactions, "WAITS", (0.05,))
    monkeypatch.setattr(engine, "LOOK_SECONDS", 0.1)
    return Bench(tmp_path)
