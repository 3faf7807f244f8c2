"""Our CPU kernels against what gsplat drew on a GPU, within what its own rounding allows."""

import numpy as np
import pytest
import torch

from ..render.golden import SCENES
from .golden import FILE, image_and_gradients

APART = {"thin": (1e-3, 5e-4)}
"""Of image and gradients, absolute and relative L2: splats longer than 10 px, where gsplat's own rounding is larger."""


@pytest.mark.parametrize("name", SCENES)
def test_gsplat_drew_the_same(name):
    recorded = np.load(FILE)
    image, relative = APART.get(name, (5e-5, 1e-4))
    for part, ours in image_and_gradients(SCENES[name], "native", "cpu", torch.float64).items():
        theirs = torch.from_numpy(recorded[f"{name}.{part}"]).double()
        if part == "image":
            assert (ours - theirs).abs().max() <= image
        else:
            assert (ours - theirs).norm() <= relative * theirs.norm(), part


@pytest.mark.parametrize("name", ["overlap", "features"])
def test_the_recording_is_of_the_golden_images(name):
    """What would be recorded, by our kernels: the stored images, and gradients of every input."""
    from ..render.golden import FILE as IMAGES

    found = image_and_gradients(SCENES[name], "native", "cpu", torch.float32)
    torch.testing.assert_close(found["image"], torch.from_numpy(np.load(IMAGES)[name]), rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
