"""T22: the linear basis of a toy avatar: its error falls with its rank, it is small at 20, and its file comes back."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from gs_reg.bake import BakeConfig, Baked, bake, bake_error, load_basis, sampled_codes, save_basis
from gs_reg.bake.attributes import deviated, deviations, unbent
from gs_reg.bake.bake import principal
from gs_reg.bake.file import basis_notes
from gs_reg.errors import InputError
from gs_reg.render import render
from gs_reg.rotations import quat_to_rotmat, rotvec_to_quat

from . import toy

BASE = toy.cloud(800)
DEFORMED = partial(toy.deformed, base=BASE)


def covariances(s):
    half = quat_to_rotmat(s.quats) * s.scales[:, None]
    half = half if s.warps is None else s.warps @ half
    return half @ half.mT


@pytest.fixture(scope="module")
def bases():
    z = sampled_codes(toy.codes(200), 150)
    return {K: bake(DEFORMED, z, toy.NEUTRAL, toy.CHANNELS, toy.UNIT_M, BakeConfig(rank=K, chunk=300)) for K in (2, 20)}


def test_a_warp_that_turns_and_stretches_along_axes_is_kept_exactly():
    turn = quat_to_rotmat(rotvec_to_quat(torch.tensor([0.5, -0.4, 0.3])))
    axes = quat_to_rotmat(BASE.quats)
    stretch = axes * torch.tensor([1.3, 0.8, 1.1]) @ axes.mT
    bent = replace(BASE, warps=turn @ stretch)
    plain = unbent(bent)
    torch.testing.assert_close(covariances(plain), covariances(bent), atol=1e-8, rtol=1e-4)
    torch.testing.assert_close(plain.log_scales, BASE.log_scales + torch.tensor([1.3, 0.8, 1.1]).log())
    assert unbent(BASE).warps is None and torch.equal(unbent(BASE).quats, BASE.quats)


def test_the_normals_of_flat_splats_follow_a_shear_and_small_warps_are_small_changes():
    flat = replace(BASE, log_scales=torch.tensor([0.02, 0.02, 1e-5]).log().expand(len(BASE), 3).contiguous())
    g = torch.Generator().manual_seed(0)
    warps = torch.eye(3) + 0.2 * torch.randn(len(BASE), 3, 3, generator=g)
    normal = torch.linalg.solve(warps.mT, quat_to_rotmat(flat.quats)[:, :, 2:])[..., 0]
    got = quat_to_rotmat(unbent(replace(flat, warps=warps)).quats)[:, :, 2]
    assert float((torch.nn.functional.normalize(normal, dim=1) * got).sum(1).abs().min()) > 0.9999
    small = unbent(replace(flat, warps=torch.eye(3) + 1e-4 * torch.randn(len(BASE), 3, 3, generator=g)))
    assert float(deviations(small, flat)[:, 3:9].abs().max()) < 2e-3  # round splats too: their axes do not swap


def test_deviations_go_there_and_back():
    g = torch.Generator().manual_seed(1)
    by = 0.3 * torch.randn(len(BASE), 13, generator=g)
    torch.testing.assert_close(deviations(deviated(BASE, by), BASE), by, atol=1e-5, rtol=0)
    assert float(deviations(BASE, BASE).abs().max()) < 1e-6


def test_components_are_those_of_a_dense_decomposition():
    g = np.random.default_rng(0)
    table = (g.normal(size=(12, 5)) @ g.normal(size=(5, 13 * 40))).reshape(12, 13, 40).astype(np.float32)
    columns, coefficients = principal(table, BakeConfig(rank=20, chunk=7))
    assert columns.shape == (5, 13, 40)  # their rank
    np.testing.assert_allclose(np.einsum("mk,kan->man", coefficients, columns), table, atol=1e-4)
    u, s, vt = np.linalg.svd(table.reshape(12, -1), full_matrices=False)
    columns, coefficients = principal(table, BakeConfig(rank=2, chunk=1000))
    best = (u[:, :2] * s[:2] @ vt[:2]).reshape(table.shape)
    np.testing.assert_allclose(np.einsum("mk,kan->man", coefficients, columns), best, atol=1e-4)
    np.testing.assert_allclose(np.sqrt((coefficients**2).mean(0)), s[:2] / s[0], rtol=1e-3)


def test_the_error_falls_with_the_rank_and_is_small_at_20(bases):
    held_out = toy.codes(200)[7::16]
    errors = {
        K: bake_error(Baked(basis), DEFORMED, held_out, lambda i: toy.camera(), toy.UNIT_M)
        for K, basis in bases.items()
    }
    mm, db = ([getattr(errors[K], name) for K in (2, 20)] for name in ("mm_mean", "psnr"))
    assert mm[0] > 2 * mm[1] and db[0] < db[1] - 6
    moved = (DEFORMED(torch.tensor([1.0, 1, 0, 0])).means - BASE.means).norm(dim=1).max() * toy.UNIT_M * 1e3
    assert float(moved) > 40  # millimetres
    assert errors[20].mm_mean < 0.2 and errors[20].psnr > 38
    assert "mm off" in errors[20].words
    # against photos, with noise as of training
    g = torch.Generator().manual_seed(0)
    photos = [render(DEFORMED(z), toy.camera(), backgrounds=torch.ones(1, 3)).colors for z in held_out]
    photos = [photo + 0.03 * torch.randn(photo.shape, generator=g) for photo in photos]
    cameras = lambda i: toy.camera()  # noqa: E731
    lost = bake_error(Baked(bases[20]), DEFORMED, held_out, cameras, toy.UNIT_M, photos.__getitem__).lost_db
    assert 0 < lost < 0.5


def test_neutral_stays_neutral(bases):
    neutral = Baked(bases[20])(toy.NEUTRAL)
    assert float((neutral.means - BASE.means).norm(dim=1).max()) * toy.UNIT_M < 1e-3


def test_the_file_comes_back_and_says_what_it_lost(bases, tmp_path):
    basis = bases[20]
    save_basis(tmp_path / "a.gsbasis", basis, {"lost_db": 0.3})
    read = load_basis(tmp_path / "a.gsbasis")
    z = torch.tensor([0.3, 0.8, 0.1, 0.5])
    a, b = Baked(basis)(z), Baked(read)(z)
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert read.channels == toy.CHANNELS and read.rank == basis.rank and read.unit_m == toy.UNIT_M
    assert read.errors == basis.errors and basis_notes(tmp_path / "a.gsbasis") == {"lost_db": 0.3}
    # 13 bytes a Gaussian and column, and the cloud as floats
    assert (tmp_path / "a.gsbasis").stat().st_size < len(basis) * (13 * basis.rank + 4 * 23) + 30_000


def test_broken_files_are_told(bases, tmp_path):
    save_basis(tmp_path / "a.gsbasis", bases[2])
    data = (tmp_path / "a.gsbasis").read_bytes()

    def refused(content: bytes, words: str) -> None:
        (tmp_path / "b.gsbasis").write_bytes(content)
        with pytest.raises(InputError, match=words) as raised:
            load_basis(tmp_path / "b.gsbasis")
        assert "b.gsbasis: " in str(raised.value)

    refused(b"ply\n" + data[4:], "expected a baked avatar")
    refused(data[:200], "truncated")
    refused(data[:-3000], "truncated: block .* reaches beyond the end")
    refused(data[:16] + b"[" + data[17:], "not valid JSON")
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length])
    header["channels"] = header["channels"][:-1]
    text = json.dumps(header).encode().ljust(length)
    refused(data[:16] + text + data[16 + length :], r"code.neutral: expected \[3\] for its other blocks, got \[4\]")
    with pytest.raises(InputError, match="No such file"):
        load_basis(tmp_path / "none.gsbasis")


def test_what_cannot_be_baked_is_refused():
    args = (toy.NEUTRAL, toy.CHANNELS, toy.UNIT_M)
    with pytest.raises(ValueError, match="at least 10"):
        bake(DEFORMED, toy.codes(9), *args)
    with pytest.raises(ValueError, match="rank"):
        bake(DEFORMED, toy.codes(12), *args, BakeConfig(rank=0))
    with pytest.raises(ValueError, match="expected 4 names, got 2"):
        bake(DEFORMED, toy.codes(12), toy.NEUTRAL, toy.CHANNELS[:2], toy.UNIT_M)


def test_rows_that_no_camera_sees_may_have_the_larger_error():
    z, half = sampled_codes(toy.codes(200), 60), BASE.means[:, 1] < 0
    args = (DEFORMED, z, toy.NEUTRAL, toy.CHANNELS, toy.UNIT_M, BakeConfig(rank=1))
    errors = []
    for visibility in (None, half.float()):
        baked = Baked(bake(*args, visibility))
        errors.append(torch.stack([(baked(c).means - DEFORMED(c).means).norm(dim=1) for c in z[::7]]).mean(0))
    assert float(errors[1][half].mean()) < float(errors[0][half].mean())
    assert float(errors[1][~half].mean()) > float(errors[0][~half].mean())
