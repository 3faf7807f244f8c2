"""`make kills`, of edits: one is killed at random moments of its life, and comes to the same bits all the same."""

import shutil

import pytest

from ..runs.kills import KILLS, SEED, Killer


@pytest.mark.slow
def test_every_kill_of_an_edit_is_made_good(mug, tmp_path):
    killer, words = Killer(tmp_path, SEED), ("edit", "run", *mug.edit, "--checkpoint-every", "7")
    source = mug.scene.read_bytes()
    killer.whole("first", (*words, "--out", tmp_path / "first"))
    code, said, life = killer.whole("whole", (*words, "--out", tmp_path / "whole"))
    assert code == 0, said
    wanted = (tmp_path / "whole" / "edited.ply").read_bytes()
    assert (tmp_path / "first" / "edited.ply").read_bytes() == wanted != source
    number = done = 0
    while done < max(1, KILLS // 8):
        number += 1
        out = tmp_path / f"edit_{number}"
        case, ended = killer.killed(out.name, (*words, "--out", out), life)
        begun = (out / "config.yaml").is_file()
        again = ("edit", "run", "--resume", "--out", out) if begun else (*words, "--out", out)
        code, said, seconds = killer.whole(f"{out.name}_again", again)
        assert code == 0 and "Traceback" not in said, f"{case}\n{said}"
        assert (out / "edited.ply").read_bytes() == wanted and mug.scene.read_bytes() == source, case
        left = [*out.rglob(".*"), *tmp_path.glob(f".{out.name}.*")]
        assert not left and (out / "report.html").is_file(), f"{case}: {left}"
        done += ended is None
        life = life if ended is None and begun else ended or seconds
        print(f"{done}: {case}: {'ended before' if ended else 'resumed' if begun else 'started again'}", flush=True)
        shutil.rmtree(out)
