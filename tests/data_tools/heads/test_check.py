"""Silhouettes against masks, and the mistakes that spoil them."""

import dataclasses

import numpy as np
import pytest
import torch

from gs_reg.data_tools.heads import read_capture
from gs_reg.data_tools.heads.check import check_silhouettes, overlay, verdict
from gs_reg.errors import InputError
from gs_reg.priors import load_prior
from gs_reg.priors.toy import ToyPrior


@pytest.fixture(scope="module")
def prior():
    return load_prior("anny")


@pytest.fixture(scope="module")
def capture(tiny):
    return read_capture(tiny)


def test_a_sound_capture(capture, prior):
    checks = check_silhouettes(capture, prior, [0, 4])
    assert len(checks) == 2 * len(capture.camera_names)
    assert all(check.good and check.mistake is None for check in checks)
    assert "fit the photos" in verdict(checks) and "IoU 0." in verdict(checks)


FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


@pytest.mark.parametrize(
    ("text", "viewmats", "Ks"),
    [
        ("axes flipped", lambda v: FLIP @ v, lambda K: K),
        ("poses inverted", torch.linalg.inv, lambda K: K),
        (
            "K not scaled: it fits pictures of 2 times the size",
            lambda v: v,
            lambda K: K * torch.tensor([2, 2, 1.0])[:, None],
        ),
        ("cx, cy dropped", lambda v: v, lambda K: K + torch.tensor([[0, 0, 18.0], [0, 0, -15.0], [0, 0, 0]])),
    ],
)
def test_mistakes_are_named(capture, prior, text, viewmats, Ks):
    cameras = dataclasses.replace(
        capture.cameras, viewmats=viewmats(capture.cameras.viewmats), Ks=Ks(capture.cameras.Ks)
    )
    checks = check_silhouettes(dataclasses.replace(capture, cameras=cameras), prior, [0])
    assert text in verdict(checks)
    assert any(check.mistake and text in check.mistake and check.iou_without > 0.6 for check in checks)


def test_overlay(capture, prior):
    image = overlay(capture, prior, 0, 0)
    photo = capture.photo(0, 0).numpy()
    changed = (image != photo).any(-1)
    assert 0.2 < changed.mean() < 0.9 and image.shape == photo.shape
    assert (np.all(image == (0, 220, 0), -1)).sum() > 40


def test_a_prior_without_a_mesh(capture):
    @dataclasses.dataclass(frozen=True)
    class NoMesh(ToyPrior):
        def posed_mesh(self, z, ident=None):
            return None

    with pytest.raises(InputError, match="no mesh to hold against the masks"):
        check_silhouettes(capture, NoMesh(), [0])
