"""The page of splats as a file; tests/browser opens it."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.io.html import save_html
from gs_reg.io.opening import up_direction, viewing_distance
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Splats


def some(n=500, degree=0) -> Splats:
    g = torch.Generator().manual_seed(0)
    return Splats(
        means=torch.randn(n, 3, generator=g) * 0.1 + torch.tensor([1.0, 2, 6]),
        quats=torch.randn(n, 4, generator=g),
        log_scales=torch.randn(n, 3, generator=g) * 2 - 4,
        opacity_logits=torch.randn(n, generator=g) * 3,
        sh=torch.randn(n, (degree + 1) ** 2, 3, generator=g),
    )


def camera(x=0.0, width=80, height=60) -> Cameras:
    viewmats = torch.eye(4)[None].clone()
    viewmats[0, 0, 3] = -x
    return Cameras(viewmats, torch.tensor([[[80.0, 0, 40], [0, 60, 30], [0, 0, 1]]]), width, height)


def part(page: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def read_back(page: str) -> tuple[dict, np.ndarray]:
    scene = json.loads(part(page, "scene"))
    planes = np.frombuffer(gzip.decompress(base64.b64decode(part(page, "splats"))), np.uint8)
    rows = np.ascontiguousarray(planes.reshape(4 * scene["words"], scene["count"]).T)
    return scene, rows.view("<u4")


def test_nothing_is_asked_for_outside(tmp_path, capsys):
    save_html(tmp_path / "a.html", some())
    page = (tmp_path / "a.html").read_text()
    assert re.findall(r"\w+:?//[\w.]+", re.sub(r"\s// .*", "", page.replace(part(page, "splats"), ""))) == []
    assert re.findall(r"\b(?:src|href)=\"(?!data:,)", page) == []
    assert not re.search(r"\bimport\b|\bfetch\(|XMLHttpRequest|@import|url\(", page)
    assert "default-src 'none'" in page
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("count", "offered"), [(0, ""), (1, "r: first camera;"), (2, "n, p: photos' cameras; r: fir")])
def test_help_has_the_keys_that_lead_somewhere(tmp_path, count, offered):
    save_html(tmp_path / "a.html", some(), {f"{i}.png": camera(i) for i in range(count)})
    page = (tmp_path / "a.html").read_text()
    (text,) = re.findall(r'<p id="help">(.*?)</p>', page, re.DOTALL)
    assert f"pinch;\n{offered}" in text and "b: background" in text
    assert ("n, p" in text) == (count > 1) and ("r:" in text) == (count > 0)


def test_the_splats_come_back(tmp_path):
    splats = some(500, degree=3)
    save_html(tmp_path / "a.html", splats)
    scene, rows = read_back((tmp_path / "a.html").read_text())
    assert (scene["count"], scene["words"], scene["degree"]) == (500, 24, 3)
    np.testing.assert_array_equal(rows[:, :3].copy().view("<f4"), splats.means)
    halves = rows[:, 3:8].copy().view("<u2")
    color = torch.from_numpy(halves[:, :3].copy().view("<f2").astype(np.float32))
    torch.testing.assert_close(color, 0.5 + 0.28209479 * splats.sh[:, 0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(halves[:, 3] / 65535, splats.opacities, atol=1e-5)
    low, span = scene["logScale"]
    scales = np.exp(low + span * halves[:, 7:] / 65535)
    np.testing.assert_allclose(scales, splats.scales, rtol=2e-4)
    p = torch.from_numpy(halves[:, 4:7].copy().view("<i2") / 32767)
    n = p.square().sum(1, keepdim=True)
    turn = quat_to_rotmat(torch.cat([1 - n, 2 * p], 1) / (1 + n))
    torch.testing.assert_close(turn.float(), quat_to_rotmat(splats.quats), rtol=0, atol=2e-4)
    steps = rows[:, 8:23, None] >> np.array([0, 10, 20]) & 1023
    scale = np.repeat(scene["harmonicScale"], [3, 5, 7])[:, None]
    np.testing.assert_allclose((steps / 511.0 - 1) * scale, splats.sh[:, 1:], atol=scale.max() / 1000)
    assert (rows[:, 23] == 0).all()


@pytest.mark.parametrize(("degree", "size"), [(0, 32), (1, 48), (2, 64), (3, 96)])
def test_size(tmp_path, degree, size):
    sizes = []
    for n in (1, 10_001):
        save_html(tmp_path / "a.html", some(n, degree))
        sizes.append((tmp_path / "a.html").stat().st_size)
    assert sizes[0] < 50_000
    assert 0.6 * size < (sizes[1] - sizes[0]) / 10_000 < 1.34 * size


def test_extreme_values(tmp_path):
    """Scales of 0, opacities of 0 and 1, colours out of range, one splat: all come back as something near."""
    splats = Splats(
        means=torch.tensor([[1e6, -1e-6, 0.0], [0, 0, 0]]),
        quats=torch.tensor([[-1.0, 0, 0, 0], [0, 0, -3, 0]]),
        log_scales=torch.tensor([[-200.0, 3, 3], [3, 3, 3]]),
        opacity_logits=torch.tensor([-200.0, 200]),
        sh=torch.tensor([[[-1e9, 1e9, 0]], [[0, 0, 0]]]),
    )
    save_html(tmp_path / "a.html", splats)
    scene, rows = read_back((tmp_path / "a.html").read_text())
    halves = rows[:, 3:8].copy().view("<u2")
    assert np.isfinite(halves[:, :3].copy().view("<f2")).all()
    assert halves[:, 3].tolist() == [0, 65535]
    assert halves[:, 4:7].view("<i2").tolist() == [[0, 0, 0], [0, -32767, 0]]
    assert halves[:, 7:].tolist() == [[0, 65535, 65535], [65535] * 3]
    assert sum(scene["logScale"]) == pytest.approx(3)
    save_html(tmp_path / "a.html", splats.rows(slice(1, 2)))
    assert read_back((tmp_path / "a.html").read_text())[0]["count"] == 1


def test_cameras_in_their_order_and_names_as_data(tmp_path):
    nasty = "</script><b>&\"'\u2028.png"
    cameras = {nasty: camera(1.0), "b.png": camera(2.0, 100, 50)}
    save_html(tmp_path / "a.html", some(), cameras, title="<i>$title</i>", near=0.25)
    page = (tmp_path / "a.html").read_text()
    assert "<b>&" not in page and "<i>" not in page and "&lt;i&gt;$title&lt;/i&gt;" in page
    scene, _ = read_back(page)
    assert [c["name"] for c in scene["cameras"]] == [nasty, "b.png"]
    assert scene["title"] == "<i>$title</i>" and scene["near"] == 0.25
    first, second = scene["cameras"]
    assert first["viewmat"][3] == -1 and first["K"] == [80, 60, 40, 30] and first["size"] == [80, 60]
    assert second["viewmat"][3] == -2 and second["size"] == [100, 50]
    assert scene["up"] == [0, -1, 0]


def test_without_cameras_the_scene_is_in_the_picture(tmp_path):
    save_html(tmp_path / "a.html", some(2000))
    scene, _ = read_back((tmp_path / "a.html").read_text())
    (view,) = scene["cameras"]
    p = some(2000).means.double() @ torch.tensor(view["viewmat"]).double().reshape(4, 4)[:3, :3].T
    p = p + torch.tensor(view["viewmat"]).double().reshape(4, 4)[:3, 3]
    pixels = p[:, :2] / p[:, 2:] * torch.tensor(view["K"][:2]) + torch.tensor(view["K"][2:])
    inside = ((pixels > 0) & (pixels < torch.tensor(view["size"]))).all(1) & (p[:, 2] > scene["near"])
    assert inside.float().mean() > 0.9
    assert view["viewmat"][5] > 0.9  # y is down
    assert view["distance"] == pytest.approx(float(p[:, 2].median()), rel=0.1)


def test_distance_is_of_the_middle_of_the_picture():
    beside, middle = torch.tensor([[4.0, 0, 5]]).double(), torch.tensor([[0.1, 0, 9]]).double()
    behind = torch.tensor([[0.0, 0, -3]]).double()
    assert viewing_distance(torch.cat([beside, beside, middle, behind]), camera()) == 9
    assert viewing_distance(torch.cat([beside, behind]), camera()) == 5
    assert viewing_distance(behind, camera()) == 1


def test_up_of_cameras_all_around():
    turned = camera()
    turned = Cameras(turned.viewmats * torch.tensor([-1.0, -1, 1, 1])[:, None], turned.Ks, 80, 60)
    assert up_direction([turned, camera()]) == [0, 1, 0]
    assert up_direction([camera(), camera(1)]) == [0, -1, 0]


def test_no_splats(tmp_path):
    with pytest.raises(InputError, match="no splats"):
        save_html(tmp_path / "a.html", some(0))
    assert list(tmp_path.iterdir()) == []


def test_degree_4_is_said_to_be_left_out(tmp_path, caplog):
    save_html(tmp_path / "a.html", some(3, degree=4))
    assert "up to degree 3" in caplog.text
    assert read_back((tmp_path / "a.html").read_text())[0]["degree"] == 3
