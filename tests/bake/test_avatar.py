"""Avatars of the toy prior, with both fields at work: baked, and as plain splats in the world."""

import math

import torch

from gs_reg.bake import BakeConfig, Baked, bake, bake_error, sampled_codes
from gs_reg.io import load_splats
from gs_reg.io.posed import plain_splats, save_sequence
from gs_reg.render import render
from gs_reg.types import Cameras
from tests.models.avatars import PRIOR, stirred, toy_avatar, track

VIEW = Cameras.look_at(
    torch.tensor([0.15, 0.05, 1.6]), torch.zeros(3), torch.tensor([0.0, 1, 0]), math.radians(35), 96, 96
)


def avatar():
    made = toy_avatar(points=500, frames=60)
    stirred(made.detail, 0.1)
    with torch.no_grad():
        made.sh_rest.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return made


def test_a_bake_of_an_avatar_loses_little():
    made, own = avatar(), track(60)
    codes = sampled_codes(own.codes[:48], 100)
    basis = bake(made.deformed, codes, PRIOR.neutral, PRIOR.channels, PRIOR.unit_m, BakeConfig(rank=20))
    assert basis.rank == 20
    error = bake_error(Baked(basis), made.deformed, own.codes[48:], lambda i: VIEW, PRIOR.unit_m)
    still = bake_error(lambda z: basis.reference, made.deformed, own.codes[48:], lambda i: VIEW, PRIOR.unit_m)
    assert error.psnr > 35 and error.psnr > still.psnr + 8
    assert error.mm_mean < 0.2 * still.mm_mean


@torch.no_grad()
def test_the_file_of_a_posed_avatar_draws_as_it_does(tmp_path):
    made, own = avatar(), track(60)
    posed = made.posed(own.codes[3], own.pose.matrices()[3])
    assert posed.warps is not None
    eye = torch.tensor([0.05, 0.02, 0.4])
    camera = Cameras.look_at(eye, torch.zeros(3), torch.tensor([0.0, 1, 0]), math.radians(35), 96, 96)
    expected = render(posed, camera).colors
    assert expected.std() > 0.05
    (file,) = save_sequence(tmp_path, [posed])
    for splats in (plain_splats(posed), load_splats(file)):
        assert float(-10 * (render(splats, camera).colors - expected).square().mean().log10()) > 50
