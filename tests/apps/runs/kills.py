"""`make kills`: a small run is killed at random moments of its life, and comes to the same bits all the same.

KILLS, SEED and ONLY (a number) in the environment choose which kills are done.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from ..avatar.ball import stand_in
from .forked import start

KILLS = int(os.environ.get("KILLS", "200"))
SEED = int(os.environ.get("SEED", "0"))
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Chosen from at random: most of the kills cannot be caught."""
USUAL = ("--preset", "ci", "--checkpoint-every", "4")
KINDS = {
    "depth": (*USUAL, "--train.steps", "6", "--free.train.steps", "6"),
    "random": (*USUAL, "--start", "random", "--train.steps", "0", "--free.train.steps", "12"),
}


class Killer:
    """Runs commands in a folder, to their end or to a random moment."""

    def __init__(self, folder: Path, seed: int, before: Callable[[], None] | None = None):
        self.folder, self.chance, self.before = folder, random.Random(seed), before

    def whole(self, name: str, words) -> tuple[int, str, float]:
        """Exit code, what was said, and seconds, of a command that is left alone."""
        began, process = time.monotonic(), start(words, self.folder / f"{name}.txt", self.before)
        process.join()
        return process.exitcode, (self.folder / f"{name}.txt").read_text(), time.monotonic() - began

    def killed(self, name: str, words, life: float) -> tuple[str, float | None]:
        """The moment and the signal in words, of a command that is killed, at times once more while it saves.

        Also its seconds if it had ended before: then nothing was killed.
        """
        how, share = self.chance.choice(SIGNALS), self.chance.choice((0.4, 1.0))
        after, again = self.chance.uniform(0, share * life), self.chance.random() < 0.1
        began, process = time.monotonic(), start(words, self.folder / f"{name}.txt", self.before)
        process.join(after)
        ended = None if process.is_alive() else time.monotonic() - began
        if ended is None:
            os.kill(process.pid, how)
        if again:
            process.join(self.chance.uniform(0, 0.3))
            process.kill()
        process.join(60)
        assert not process.is_alive(), f"{name}: {how.name} after {after:.2f} s: it goes on"
        said = (self.folder / f"{name}.txt").read_text() if (self.folder / f"{name}.txt").is_file() else ""
        case = f"{name}: {how.name} {'twice ' if again else ''}after {after:.2f} of {life:.1f} s: {process.exitcode}"
        assert "Traceback" not in said and "stack trace" not in said, f"{case}\n{said}"
        codes = {0, -how, 128 + how, -signal.SIGKILL}
        assert process.exitcode in codes, f"{case}\n{said}"
        return f"{case}, said last {(said.splitlines() or [''])[-1]!r:.60}", ended


@pytest.mark.slow
def test_every_kill_is_made_good(photos, tmp_path):
    killer = Killer(tmp_path, SEED)
    wanted, lives = {}, {}
    for kind, flags in KINDS.items():
        killer.whole(f"{kind}_first", ("reconstruct", photos, *flags, "--out", tmp_path / f"{kind}_first"))
        code, said, lives[kind] = killer.whole(kind, ("reconstruct", photos, *flags, "--out", tmp_path / kind))
        assert code == 0, said
        wanted[kind] = (tmp_path / kind / "splats.ply").read_bytes()
        assert (tmp_path / f"{kind}_first" / "splats.ply").read_bytes() == wanted[kind]
    number = done = 0
    while done < KILLS:
        number += 1
        kind = killer.chance.choice(("depth", "random", "random"))
        run, words = tmp_path / f"run_{number}", (photos, *KINDS[kind])
        if killer.chance.random() < 0.3:
            run.mkdir()
        case, ended = killer.killed(run.name, ("reconstruct", *words, "--out", run), lives[kind])
        begun = (run / "config.yaml").is_file()
        again = ("--resume", "--out", run) if begun else (*words, "--out", run)
        code, said, seconds = killer.whole(f"{run.name}_again", ("reconstruct", *again))
        assert code == 0 and "Traceback" not in said, f"{case}\n{said}"
        assert (run / "splats.ply").read_bytes() == wanted[kind], case
        left = [path for path in run.rglob(".*")] + [path for path in tmp_path.glob(f".{run.name}.*")]
        assert not left and (run / "report.html").is_file(), f"{case}: {left}"
        done += ended is None
        # the machine may have become faster or slower
        lives[kind] = lives[kind] if ended is None and begun else ended or seconds
        words = "ended before" if ended else "resumed" if begun else "started again"
        print(f"{done} of {KILLS}: {case}: {words}", flush=True)
        shutil.rmtree(run)


@pytest.mark.slow
def test_every_kill_of_a_sweep_is_made_good(photos, tmp_path):
    killer, plan = Killer(tmp_path, SEED), tmp_path / "plan.yaml"
    settings = {"preset": "ci", "start": "random", "checkpoint_every": 4, "stop_after": "report"}
    settings |= {"train": {"steps": 0}, "free": {"train": {"steps": 12}}}
    scenes = {"tiny": {"data": str(photos)}}
    plan.write_text(yaml.safe_dump({"scenes": scenes, "variants": {"a": settings}, "seeds": [0, 1]}))
    code, said, life = killer.whole("whole", ("sweep", plan, "--out", tmp_path / "whole"))
    assert code == 0, said
    names = [f"tiny/a/seed_{seed}/splats.ply" for seed in (0, 1)]
    wanted = [(tmp_path / "whole" / name).read_bytes() for name in names]
    number = done = 0
    while done < max(1, KILLS // 10):
        number += 1
        out = tmp_path / f"sweep_{number}"
        case, ended = killer.killed(out.name, ("sweep", plan, "--out", out), life)
        code, said, _ = killer.whole(f"{out.name}_again", ("sweep", plan, "--out", out))
        assert code == 0 and "Traceback" not in said, f"{case}\n{said}"
        assert [(out / name).read_bytes() for name in names] == wanted, case
        left = list(out.rglob(".*"))
        assert not left and (out / "table.md").is_file(), f"{case}: {left}"
        done, life = done + (ended is None), ended or life
        print(f"{done}: {case}", flush=True)
        shutil.rmtree(out)


@pytest.mark.slow
def test_every_kill_of_a_batch_is_made_good(photos, tmp_path):
    killer, file = Killer(tmp_path, SEED), tmp_path / "jobs.yaml"
    settings = {"preset": "ci", "start": "random", "checkpoint_every": 4, "stop_after": "train"}
    settings |= {"train": {"steps": 0}, "free": {"train": {"steps": 12}}}
    tiny = {"id": "tiny", "kind": "reconstruct", "data": str(photos), "seeds": [0, 1]}
    copy = {"id": "copy", "kind": "export", "source": "{jobs.tiny-seed0.out}", "to": "copy.splat"}
    jobs = {"defaults": {"reconstruct": settings}, "resources": {"threads": 1}, "jobs": [tiny, copy]}
    file.write_text(yaml.safe_dump(jobs, sort_keys=False))
    words = ("batch", "run", file, "--workers", "2", "--out")
    code, said, life = killer.whole("whole", (*words, tmp_path / "whole"))
    assert code == 0, said
    made = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").glob("jobs/*/out/[sc]*.[ps]*l*"))
    made = [name for name in made if name.name in ("splats.ply", "copy.splat")]
    assert len(made) == 3
    wanted = [(tmp_path / "whole" / name).read_bytes() for name in made]
    number = done = 0
    while done < max(1, KILLS // 10):
        number += 1
        out = tmp_path / f"batch_{number}"
        case, ended = killer.killed(out.name, (*words, out), life)
        begun = (out / "jobs.lock.json").is_file()
        code, said, _ = killer.whole(f"{out.name}_again", ("batch", "resume", out) if begun else (*words, out))
        assert code == 0 and "Traceback" not in said, f"{case}\n{said}"
        assert [(out / name).read_bytes() for name in made] == wanted, case
        left = [path for path in out.rglob(".*")]
        assert not left and (out / "report.html").is_file(), f"{case}: {left}"
        done, life = done + (ended is None), ended or life
        print(f"{done}: {case}", flush=True)
        shutil.rmtree(out)


@pytest.mark.slow
def test_every_kill_of_an_avatar_is_made_good(tmp_path):
    """In each of its phases, the distilling among them, on a ball that stands in for a head."""
    ball = tmp_path / "ball"
    ball.mkdir()
    killer, kinds = Killer(tmp_path, SEED, partial(stand_in, ball)), ("avatar/avatar.safetensors", "avatar/avatar.json")
    words = ("avatar", "train", ball, "--preset", "ci", "--device", "cpu", "--checkpoint-every", "4")
    words += ("--distil.steps", "12", "--warm-up", "6", "--joint", "24", "--screen", "6", "--density.every", "6")
    killer.whole("first", (*words, "--out", tmp_path / "first"))
    code, said, life = killer.whole("whole", (*words, "--out", tmp_path / "whole"))
    assert code == 0, said
    wanted = [(tmp_path / "whole" / name).read_bytes() for name in kinds]
    assert [(tmp_path / "first" / name).read_bytes() for name in kinds] == wanted
    number = done = 0
    while done < max(1, KILLS // 16):
        number += 1
        out = tmp_path / f"avatar_{number}"
        case, ended = killer.killed(out.name, (*words, "--out", out), life)
        begun = (out / "config.yaml").is_file()
        again = ("avatar", "train", "--resume", "--out", out) if begun else (*words, "--out", out)
        code, said, seconds = killer.whole(f"{out.name}_again", again)
        assert code == 0 and "Traceback" not in said, f"{case}\n{said}"
        assert [(out / name).read_bytes() for name in kinds] == wanted, case
        left = list(out.rglob(".*"))
        assert not left and (out / "report.html").is_file(), f"{case}: {left}"
        done += ended is None
        life = life if ended is None and begun else ended or seconds
        print(f"{done}: {case}: {'ended before' if ended else 'resumed' if begun else 'started again'}", flush=True)
        shutil.rmtree(out)
