"""What the demo's avatar performs."""

import torch

from gs_reg.apps.avatar.demo import FPS, SECONDS, performance
from gs_reg.driving import read_csv
from gs_reg.priors.arkit import ARKIT


def test_the_performance_is_a_table_that_drives(tmp_path):
    (tmp_path / "performance.csv").write_text(performance())
    drive = read_csv(tmp_path / "performance.csv", FPS)
    assert abs(len(drive.arkit) - SECONDS * FPS) <= 1 and drive.fps == FPS
    assert drive.arkit[0].abs().max() == 0
    most = drive.arkit.amax(0)
    for name in ("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "jawOpen"):
        assert 0.75 < most[ARKIT.index(name)] <= 1
    assert most.sum() < 5 and torch.linalg.det(drive.pose.rotation).allclose(torch.ones(len(drive.arkit)))
