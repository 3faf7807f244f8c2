"""What is opened, in which frame, and how far photos confirm it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.apps.view.scene_page import for_browser
from gs_reg.apps.view.source import confidence, open_shown
from gs_reg.errors import InputError
from gs_reg.geometry import transform_points
from gs_reg.io import save_splats
from gs_reg.parts.store import save_labels
from gs_reg.parts.types import Decision, LabelField
from gs_reg.render import render
from gs_reg.sh import sh_colors

from .scenes import BACKGROUND, CAMERAS, SCALE, SHIFT, crossing, drawn, write_run


def test_a_run_is_shown_in_its_normalised_frame(tmp_path):
    shown = open_shown(write_run(tmp_path / "run"))
    torch.testing.assert_close(shown.splats.means, crossing().means, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        shown.opened.splats.means, crossing().means * SCALE + torch.tensor(SHIFT), rtol=0, atol=1e-4
    )
    assert [(photo.name, photo.training) for photo in shown.photos] == [
        ("a.png", True),
        ("b.png", True),
        ("c.png", False),
    ]
    assert all(photo.picture and photo.picture.is_file() for photo in shown.photos)
    assert [photo.counts is not None for photo in shown.photos] == [True, True, False]
    assert shown.title == "run" and shown.out == tmp_path / "run" / "view" and shown.labels is None
    assert 3 < shown.distance < 4.5 and shown.background.tolist() == pytest.approx(BACKGROUND)
    torch.testing.assert_close(shown.first.viewmats, CAMERAS["a.png"].viewmats)


def test_a_run_far_from_the_origin_is_shown_as_one_near_it(tmp_path):
    near, far = (open_shown(write_run(tmp_path / str(offset), offset=offset)) for offset in (None, (4e6, -1e6, 500.0)))
    torch.testing.assert_close(far.splats.means, near.splats.means, rtol=0, atol=1e-5)
    assert near.opened.offset is None and far.opened.offset == [4e6, -1e6, 500.0]


@pytest.mark.parametrize("size", [1e-3, 1.0, 500.0])
def test_a_file_is_brought_to_the_size_of_the_page(size, tmp_path):
    splats = crossing()
    moved = replace(splats, means=splats.means * size + 700, log_scales=splats.log_scales + np.log(size))
    save_splats(tmp_path / "a.ply", moved)
    shown = open_shown(tmp_path / "a.ply")
    assert 0.5 < float(shown.splats.means.norm(dim=1).quantile(0.9)) < 1.5
    back = transform_points(shown.file_from_page, shown.splats.means.double())
    torch.testing.assert_close(back, moved.means.double(), rtol=0, atol=2e-4 * max(size, 1))
    image = render(shown.splats, shown.first)
    assert 0.05 < float(image.alphas.mean()) < 0.9 and 2 < shown.distance < 4


def test_confidence_is_how_many_photos_see_what_a_splat_draws(tmp_path):
    shown = open_shown(write_run(tmp_path / "run"))
    counts = confidence(shown, shown.splats)
    assert counts is not None and float(counts.max()) <= 2 and float(counts.min()) >= 0
    # left in both photos is what 2 see, right what 1 sees; what lies behind the other sheet none draws
    left = (shown.splats.means[:, 0] < -0.6) & (shown.splats.sh[:, 0, 0] > 0)
    right = (shown.splats.means[:, 0] > 0.6) & (shown.splats.sh[:, 0, 2] > 0)
    assert float(counts[left].min()) > 1.9 and 0.9 < float(counts[right].min()) <= float(counts[right].max()) < 1.1
    hidden = (shown.splats.means[:, :2].abs() < torch.tensor([0.5, 0.6])).all(1) & (shown.splats.means[:, 2] > 4.2)
    assert hidden.sum() > 50
    assert float(counts[hidden].max()) < 0.3
    (tmp_path / "run" / "masks" / "a_views.npy").unlink()
    (tmp_path / "run" / "masks" / "b_views.npy").unlink()
    assert confidence(open_shown(tmp_path / "run"), shown.splats) is None


def test_labels_of_a_run(tmp_path):
    run = write_run(tmp_path / "run")
    ids = torch.arange(1800) % 3
    one = torch.nn.functional.one_hot(ids, 3).float()
    names, none = ("background", "left", "right"), torch.zeros(1800)
    field = LabelField(names, one[:, None], none)
    save_labels(run / "labels.npz", field, Decision(names, ids, one, none))
    shown = open_shown(run)
    assert shown.labels is not None and shown.labels.ids.equal(ids)
    few = LabelField(names, one[:9, None], none[:9])
    save_labels(run / "labels.npz", few, Decision(names, ids[:9], one[:9], none[:9]))
    with pytest.raises(InputError, match=r"labels\.npz: expected labels of 1800 splats, got 9"):
        open_shown(run)


def test_an_unfinished_run(tmp_path):
    (tmp_path / "config.yaml").write_text("schema: 1\n")
    with pytest.raises(InputError, match=r"expected one of splats\.ply, edited\.ply, input\.ply, found none"):
        open_shown(tmp_path)
    save_splats(tmp_path / "edited.ply", crossing())
    assert open_shown(tmp_path).opened.file.name == "edited.ply"


def test_what_the_browser_is_sent(tmp_path):
    """Covariances as products of the factors, and the mean of the colours that the training cameras see."""
    splats = crossing()
    splats = replace(splats, sh=torch.cat([splats.sh, 0.2 * torch.randn(1800, 3, 3)], 1))
    shown = open_shown(write_run(tmp_path / "run", splats))
    means, covariances, colors, opacities = for_browser(shown.splats, shown)
    centers = torch.cat([CAMERAS[name].centers for name in ("a.png", "b.png")])
    expected = sh_colors(shown.splats.sh, shown.splats.means, centers, 1).clamp(0, 1).mean(0)
    np.testing.assert_allclose(colors, expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(means, shown.splats.means.numpy())
    np.testing.assert_allclose(opacities, shown.splats.opacities.numpy())
    sizes = np.sqrt(np.linalg.eigvalsh(covariances.astype(np.float64))[:, 1:])
    np.testing.assert_allclose(sizes, 0.08, rtol=1e-3)
    normal = np.array([0.8, 0, -1]) / np.hypot(0.8, 1)  # of the red sheet, along which it is flat
    assert abs(normal @ covariances[0] @ normal) < 1e-5


def test_rows_that_are_not_finite_are_not_sent(tmp_path):
    shown = open_shown(write_run(tmp_path / "run"))
    broken = replace(shown.splats, quats=shown.splats.quats.clone())
    broken.quats[3] = 0
    assert len(for_browser(broken, shown)[0]) == 1799


def test_the_helper_scene_is_red_on_the_left():
    picture = drawn(crossing(), CAMERAS["a.png"])
    assert picture[28, 25, 0] > 0.9 and picture[28, 55, 2] > 0.9
