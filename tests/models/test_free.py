"""Plain splats start where they are told, and step in units of their own size."""

from dataclasses import replace

import pytest
import torch

from gs_reg.models.free import Free, FreeConfig
from gs_reg.optim import Optimizer
from gs_reg.types import Splats


def some_splats(count=5, degree=0):
    g = torch.Generator().manual_seed(0)
    return Splats(
        torch.randn(count, 3, generator=g),
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.randn(count, 1, generator=g).expand(count, 3),
        torch.randn(count, generator=g),
        torch.randn(count, (degree + 1) ** 2, 3, generator=g),
        {"filled": torch.arange(count) > 2},
    )


def test_they_start_as_given_but_for_opacity_and_the_degree_of_colour():
    given = some_splats()
    made = Free.from_splats(given, FreeConfig(opacity=0.2, sh_degree=1))()
    assert torch.equal(made.means, given.means) and torch.equal(made.log_scales, given.log_scales)
    assert torch.equal(made.sh[:, :1], given.sh) and not made.sh[:, 1:].any() and made.sh_degree == 1
    torch.testing.assert_close(made.opacities[:3], torch.full((3,), 0.2))
    assert torch.equal(made.opacity_logits[3:], given.opacity_logits[3:])  # no photo would raise a filled one
    assert torch.equal(made.extra["filled"], given.extra["filled"])


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_colour_of_higher_degree_is_kept_as_far_as_it_goes(degree):
    given = some_splats(degree=1)
    made = Free.from_splats(given, FreeConfig(sh_degree=degree))()
    kept = min(4, (degree + 1) ** 2)
    assert torch.equal(made.sh[:, :kept], given.sh[:, :kept]) and not made.sh[:, kept:].any()


def test_a_step_moves_every_gaussian_by_the_same_share_of_its_size():
    given = some_splats()
    model = Free.from_splats(given, FreeConfig(lr_offset=0.25))
    optimizer = Optimizer(model.parameter_groups())
    model().means.sum().backward()
    optimizer.step(0, 1)
    moved = (model().means - given.means).abs() / given.scales[:, :1]
    torch.testing.assert_close(moved, torch.full((5, 3), 0.25), rtol=1e-4, atol=0)


SIZES = torch.tensor([[1.0, 9.0, 2.0], [7.0, 0.01, 5.0], [3.0, 3.0, 40.0]])


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (FreeConfig(), SIZES),
        # at most 4 times the second; a disc, which is thin along one axis only, stays
        (FreeConfig(max_aspect=4.0), torch.tensor([[1.0, 8.0, 2.0], [7.0, 0.01, 5.0], [3.0, 3.0, 12.0]])),
        # the first size is 2 for all three: 6 times that may have any shape, so that 9 stays
        (FreeConfig(max_aspect=3.0, aspect_from=6.0), torch.tensor([[1.0, 9.0, 2.0], [7.0, 0.01, 5.0], [3, 3, 12.0]])),
    ],
)
def test_the_longest_axis_is_at_most_so_many_second_ones(config, wanted):
    given = some_splats(3)
    model = Free.from_splats(replace(given, log_scales=torch.full((3, 3), 2.0).log()), config)
    with torch.no_grad():
        model.log_scales.copy_(SIZES.log())
    parameter = model.log_scales
    model.constrain()
    torch.testing.assert_close(model().scales, wanted)
    assert model.log_scales is parameter and model.log_scales.requires_grad  # the optimiser's own
    before = model().log_scales.clone()
    model.constrain()
    torch.testing.assert_close(model().log_scales, before)  # a limit that holds changes nothing


@pytest.mark.parametrize("values", [{"max_aspect": 0.5}, {"max_aspect": float("nan")}, {"aspect_from": -1.0}])
def test_an_aspect_that_cannot_be_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        FreeConfig(**values)


def test_a_state_dict_is_the_whole_model():
    model = Free.from_splats(some_splats(), FreeConfig())
    again = Free(model.state_dict(), FreeConfig())()
    assert all(torch.equal(getattr(again, name), getattr(model(), name)) for name in ("means", "sh", "opacity_logits"))
