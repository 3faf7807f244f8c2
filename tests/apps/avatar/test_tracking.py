"""Landmarks in several views become points, places on the mesh, and codes and poses that were put in."""

import pytest
import torch

from gs_reg.apps.avatar.tracking.anchors import Anchors, find_anchors
from gs_reg.apps.avatar.tracking.fitting import Places, aligned, fit_landmarks
from gs_reg.apps.avatar.tracking.triangulate import triangulated
from gs_reg.errors import InputError
from gs_reg.priors.types import Part

from .ball import ball_cameras


def project(cameras, points):
    rows = torch.einsum("cij,nj->cni", cameras.Ks @ cameras.viewmats[:, :3, :3], points)
    rows = rows + (cameras.Ks @ cameras.viewmats[:, :3, 3:])[..., 0][:, None]
    return rows[..., :2] / rows[..., 2:]


def test_points_come_back_from_their_pixels_in_spite_of_outliers():
    cameras = ball_cameras(6, 640, 800)
    points = 0.05 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    pixels, confidence = project(cameras, points), torch.ones(6, 40)
    pixels[0, :10] += 60
    confidence[1:, 39] = 0
    found, error = triangulated(cameras, pixels, confidence)
    assert (found[:39] - points[:39]).norm(dim=1).max() < 5e-4
    assert error[10:39].max() < 1e-2 and torch.isinf(error[39])


@pytest.fixture(scope="module")
def landmarks(prior):
    """Samples of the front, as a detector's landmarks: their true places, and pixels on renders of the neutral head."""
    sample = prior.surface(None, 4000, 9)
    front = ((sample.points[:, 2] > 0.2) & (sample.parts != int(Part.NECK))).nonzero()[:80, 0]
    return Anchors(sample.triangles[front], sample.barycentric[front], torch.ones(len(front)))


@pytest.fixture(scope="module")
def head():
    pose = torch.eye(4)
    pose[:3, :3] *= 0.25
    return pose


def test_places_are_found_on_renders_of_the_own_head(prior, landmarks, head):
    cameras = ball_cameras(5, 640, 800)
    truth = landmarks.on(*prior.posed_mesh(prior.neutral))

    def detect(i):
        return None if i == 0 else project(cameras[i], 0.25 * truth)[0]

    found = find_anchors(prior, None, cameras, detect, head)
    used = found.weight > 0
    assert used.float().mean() > 0.9
    assert (found.on(*prior.posed_mesh(prior.neutral)) - truth)[used].norm(dim=1).median() < 4e-3
    with pytest.raises(InputError, match="on 0 of 5 renders"):
        find_anchors(prior, None, cameras, lambda _i: None, head)


def test_codes_and_poses_come_back(prior, landmarks, capture):
    """A person 10 % larger than the prior and with a longer nose, in frames of known codes."""
    places = Places(prior, None, landmarks)
    assert places.linear
    personal = torch.zeros(len(landmarks.weight), 3)
    personal[:20, 2] = 0.02
    codes = capture.tracks.codes[:6].clone()
    codes[:, 2] = 0  # a channel without effect stays neutral
    world = capture.tracks.pose.matrices()[:6].clone()
    world[:, :3, :3] *= 1.1
    moved = torch.stack([places.at(code) + personal for code in codes])
    points = torch.einsum("tij,tlj->tli", world[:, :3, :3], moved) + world[:, None, :3, 3]
    confidence = torch.ones(6, len(personal))
    confidence[3] = 0  # a dropped frame
    fitted = fit_landmarks(places, points, confidence, neutral=0)
    kept = [0, 1, 2, 4, 5]
    assert (fitted.codes[kept] - codes[kept]).abs().max() < 0.03
    assert torch.allclose(fitted.pose.matrices()[kept], world[kept], atol=2e-3)
    assert torch.equal(fitted.codes[3], fitted.codes[2]) and torch.isnan(fitted.error[3])
    assert fitted.error[kept].max() < 2e-3
    with pytest.raises(InputError, match="frame 3: expected at least 20 landmarks"):
        fit_landmarks(places, points, confidence, neutral=3)


def test_alignment_finds_similarities():
    source = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    turn = turn * torch.linalg.det(turn).sign()
    R, t, s = aligned(source, 2.5 * source @ turn.T + 0.3, torch.ones(30))
    assert torch.allclose(R, turn, atol=1e-5) and s == pytest.approx(2.5, abs=1e-5)
    assert torch.allclose(t, torch.full((3,), 0.3), atol=1e-5)
