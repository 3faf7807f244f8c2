"""The published benchmark: 25 edits, 75 jobs, all of them what `gs-reg edit run` takes."""

from collections import Counter

import pytest

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps.edit.checks import check_edit
from gs_reg.apps.edit.config import Config
from gs_reg.apps.edit.published_prompts import EDITS, PublishedEdit, published_jobs
from gs_reg.errors import InputError


def test_twenty_easy_edits_and_five_hard_ones():
    assert Counter(edit.group for edit in EDITS) == dict.fromkeys(("eyes", "nose", "mouth", "hair", "hard"), 5)
    assert len({edit.edit for edit in EDITS}) == 25
    assert PublishedEdit("mouth", "mouth", "a gold mouth") in EDITS
    assert PublishedEdit("hard", "nose", "a croissant nose") in EDITS


def test_every_edit_passes_the_checks_of_a_run():
    for edit in EDITS:
        flags = dict(zip(*[iter(edit.flags())] * 2, strict=True))
        values = {name.removeprefix("--"): value for name, value in flags.items()}
        config = Config(data="face.ply", model="sd3", **values)
        check_edit(config)
        assert config.part_taus[config.part_names.index(edit.part)] == (0.2 if edit.part == "hair" else 0.1)


def test_75_jobs_on_three_scenes_and_on_no_other_number():
    jobs = list(published_jobs(["a.ply", "b.ply", "c.ply"]))
    assert len(jobs) == 75 and len(set(jobs)) == 75
    for scenes in (["a.ply"], ["a.ply", "b.ply", "b.ply"]):
        with pytest.raises(InputError, match="3 scenes of faces"):
            published_jobs(scenes)
