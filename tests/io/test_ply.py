"""PLY files: every bit kept, layouts of others, numbers that are not finite."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_reg.io import load_splats, save_splats
from gs_reg.io.ply import read_header
from gs_reg.render import render
from gs_reg.types import Splats
from tests.io.splat_files import COLUMNS, bits, cameras, random_splats, write_ply

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.lists(finite, min_size=59, max_size=59), st.integers(0, 4))
def test_ply_keeps_every_bit(tmp_path_factory, degree, values, n):
    flat = torch.tensor(values, dtype=torch.float32).repeat(n, 1)
    K = (degree + 1) ** 2
    s = Splats(flat[:, :3], flat[:, 3:7], flat[:, 7:10], flat[:, 10], flat[:, 11 : 11 + 3 * K].reshape(n, K, 3))
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    save_splats(path, s)
    assert bits(load_splats(path)) == bits(s)


@pytest.mark.parametrize(("far", "kind", "warned"), [(5411932.0, "f8", True), (40.0, "f8", False), (5e6, "f4", False)])
def test_doubles_that_float32_does_not_hold(tmp_path, caplog, far, kind, warned):
    table = np.random.default_rng(0).normal(size=(50, len(COLUMNS)))
    table[:, 1] += far
    write_ply(tmp_path / "a.ply", table.astype(f"<{kind}"), "double" if kind == "f8" else "float")
    assert len(load_splats(tmp_path / "a.ply")) == 50
    assert any("float32 moves them by up to 0.25" in line for line in caplog.messages) == warned


def test_ply_layout(tmp_path):
    s = random_splats(2, degree=3)
    save_splats(tmp_path / "a.ply", s, render_mode="mip")
    raw = (tmp_path / "a.ply").read_bytes()
    header, data = raw.split(b"end_header\n", 1)
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    assert len(names) == 62 and names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[-8:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    row = np.frombuffer(data, "<f4").reshape(2, 62)[1]
    np.testing.assert_array_equal(row[9:54].reshape(3, 15), s.sh[1, 1:].T)  # all red, then green, then blue
    assert read_header(tmp_path / "a.ply").render_mode == "mip"


def test_ply_of_others(tmp_path):
    """59 columns, another order, doubles, big endian, an element before, Postshot's comment."""
    s = random_splats(3)
    names = [
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "f_dc_0",
        "f_dc_1",
        "f_dc_2",
    ]
    table = torch.cat([s.quats, s.opacity_logits[:, None], s.log_scales, s.sh[:, 0], s.means], 1).double().numpy()
    head = "ply\nformat binary_big_endian 1.0\ncomment antialiased 1\nelement other 2\nproperty uchar a\n"
    head += "element vertex 3\n"
    head += "".join(f"property double {name}\n" for name in [*names, "x", "y", "z"]) + "end_header\n"
    (tmp_path / "a.ply").write_bytes(head.encode() + b"\0\0" + table.astype(">f8").tobytes())
    assert bits(load_splats(tmp_path / "a.ply")) == bits(s)
    assert read_header(tmp_path / "a.ply").render_mode == "mip"


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_infinite_numbers_of_a_ply(tmp_path, kind):
    """Written by others, so as they are: all opaque, some flat; doubles beyond float32 are infinite there."""
    s = random_splats(3)
    table = torch.cat([s.means, s.quats, s.log_scales, s.opacity_logits[:, None], s.sh[:, 0]], 1).double().numpy()
    table[:, 10], table[1, 9] = (np.inf if kind == "f4" else 1e300), -np.inf
    write_ply(tmp_path / "a.ply", table.astype(f"<{kind}"), "double" if kind == "f8" else "float")
    read = load_splats(tmp_path / "a.ply")
    assert torch.equal(read.opacities, torch.ones(3)) and torch.equal(read.means, s.means)
    assert read.scales[1, 2].square() == 0
    view = cameras(1)
    parameters = [x.clone().requires_grad_() for x in (read.means, read.quats, read.log_scales, read.opacity_logits)]
    colors = render(Splats(*parameters, read.sh), view).colors
    colors.square().sum().backward()
    assert colors.isfinite().all() and all(x.grad.isfinite().all() for x in parameters)
