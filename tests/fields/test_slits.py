"""Edges across a slit are cut; Gaussians that nothing moves are found."""

import torch
from torch import nn

from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.fields.slits import cut_slits, farthest_codes
from gs_reg.fields.still import moving
from gs_reg.neighbors import gaussian_weights, nearest
from gs_reg.priors.toy import ToyPrior
from gs_reg.priors.types import Part
from tests.fields.test_fields import DIM, GROUPS, inputs, stirred


class Toy(CoarseField):
    """The toy head's own motion; the latent's first entry says the half."""

    def prepare(self, x, latent, gates, jacobian=True, constant=True):
        return x, torch.where(latent[:, 0] > 0, int(Part.LIP_UPPER), int(Part.LIP_LOWER))

    def at(self, prepared, z, constant=True):
        x, parts = prepared
        return ToyPrior().forward(x, z, None, parts) - x, None


def lips(count=2000):
    """Points of the toy's slit with their half, and a graph of them."""
    sample = ToyPrior().surface(None, 5 * count, 0)
    points, parts = sample.points[-count:], sample.parts[-count:]
    points = points + torch.where(parts == Part.LIP_UPPER, 5e-4, -5e-4)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    latent = torch.where(parts == Part.LIP_UPPER, 1.0, -1.0)[:, None].expand(-1, 8)
    index, distances = nearest(points, 16)
    return points, latent, parts, index, gaussian_weights(distances)


def test_edges_between_the_lips_are_cut_and_others_are_not():
    points, latent, parts, index, weights = lips()
    across = parts[:, None] != parts[index.long()]
    probes = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0], [0.0, 1, 1, 0, 0, 0, 0, 1]])
    cut = cut_slits(Toy(8), points, latent, None, probes, index, weights)
    opens = (ToyPrior().forward(points, probes[0], None, parts) - points).norm(dim=1) > 0.01
    enough = (~across).sum(1) >= 4
    assert opens.float().mean() > 0.5 and across.float().mean() > 0.3
    assert (cut[opens & enough][across[opens & enough]] == 0).all()
    assert (cut[~across] > 0).all()
    torch.testing.assert_close(cut.sum(1), torch.ones(len(points)))


def test_the_four_edges_that_move_apart_least_stay():
    points, latent, _, index, weights = lips(200)
    latent = torch.where(torch.arange(200) == 0, -latent[0, 0], latent[:, 0])[:, None].expand(-1, 8)
    probes = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0]])
    cut = cut_slits(Toy(8), points, latent, None, probes, index, weights)
    assert ((cut > 0).sum(1) >= 4).all()


def test_an_edge_that_no_probe_opens_stays():
    points, latent, _, index, weights = lips(200)
    cut = cut_slits(Toy(8), points, latent, None, torch.zeros(1, 8), index, weights)
    torch.testing.assert_close(cut, weights)


def test_farthest_codes_are_the_corners_and_none_twice():
    corners = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    inside = 0.4 + 0.2 * torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    chosen = farthest_codes(torch.cat([inside, corners]), 4)
    assert sorted(chosen.tolist()) == corners.tolist()
    assert len(farthest_codes(corners.repeat(5, 1), 64)) == 4
    assert len(farthest_codes(torch.ones(7, 3), 64)) == 1  # codes that never change


def test_only_what_a_field_moves_is_moving():
    torch.manual_seed(0)
    coarse, detail = CoarseField(DIM, GROUPS), DetailField(DIM, GROUPS)
    x, latent, gates, codes = inputs(codes=(5,))
    assert not moving(coarse, detail, x, latent, gates, codes).any()
    with torch.no_grad():
        detail.out.bias[9] = 0.02  # opacity
    assert moving(coarse, detail, x, latent, gates, codes).all()
    assert not moving(coarse, None, x, latent, gates, codes).any()
    stirred(coarse)
    gates[:10] = 0
    nn.init.zeros_(coarse.out.bias)
    norms = torch.stack([coarse(x, latent, gates, z).norm(dim=1) for z in codes]).amax(0)
    middle = float(norms.median().detach())
    assert torch.equal(moving(coarse, None, x, latent, gates, codes, middle), norms >= middle)
