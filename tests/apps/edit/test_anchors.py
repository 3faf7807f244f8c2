"""One anchor at a time: candidates of the first, what earlier edits show, and the words."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps.edit.anchors import SEEDS, anchor_prompt, edit_one, negative_words
from gs_reg.apps.edit.config import Config
from gs_reg.apps.edit.job import Job
from gs_reg.apps.edit.presets import NEGATIVE
from gs_reg.apps.edit.scene import SceneConfig, open_scene
from gs_reg.apps.runs.folder import Run
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.parts.anchors import composite
from gs_reg.parts.views import part_views
from tests.parts.recoloured import recoloured


class Painter:
    """Fills the mask with a shade that tells the seed, and remembers what it was asked."""

    views, calls = None, 0

    def __init__(self):
        self.notes, self.asked = [], []

    def edit(self, image, mask, depth, prompt, negative, reference, seed, *, view="", start=1.0):
        self.asked.append((mask, seed, start, prompt, negative))
        return torch.where(mask[..., None], torch.tensor(0.2 + seed / (10 * SEEDS)), image)

    def close(self):
        pass


@pytest.fixture(scope="module")
def views():
    edited = recoloured()
    seen = part_views(edited.splats, edited.cameras, edited.chosen)
    assert seen.masks is not None
    seen = replace(seen, names=tuple(f"view_{i}" for i in range(len(seen))))
    best = int(seen.masks.sum((1, 2)).argmax())
    shared = [int((composite([seen[best]], seen[i])[1]).sum()) if i != best else -1 for i in range(len(seen))]
    return seen[best], seen[shared.index(max(shared))]


def test_the_judge_chooses_among_candidates_of_the_first_anchor(views):
    editor, config = Painter(), Config.of_preset("fast")
    liked = lambda view: -abs(float(view.photos[view.masks].mean()) - 0.3)  # noqa: E731
    edit, entry = edit_one(config, editor, views[0], [], "a mug", "blurry", liked)
    assert [seed for _, seed, *_ in editor.asked] == [0, SEEDS, 2 * SEEDS] and entry["seed"] == SEEDS
    assert entry["kept"] and len(entry["judged"]) == 3 and editor.asked[0][3:] == ("a mug", "blurry")
    assert float(edit.photos[edit.masks].mean()) == pytest.approx(0.3, abs=1e-5)
    alone = Painter()
    edit_one(config, alone, views[0], [], "a mug", "blurry", None)
    assert len(alone.asked) == 1


def test_what_an_earlier_edit_shows_stays_as_it_is(views):
    first, second = views
    config = Config.of_preset("fast")
    done, _ = edit_one(config, Painter(), first, [], "a mug", "")
    carried, known = composite([done], second)
    editor = Painter()
    edit, _ = edit_one(config, editor, second, [done], "a mug", "")
    mask, _, start, *_ = editor.asked[0]
    assert known.any() and start == 1 and torch.equal(mask, second.masks[0] & ~known)
    assert torch.equal(edit.photos[0][known], carried[known])
    editor = Painter()
    edit_one(replace(config, anchors=replace(config.anchors, keep=False)), editor, second, [done], "a mug", "")
    mask, _, start, *_ = editor.asked[0]
    assert start == config.go_on and torch.equal(mask, second.masks[0])


@pytest.fixture(scope="module")
def job_of(mug, tmp_path_factory):
    """A job with a config and perhaps a model, of whose run nothing is there."""
    folder = tmp_path_factory.mktemp("job")
    scene = open_scene(mug.scene, SceneConfig(None, "y", 2, 32), folder / "x.ply", torch.device("cpu"))

    def make(config, model=None):
        job = Job(Run(folder), config, scene, torch.device("cpu"))
        job.loaded = model
        return job

    return make


def test_words_that_the_model_never_learnt_are_not_said(job_of, tiny_sd3):
    usual = Config.of_preset("fast")
    assert negative_words(job_of(usual)) == NEGATIVE
    assert negative_words(job_of(replace(usual, negative="ugly"))) == "ugly"
    model = DiffusionModel.load(tiny_sd3, device="cpu")
    assert negative_words(job_of(usual, model)) == NEGATIVE
    model.settings = replace(model.settings, negative="")
    assert negative_words(job_of(usual, model)) == ""
    assert negative_words(job_of(replace(usual, negative="ugly"), model)) == "ugly"


def test_the_words_of_an_anchor(job_of):
    config = replace(
        Config.of_preset("fast"), object="a photo of a mug", parts="rim,body", part="rim", edit="a red rim"
    )
    assert anchor_prompt(job_of(config), config.edit) == "a photo of a red rim"
    mixed = replace(config, anchors=replace(config.anchors, words="mixed"))
    assert anchor_prompt(job_of(mixed), config.edit) == "a photo of a mug with a red rim and body"
