"""T6: depth layers hold every pixel once and fall where the depths fall apart."""

import pytest
import torch

from gs_reg.data_tools.depth.layers import depth_layers


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30])
def test_constant_inverse_depth_is_one_layer(value):
    assert (depth_layers(torch.full((6, 8), value)) == 0).all()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e6])
def test_groups_far_apart_are_the_layers(scale):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(5, (40, 30), generator=generator)
    values = (truth + 0.2 * torch.rand(40, 30, generator=generator)) * scale
    assert torch.equal(depth_layers(values).long(), truth)


def test_every_pixel_lies_in_one_layer_and_nearer_ones_never_below():
    values = torch.rand(200, 300, generator=torch.Generator().manual_seed(1)) ** 3
    values[0, 0], values[0, 1] = 0.0, 50.0  # beyond every sample, on both sides
    layers = depth_layers(values)
    assert set(layers.unique().tolist()) == {0, 1, 2, 3, 4}
    order = values.flatten().argsort()
    assert (layers.flatten()[order].long().diff() >= 0).all()
    assert depth_layers(values, 3).max() == 2


def test_fewer_values_than_layers_give_fewer_layers():
    values = torch.ones(4, 6)
    values[:, 3:] = 2.0
    assert torch.equal(depth_layers(values).unique(), torch.tensor([0, 1], dtype=torch.uint8))


def test_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="finite"):
        depth_layers(torch.tensor([[1.0, float("nan")]]))
