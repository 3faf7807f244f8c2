"""Figures of jobs in words, as a batch's page and its terminal show them."""

import pytest

from gs_reg.apps.batch.outcomes import words


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"changed": 0, "removed": 4065, "added": 1, "leakage": 0.033},
            "0 changed, 4,065 removed, 1 added, 3.3% leakage",
        ),
        ({"changed": 218, "removed": 0, "added": 0}, "218 changed"),
        ({"psnr": 23.746, "ssim": 1, "gaussians": 2424}, "23.75 dB, 1.000 ssim, 2,424 Gaussians"),
        ({"novel_view_psnr": 27, "psnr_seen": 21, "views": 8}, "27.00 dB novel view, 21.00 dB where seen, 8 views"),
    ],
)
def test_counts_are_whole_and_figures_are_not(found, said):
    assert words({name: float(value) for name, value in found.items()}) == said
