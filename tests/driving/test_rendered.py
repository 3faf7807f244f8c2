"""The real landmarker on photos of a synthetic head: T19, and the acceptance of driving by video."""

import numpy as np
import pytest
import torch

from gs_reg.driving import Calibration, Landmarker, judge, smoothed, track_faces
from gs_reg.driving.judge import UNITS
from gs_reg.driving.landmarker import camera_pose
from gs_reg.driving.types import INDEX, head_angles
from gs_reg.priors import ARKIT


def test_names_and_the_sign_of_poses(task, photo):
    turns = [(0, 0), (20, 0), (-20, 0), (0, 12), (0, -12)]
    with Landmarker(task) as detect:
        assert detect(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)) is None
        faces = [detect(photo(torch.zeros(52), *turn)) for turn in turns]
        jaw = detect(photo(coefficients({"jawOpen": 0.7})))
    angles = head_angles(camera_pose(torch.stack([face.matrix for face in faces]), 256).rotation).rad2deg()
    yaw, pitch = ((angles - angles[0])[:, k] for k in (0, 1))
    # the slopes depend on the camera's focal length
    assert 16 < yaw[1] < 22 and -22 < yaw[2] < -16 and float(yaw[3:].abs().max()) < 3
    assert 7 < pitch[3] < 14 and -14 < pitch[4] < -7
    assert float(jaw.arkit[INDEX["jawOpen"]] - faces[0].arkit[INDEX["jawOpen"]]) > 0.3
    assert all(float(face.arkit[INDEX["tongueOut"]]) == 0 for face in faces)
    assert int((faces[1].arkit != 0).sum()) == len(ARKIT) - 1  # all others have a score


def coefficients(amounts: dict[str, float]) -> torch.Tensor:
    out = torch.zeros(52)
    for name, amount in amounts.items():
        out[[INDEX[member] for member in UNITS.get(name, (name,))]] = amount
    return out


def sweep() -> tuple[torch.Tensor, list[float]]:
    """Five amounts a unit from three sides, and five frames in which all act."""
    rows, yaws = [], []
    for yaw in (0.0, 20.0, -20.0):
        for unit in UNITS:
            for amount in (0, 0.25, 0.5, 0.75, 1):
                rows.append(coefficients({unit: amount}))
                yaws.append(yaw)
    together = [(0.3, 0.5, 0.2, 0.0), (0.6, 1, 0.8, 12), (1, 0.4, 0.5, -12), (0.4, 0.9, 0, 20), (0.8, 0.7, 0.3, -20)]
    for jaw, smile, blink, yaw in together:
        rows.append(coefficients({"jawOpen": jaw, "smile": smile, "blink": blink}))
        yaws.append(yaw)
    return torch.stack(rows), yaws


def clip(seed: int, count: int = 60) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Units in smooth walks that act in more than half of the frames; the head turns by 25 and nods by 15 degrees."""
    random, t = np.random.default_rng(seed), np.arange(count)

    def wave(low: float, high: float) -> np.ndarray:
        return np.sin(2 * np.pi * (t * random.uniform(low, high) + random.random()))

    walks = [np.clip(0.35 + 0.55 * (wave(0.03, 0.06) + 0.5 * wave(0.08, 0.13)), 0, 1) for _ in UNITS]
    truth = [coefficients(dict(zip(UNITS, row, strict=True))) for row in np.stack(walks, 1).tolist()]
    return torch.stack(truth), 25 * np.sin(2 * np.pi * t / 37 + 0.4), 15 * np.sin(2 * np.pi * t / 23)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 7])
def test_coefficients_of_a_video_follow_the_known_ones(task, photo, seed):
    amounts, yaws = sweep()
    shown = track_faces((photo(a, yaw) for a, yaw in zip(amounts, yaws, strict=True)), task, 25.0)
    curves = Calibration.from_sweep(shown.arkit, amounts)
    truth, yaw, pitch = clip(seed)
    seen = track_faces((photo(*frame) for frame in zip(truth, yaw, pitch, strict=True)), task, 25.0)
    for drive in (curves.applied_to(seen), smoothed(curves.applied_to(seen))):
        judgement = judge(truth, drive.arkit)
        print(judgement.words)
        assert judgement.passed
    angles = head_angles(seen.pose.rotation).rad2deg().numpy()
    for k, (true, low, high) in enumerate(((yaw, 0.8, 1.1), (pitch, 0.65, 1.1))):
        slope = np.polyfit(true, angles[:, k], 1)[0]
        assert low < slope < high
        assert np.corrcoef(true, angles[:, k])[0, 1] > 0.95
