"""Our CPU kernels against what gsplat drew on a GPU, within what its own rounding allows."""

import numpy as np
import pytest
import torch

from ..render.golden import SCENES
from .golden import FILE, image_and_gradients


@pytest.mark.parametrize("name", SCENES)
def test_gsplat_drew_the_same(name):
    if not FILE.exists():
        pytest.skip(f"{FILE.name}: not recorded yet; scripts/gpu_check.sh does it on a GPU")
    recorded = np.load(FILE)
    for part, ours in image_and_gradients(SCENES[name], "native", "cpu", torch.float64).items():
        theirs = torch.from_numpy(recorded[f"{name}.{part}"]).double()
        if part == "image":
            wrong = (ours - theirs).abs().flatten()
            # a value in a hundred may lie at a threshold that the two round to different sides
            assert wrong.kthvalue(int(0.99 * wrong.numel())).values <= 1e-4, part
        else:
            assert (ours - theirs).norm() <= 1e-2 * theirs.norm(), part


@pytest.mark.parametrize("name", ["overlap", "features"])
def test_the_recording_is_of_the_golden_images(name):
    """What would be recorded, by our kernels: the stored images, and gradients of every input."""
    from ..render.golden import FILE as IMAGES

    found = image_and_gradients(SCENES[name], "native", "cpu", torch.float32)
    torch.testing.assert_close(found["image"], torch.from_numpy(np.load(IMAGES)[name]), rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
