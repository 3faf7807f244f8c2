"""The codes of a capture: the ends of the prior's channels, and those that training does not move."""

from dataclasses import replace

import pytest
import torch

from gs_reg.apps.avatar.distilling import quiet
from gs_reg.apps.avatar.sources import Source, within_ends

from .ball import BallPrior


class Signed(BallPrior):
    """Its codes are deviations from a mean, and their bounds what is usual."""

    @property
    def lo(self):
        return -torch.ones(3)


def with_codes(capture, codes):
    return replace(capture, tracks=replace(capture.tracks, codes=codes))


def test_codes_beyond_an_end_are_at_it(capture, prior):
    codes = torch.full_like(capture.tracks.codes, 0.5)
    codes[0], codes[1, 2] = torch.tensor([-0.03, 0.2, 1.02]), 0.0
    taken = within_ends(with_codes(capture, codes), prior)
    assert taken.tracks.codes[0].tolist() == pytest.approx([0, 0.2, 1]) and taken.tracks.codes[1, 2] == 0
    assert torch.equal(taken.tracks.codes[1:], codes[1:])
    assert taken.notes[-1].startswith(f"{2 / codes.numel():.0%} of the codes are beyond the ends of their channels")
    assert within_ends(taken, prior) is taken


def test_codes_without_ends_stay(capture):
    far = with_codes(capture, capture.tracks.codes - 3)
    assert within_ends(far, Signed()) is far


def test_details_do_not_heed_coefficients_that_training_does_not_move(capture, prior):
    codes = torch.full_like(capture.tracks.codes, 0.01)
    codes[::2, 0], codes[::2, 1] = 1.0, 0.03
    known = Source(with_codes(capture, codes), prior)
    assert quiet(known).tolist() == [False, True, True]
    assert quiet(Source(known.capture, Signed())).tolist() == [False] * 3
