"""Posed clouds as plain PLY files: rows of 62 floats that draw as the avatar does."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from gs_reg.errors import InputError
from gs_reg.io import load_splats
from gs_reg.io.frames import sh_rotation
from gs_reg.io.ply import read_header
from gs_reg.io.posed import plain_splats, save_sequence
from gs_reg.render import render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_basis
from gs_reg.types import Cameras, Splats

ROTATION = quat_to_rotmat(torch.tensor([0.8, 0.3, -0.4, 0.2]))


def bent(n=600, degree=2, seed=0) -> Splats:
    """Splats with warps that stretch, shear and turn, thin ones among them."""
    g = torch.Generator().manual_seed(seed)
    return Splats(
        means=torch.randn(n, 3, generator=g) * 0.5,
        quats=torch.randn(n, 4, generator=g),
        log_scales=torch.randn(n, 3, generator=g) - torch.tensor([2.5, 3.0, 6.0]),
        opacity_logits=torch.randn(n, generator=g) * 2,
        sh=torch.randn(n, (degree + 1) ** 2, 3, generator=g) * 0.25,
        warps=torch.eye(3) + 0.35 * torch.randn(n, 3, 3, generator=g),
    )


def covariances(s: Splats) -> torch.Tensor:
    half = quat_to_rotmat(s.quats.double()) * s.scales.double()[:, None]
    half = half if s.warps is None else s.warps.double() @ half
    return half @ half.mT


def camera(eye=(0.4, -0.3, -3.0)) -> Cameras:
    up = torch.tensor([0.0, -1, 0])
    return Cameras.look_at(torch.tensor(eye), torch.zeros(3), up, math.radians(45), 160, 120)


def test_covariances_are_kept_descending_and_right_handed():
    splats = bent()
    plain = plain_splats(splats)
    assert plain.warps is None and plain.sh.shape[1] == 16
    error = (covariances(plain) - covariances(splats)).flatten(1).norm(dim=1)
    assert float((error / covariances(splats).flatten(1).norm(dim=1)).max()) < 1e-5
    assert bool((plain.log_scales.diff(dim=1) <= 0).all())
    thin = torch.linalg.svdvals(splats.warps @ (quat_to_rotmat(splats.quats) * splats.scales[:, None]))
    torch.testing.assert_close(plain.scales, thin, rtol=2e-4, atol=0)  # the thin axis too


def test_a_flat_splat_and_one_of_nan_stop_nothing():
    splats = bent(4)
    warps = splats.warps.clone()
    warps[0, :, 2] = warps[0, :, 1]  # singular
    warps[1, 0, 0] = torch.nan
    plain = plain_splats(replace(splats, warps=warps))
    assert bool(plain.log_scales[0].isfinite().all())
    assert bool(plain.log_scales[1].isnan().all())
    torch.testing.assert_close(plain.scales[2:], plain_splats(splats).scales[2:])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_harmonics_turn_with_the_head(degree):
    g = torch.Generator().manual_seed(1)
    directions = F.normalize(torch.randn(50, 3, generator=g, dtype=torch.float64), dim=1)
    splats = bent(20, degree)
    turned = plain_splats(splats, ROTATION).sh[:, : (degree + 1) ** 2].double()
    direct = torch.einsum("dk,nkc->dnc", sh_basis(directions @ ROTATION.double(), degree), splats.sh.double())
    torch.testing.assert_close(
        torch.einsum("dk,nkc->dnc", sh_basis(directions, degree), turned), direct, atol=1e-5, rtol=0
    )


def test_the_rotation_of_harmonics_is_wigners():
    """Orthogonal, block by degree, a homomorphism, and degree 1 the rotation itself in the order -y, z, -x."""
    a, b = ROTATION.double(), quat_to_rotmat(torch.tensor([0.2, -0.5, 0.1, 0.9], dtype=torch.float64))
    A = sh_rotation(a, 3)
    torch.testing.assert_close(A @ A.T, torch.eye(16, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(sh_rotation(a @ b, 3), A @ sh_rotation(b, 3), atol=1e-6, rtol=0)
    assert float(A[1:4, 4:].abs().max()) < 1e-6 and float(A[4:9, 9:].abs().max()) < 1e-6
    order = torch.tensor([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(A[1:4, 1:4], order @ a @ order.T, atol=1e-6, rtol=0)


def test_the_rotation_of_harmonics_has_the_same_bits_wherever_memory_lies():
    """Least squares by LAPACK had not, in most calls."""
    first, kept = sh_rotation(ROTATION, 3), []
    for size in range(1, 60):
        kept += [bytes(37 * size), torch.empty(53 * size, dtype=torch.uint8)]
        assert torch.equal(sh_rotation(ROTATION, 3), first)


def test_the_file_draws_as_the_posed_head_does(tmp_path):
    """World splats = head splats under a pose; in the file their harmonics are the world's."""
    head = bent(degree=3)
    scale, shift = 1.3, torch.tensor([0.1, -0.2, 0.3])
    world = replace(head, means=scale * head.means @ ROTATION.T + shift, warps=scale * ROTATION @ head.warps)
    files = save_sequence(tmp_path, [world], ROTATION[None])
    assert [file.name for file in files] == ["frame_00000.ply"]
    (vertex,) = read_header(files[0]).elements
    assert vertex.dtype.itemsize == 248 and len(vertex.dtype.names) == 62
    assert vertex.dtype.names[:9] == ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
    assert vertex.dtype.names[54:] == ("opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)))
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = scale * ROTATION, shift
    # the head's own frame, seen by the camera that is moved instead, is where its harmonics are right
    viewmat = camera().viewmats @ pose
    viewmat[:, :3] /= scale
    expected = render(head, replace(camera(), viewmats=viewmat)).colors
    got = render(load_splats(files[0]), camera()).colors
    assert float(-10 * (got - expected).square().mean().log10()) > 50
    unturned = render(plain_splats(world), camera()).colors
    assert float(-10 * (unturned - expected).square().mean().log10()) < 40


def test_colours_of_a_network_and_empty_sequences_are_refused(tmp_path):
    splats = bent(3)
    with pytest.raises(ValueError, match="expected harmonics"):
        plain_splats(replace(splats, colors=torch.zeros(1, 3, 3)))
    with pytest.raises(InputError, match="at least one frame"):
        save_sequence(tmp_path / "a", [])
    with pytest.raises(InputError, match="for every frame, got 1"):
        save_sequence(tmp_path / "a", [splats, splats], ROTATION[None])


def test_what_holds_for_all_frames_is_warned_of_once(tmp_path, caplog):
    far = [replace(s := bent(5), means=s.means + 2000.0 * (t + 1)) for t in range(3)]
    bad = replace(bent(5), means=bent(5).means.index_fill(0, torch.tensor([1]), torch.nan))
    save_sequence(tmp_path, [*far, bad], suffix=".spz")
    first, second = (record.getMessage() for record in caplog.records)
    assert "frame_00000.spz" in first and "steps of" in first
    assert "frame_00003.spz" in second and "not finite" in second
    save_sequence(tmp_path, far[:1], suffix=".spz")
    assert len(caplog.records) == 3


def test_a_shorter_sequence_leaves_no_frames_of_a_longer_one(tmp_path):
    (tmp_path / "frame_notes.txt").touch()
    save_sequence(tmp_path, [bent(5)] * 3)
    kept = save_sequence(tmp_path, [bent(5)] * 2, suffix=".spz")
    assert sorted(tmp_path.iterdir()) == [*kept, tmp_path / "frame_notes.txt"]
