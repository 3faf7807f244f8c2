"""Rules that find floaters: by hand-made scenes in which it is known what to find."""

from dataclasses import replace

import pytest
import torch

from gs_reg.clean import CleanRules, cleaned, removals, scene_radius, with_degree
from gs_reg.errors import InputError
from gs_reg.types import Splats
from tests.io.splat_files import random_splats

OFF = CleanRules(min_opacity=0, max_size=0, isolated=0)


def scene() -> Splats:
    """2000 opaque small splats in a ball, then 3 floaters, 4 that are faint, 2 veils and a huge opaque one."""
    s = random_splats(2010, 2, seed=1)
    means = torch.nn.functional.normalize(s.means, dim=1) * torch.rand(2010, 1, generator=torch.manual_seed(0))
    log_scales, logits = torch.full((2010, 3), -3.0), torch.full((2010,), 2.0)
    means[2000:2003] = torch.tensor([[6.0, 0, 0], [0, -7, 0], [5, 5, 5]])
    logits[2003:2007] = -6
    log_scales[2007:2010, 1] = 1.0
    logits[2007:2009] = -1
    return replace(s, means=means, log_scales=log_scales, opacity_logits=logits)


def counts(s, rules):
    return {name: int(rows.sum()) for name, rows in removals(s, rules).items()}


def test_each_rule_finds_its_own():
    s = scene()
    found = removals(s, CleanRules())
    assert found["isolated"].nonzero()[:, 0].tolist() == [2000, 2001, 2002]
    assert found["opacity"].nonzero()[:, 0].tolist() == [2003, 2004, 2005, 2006]
    assert found["size"].nonzero()[:, 0].tolist() == [2007, 2008]
    assert not found["crop"].any()
    kept = cleaned(s, found)
    assert len(kept) == 2001 and torch.equal(kept.means[-1], s.means[2009])
    assert counts(kept, CleanRules()) == {"crop": 0, "opacity": 0, "size": 0, "isolated": 0}


def test_zero_switches_a_rule_off():
    assert counts(scene(), OFF) == {"crop": 0, "opacity": 0, "size": 0, "isolated": 0}
    assert counts(scene(), replace(OFF, isolated=10.0))["isolated"] == 3
    assert counts(scene(), replace(OFF, min_opacity=0.01))["opacity"] == 4
    assert counts(scene(), replace(OFF, max_size=0.5))["size"] == 2


def test_large_far_splats_of_a_background_stay():
    """A sparse background is made of large splats: they are far from others, but not by their own size."""
    s = scene()
    far = s.rows(slice(0, 100))
    far = replace(
        far, means=far.means * 60, log_scales=torch.full((100, 3), 1.5), opacity_logits=torch.full((100,), 3.0)
    )
    both = Splats.joined([s, far])
    assert counts(both, CleanRules())["isolated"] == 3


def test_crop():
    s = scene()
    rules = replace(OFF, crop=(-0.2, -0.3, -0.4, 0.5, 0.6, 0.7))
    kept = cleaned(s, removals(s, rules))
    inside = ((s.means >= torch.tensor([-0.2, -0.3, -0.4])) & (s.means <= torch.tensor([0.5, 0.6, 0.7]))).all(1)
    assert torch.equal(kept.means, s.means[inside]) and 0 < len(kept) < len(s)
    with pytest.raises(InputError, match="x0 y0 z0 below x1 y1 z1, got 1 0 0 0 1 1"):
        removals(s, replace(OFF, crop=(1, 0, 0, 0, 1, 1)))


def test_few_or_no_splats():
    s = scene()
    for n in (0, 1, 8, 9):
        assert sum(counts(s.rows(slice(0, n)), CleanRules()).values()) == 0
    assert scene_radius(s.means[:0]) == 0


@pytest.mark.parametrize(("degree", "coefficients"), [(None, 9), (3, 9), (2, 9), (1, 4), (0, 1)])
def test_with_degree(degree, coefficients):
    s = scene()
    assert torch.equal(with_degree(s, degree).sh, s.sh[:, :coefficients])
