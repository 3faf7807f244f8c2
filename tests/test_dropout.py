"""Left-out Gaussians: which, how many, and what their mean is."""

from dataclasses import replace

import pytest
import torch

from gs_reg.dropout import Dropout
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats


def dots(count, opacity=0.6):
    return Splats(
        torch.tensor([0.0, 0.0, 2.0]).repeat(count, 1),
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), -2.0),
        torch.full((count,), opacity).logit(),
        torch.ones(count, 1, 3),
    )


def test_nothing_happens_at_a_share_of_0():
    splats = dots(3)
    assert Dropout(0.0, 1).drop(splats, 5) is splats and Dropout(0.0).with_expected_opacity(splats) is splats


def test_step_and_seed_decide_who_is_left_out():
    splats = dots(4000)
    gone = [Dropout(0.2, seed).drop(splats, n).opacities < 1e-9 for n, seed in ((3, 0), (3, 0), (4, 0), (3, 1))]
    assert torch.equal(gone[0], gone[1])
    assert not torch.equal(gone[0], gone[2]) and not torch.equal(gone[0], gone[3])
    assert all(float(g.float().mean()) == pytest.approx(0.2, abs=0.03) for g in gone)


def test_the_mean_of_many_renders_of_one_gaussian_is_the_render_at_expected_opacity():
    camera = Cameras(torch.eye(4)[None], torch.tensor([[[20.0, 0, 8], [0, 20, 8], [0, 0, 1]]]), 16, 16)
    exact = RenderConfig(alpha_min=0.0, transmittance_min=0.0)
    splats, dropout = dots(1), Dropout(0.25)
    many = [render(dropout.drop(splats, step), camera, exact).colors for step in range(2000)]
    torch.testing.assert_close(
        torch.stack(many).mean(0),
        render(dropout.with_expected_opacity(splats), camera, exact).colors,
        rtol=0.05,
        atol=1e-4,
    )


def test_what_is_left_out_gets_no_gradient():
    splats = dots(50)
    logits = splats.opacity_logits.clone().requires_grad_()
    kept = Dropout(0.5).drop(replace(splats, opacity_logits=logits), 0)
    kept.opacities.sum().backward()
    assert torch.equal(logits.grad == 0, kept.opacities < 1e-9)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="dropout"):
        Dropout(share)
