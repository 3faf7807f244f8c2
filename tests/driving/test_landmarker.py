"""T19: the landmarker's scores by name, its poses, frames without a face; with the real model where it is at hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gs_reg.driving import landmarker
from gs_reg.driving.landmarker import NEUTRAL, Landmarker, camera_pose, track_faces
from gs_reg.driving.types import INDEX, head_rotation
from gs_reg.errors import InputError, MissingPart
from gs_reg.priors import ARKIT


def matrix(yaw=0.0, t=(1.0, -2.0, -40.0), scale=1.0) -> torch.Tensor:
    angles = torch.tensor([math.radians(yaw), 0.0, 0.0])
    out = torch.eye(4)
    out[:3, :3], out[:3, 3] = scale * head_rotation(*angles), torch.tensor(t)
    return out


def answer(scores: dict[str, float], pose: torch.Tensor) -> SimpleNamespace:
    """What mediapipe returns for one face, its 52 categories in its own order."""
    names = [NEUTRAL, *(name for name in ARKIT if name != "tongueOut")]
    shapes = [SimpleNamespace(category_name=name, score=scores.get(name, 0.0)) for name in names]
    marks = [SimpleNamespace(x=0.5, y=0.25)]
    return SimpleNamespace(
        face_landmarks=[marks], face_blendshapes=[shapes], facial_transformation_matrixes=[pose.numpy()]
    )


class Fake(Landmarker):
    """Sees a face where the picture is not black; jawOpen is its brightness."""

    def __init__(self, task):
        self._net = SimpleNamespace(detect=self.detect, close=lambda: None)
        self._mediapipe = SimpleNamespace(
            Image=lambda image_format, data: data, ImageFormat=SimpleNamespace(SRGB="srgb")
        )

    def detect(self, image):
        level = float(image.mean()) / 255
        if level == 0:
            return SimpleNamespace(face_landmarks=[], face_blendshapes=[], facial_transformation_matrixes=[])
        return answer({NEUTRAL: 0.9, "jawOpen": level, "mouthSmileLeft": 0.25}, matrix(40 * level))


def test_scores_are_placed_by_their_names_and_the_tongue_stays_in():
    face = Fake("").__call__(np.full((8, 8, 3), 51, np.uint8))
    assert float(face.arkit[INDEX["jawOpen"]]) == pytest.approx(0.2)
    assert float(face.arkit[INDEX["mouthSmileLeft"]]) == 0.25
    assert face.landmarks.tolist() == [[4.0, 2.0]]  # of 8 x 8 pixels
    assert float(face.arkit[INDEX["tongueOut"]]) == 0 and float(face.arkit.sum()) == pytest.approx(0.45)


def test_frames_without_a_face_are_filled_in(monkeypatch, caplog):
    monkeypatch.setattr(landmarker, "Landmarker", Fake)
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (51, 0, 0, 204)]
    drive = track_faces(iter(frames), "x.task", 25.0)
    torch.testing.assert_close(drive.arkit[:, INDEX["jawOpen"]], torch.tensor([0.2, 0.4, 0.6, 0.8]), atol=1e-6, rtol=0)
    assert drive.seen.tolist() == [True, False, False, True] and drive.fps == 25
    assert "2 of 4 frames show no face" in caplog.text
    with pytest.raises(InputError, match="found none in 2 frames"):
        track_faces(iter(frames[1:3]), "x.task", 25.0)
    with pytest.raises(InputError, match="at least one frame"):
        track_faces(iter([]), "x.task", 25.0)


def test_poses_are_rigid_in_metres_and_distance_follows_the_focal_length():
    pose = camera_pose(torch.stack([matrix(20, scale=1.1), matrix(-5)]), height=480)
    torch.testing.assert_close(torch.linalg.det(pose.rotation), torch.ones(2))
    torch.testing.assert_close(pose.rotation[0], matrix(20)[:3, :3])
    torch.testing.assert_close(pose.translation[0], torch.tensor([0.01, -0.02, -0.4]))
    narrow = 240 / math.tan(math.radians(63) / 2) * 2
    torch.testing.assert_close(
        camera_pose(matrix()[None], 480, focal=narrow).translation[0], torch.tensor([0.01, -0.02, -0.8])
    )


def test_missing_parts_are_told(tmp_path):
    pytest.importorskip("mediapipe")
    with pytest.raises(MissingPart, match=r"no such file: give the path of MediaPipe's face_landmarker\.task"):
        Landmarker(tmp_path / "a.task")
    (tmp_path / "a.task").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"a\.task: "):
        Landmarker(tmp_path / "a.task")
