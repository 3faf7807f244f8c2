"""What the page of an edit knows: before and after, the part at a point, masks."""

import pytest
import torch

from gs_reg.apps.view.edit.panel import EditPanel
from gs_reg.apps.view.edit.picking import pick
from gs_reg.apps.view.edit.source import open_edit
from gs_reg.apps.view.kinds import is_edit
from gs_reg.apps.view.scene_page import ScenePage
from gs_reg.apps.view.server import Address, served
from gs_reg.errors import InputError
from gs_reg.render import RenderConfig
from gs_reg.sh import sh_to_rgb

from .edits import GREEN, NAMES, write_edit_run
from .scenes import RED, crossing, write_run


def test_it_is_told_from_other_runs(tmp_path):
    assert is_edit(write_edit_run(tmp_path / "edit")) and is_edit(write_edit_run(tmp_path / "parts", edited=False))
    assert not is_edit(write_run(tmp_path / "scene")) and not is_edit(tmp_path / "nothing")


@pytest.mark.parametrize("removed", [0, 50])
def test_before_and_after(tmp_path, removed):
    """Also where the edit has another number of splats than labels."""
    edit = open_edit(write_edit_run(tmp_path / "run", removed), None)
    half = len(crossing()) // 2
    assert edit.after is not None and len(edit.after) == 2 * half - removed and len(edit.before) == 2 * half
    assert torch.allclose(sh_to_rgb(edit.before.sh[:half, 0]), torch.tensor(RED), atol=1e-5)
    assert torch.allclose(sh_to_rgb(edit.after.sh[: half - removed, 0]), torch.tensor(GREEN), atol=1e-5)
    assert torch.allclose(edit.before.means[half:], edit.after.means[half - removed :], atol=1e-5)
    assert edit.part == NAMES[1] and "a green sheet" in edit.words and "60.0 dB" in edit.words


def test_parts_alone(tmp_path):
    edit = open_edit(write_edit_run(tmp_path / "run", edited=False), None)
    assert edit.after is None and len(edit.shown.splats) == len(crossing()) and "nothing is edited" in edit.words
    (tmp_path / "run-source.ply").unlink()
    with pytest.raises(InputError, match=r"run-source\.ply, are gone"):
        open_edit(tmp_path / "run", None)


def test_the_part_at_a_point(tmp_path):
    """Red is nearer on the left, blue on the right; the corner is empty."""
    edit = open_edit(write_edit_run(tmp_path / "run"), None)
    ids, camera = edit.decision.ids, edit.shown.first

    def at(x: float, y: float):
        return pick(edit.before, ids, len(NAMES), camera, x, y, RenderConfig())

    left, right = at(0.4, 0.5), at(0.6, 0.5)
    assert left is not None and NAMES[left.label] == "red sheet" and left.share > 0.95
    assert right is not None and NAMES[right.label] == "blue <sheet>"
    assert at(0.01, 0.01) is None


def test_masks_follow_the_threshold(tmp_path):
    edit = open_edit(write_edit_run(tmp_path / "run"), None)
    half = len(crossing()) // 2
    with served(Address(), "test") as server:
        page = ScenePage(server, edit.shown, "browser", torch.device("cpu"), RenderConfig())
        panel = EditPanel(page, edit)
        assert int(panel.mask.sum()) == half
        panel.threshold.value = 0.7
        assert int(panel.mask.sum()) == half - half // 2 and panel.show == "mask"
        picture = page.draw(edit.shown.first).reshape(-1, 3).astype(int)
        tinted = (picture[:, 0] > picture[:, 1] + 60).mean()  # red of the sheet and of the first part's colour
        panel.threshold.value = 0.95
        assert not panel.mask.any()
        grey = page.draw(edit.shown.first).astype(int)
        assert tinted > 0.05 and abs(grey - grey.mean(-1, keepdims=True)).max() <= 2
        page.close()
