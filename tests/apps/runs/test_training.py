"""What a training says beside its progress."""

import logging
import math

import pytest
import torch

from gs_reg.apps.runs.training import Clock, details, report_threads, report_undrawn
from gs_reg.types import Splats


def splats(count=5):
    return Splats(*[torch.ones(count, n) for n in (3, 4, 3)], torch.zeros(count), torch.zeros(count, 1, 3))


def test_splats_that_cannot_be_drawn_are_counted_once(caplog):
    given = splats()
    assert report_undrawn(given, 10, 0) == 0 and not caplog.messages
    given.sh[2, 0, 1], given.log_scales[3, 0], given.quats[4] = math.nan, 89.0, 0.0
    assert report_undrawn(given, 20, 0) == 3
    assert caplog.messages == [
        "step 20: 3 of 5 splats have values that are not finite, or far too large; they are not drawn"
    ]
    assert report_undrawn(given, 30, 3) == 3 and len(caplog.messages) == 1


@pytest.mark.parametrize("before", [None, "two", 3])
def test_another_number_of_threads_is_said(caplog, before):
    caplog.set_level(logging.WARNING)
    now = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert details(Clock())["threads"] == 2
        report_threads(2)
        report_threads(before)
    finally:
        torch.set_num_threads(now)
    assert caplog.messages == [
        "resumed with 2 threads, begun with 3: convolutions and matrix products of torch may round otherwise; "
        "OMP_NUM_THREADS=3 keeps every bit"
    ] * (before == 3)
