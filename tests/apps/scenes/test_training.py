"""What a step trains on: the photo, or with masks that mean empty, the object before a colour that changes."""

import torch

from gs_reg.apps.scenes.training import Batches, mean_color
from gs_reg.types import Cameras, Views


def view(color, mask=None):
    cameras = Cameras(torch.eye(4)[None], torch.eye(3)[None], 4, 2)
    return Views(cameras, torch.full((1, 2, 4, 3), color), ("a",), mask)


def test_photos_are_taken_as_they_are_over_their_mean_colour():
    views = [view(0.2), view(0.6)]
    batches = Batches(views, "ignore", seed=3)
    assert {round(float(batches(n).images.mean()), 3) for n in range(2)} == {0.2, 0.6}
    assert torch.allclose(batches.background(5, 2), torch.full((2, 3), 0.4))


def test_empty_pixels_show_the_background_of_the_step():
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[..., :2] = True
    batches = Batches([view(0.5, mask)], "transparent", seed=0)
    seen = set()
    for n in range(3):
        batch, behind = batches(n), batches.background(n)[0]
        assert batch.masks is None and torch.equal(batch.images[0, :, 2:], behind.expand(2, 2, 3))
        assert (batch.images[0, :, :2] == 0.5).all() and torch.equal(batches(n).images, batch.images)
        seen.add(tuple(behind.tolist()))
    assert len(seen) == 3


def test_mean_colour_is_of_pixels_that_count():
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[0, 0, 0] = True
    masked = view(0.1, mask)
    masked.images[0, 0, 0] = 0.9
    assert torch.allclose(mean_color([masked, view(0.5)]), torch.full((3,), 0.7))
