"""MediaPipe's model, and photos of a synthetic head whose coefficients and pose are known."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.driving.types import head_rotation
from gs_reg.types import Cameras

Photo = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def task(real_data: Path) -> Path:
    pytest.importorskip("mediapipe")
    path = real_data / "weights" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip(f"{path} not found: MediaPipe's model of faces")
    return path


@pytest.fixture(scope="session")
def photo() -> Photo:
    """photo(arkit [52], yaw, pitch) of a bald head, in degrees, from the front."""
    pytest.importorskip("anny")
    from gs_reg.data_tools.heads.synth.config import SynthConfig
    from gs_reg.data_tools.heads.synth.scene import SynthHead, photograph
    from gs_reg.priors import load_prior

    head = SynthHead.build(SynthConfig(strands=0, atlas=512), load_prior("anny"), None)
    eye, up = torch.tensor([0.0, 0, 1.1]), torch.tensor([0.0, 1, 0])
    camera = Cameras.look_at(eye, torch.zeros(3), up, math.radians(18), 256, 256)

    def taken(arkit: torch.Tensor, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
        rotation = head_rotation(*torch.deg2rad(torch.tensor([yaw, pitch, 0.0], dtype=torch.float64)))
        snapshot = head.at(arkit.double().numpy(), rotation.numpy(), np.zeros(3), np.eye(3))
        rgb, alpha = photograph(head, snapshot, camera, 2)
        share = alpha[..., None] / 255
        return (rgb * share + 140 * (1 - share)).astype(np.uint8)

    return taken
