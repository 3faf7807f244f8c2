"""The player of baked avatars in a real Chromium, from a file: what its shader, sorter and sliders show."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.bake import BakeConfig, Baked, Basis, Playback, bake, sampled_codes, save_player
from gs_reg.geometry import transform_cameras
from gs_reg.render import render
from gs_reg.rotations import quat_to_rotmat, rotvec_to_quat
from tests.bake import toy

WIDTH, HEIGHT = 320, 240
DARK = 17 / 255
CODE = [0.9, 0.7, 0.8, 0.6]


@pytest.fixture(scope="module")
def basis() -> Basis:
    base = toy.cloud(1500)
    codes = sampled_codes(toy.codes(200), 60)
    return bake(lambda z: toy.deformed(z, base), codes, toy.NEUTRAL, toy.CHANNELS, toy.UNIT_M, BakeConfig(rank=6))


def drawn(basis: Basis, code: list[float], cameras=None) -> np.ndarray:
    cameras = toy.camera(WIDTH, HEIGHT) if cameras is None else cameras
    cloud = Baked(basis)(torch.tensor(code, dtype=torch.float32))
    return render(cloud, cameras, backgrounds=torch.full((1, 3), DARK)).colors[0].clamp(0, 1).numpy()


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(((a - b) ** 2).mean())


def opened(browser, tmp_path: Path, basis: Basis, track: Playback | None = None, before: str = "") -> None:
    save_player(tmp_path / "a.html", basis, {"front": toy.camera(WIDTH, HEIGHT)}, track, title="toy", near=0.01)
    browser.open((tmp_path / "a.html").as_uri(), WIDTH, HEIGHT, before=before)
    bare = "v.showPanel(false); v.byId('show').hidden = true; v.byId('drive').style.visibility = 'hidden'"
    browser.run(f"viewer.then((v) => {{ {bare}; return v.settled(); }})")


def act(browser, script: str) -> np.ndarray:
    """The picture at rest after a script has done something to the player `v`."""
    browser.run(f"viewer.then((v) => {{ {script}; v.change(); return v.settled(); }})")
    return browser.picture()


@pytest.mark.parametrize("worker", ["", "Worker = class { constructor() { throw new DOMException('no'); } };"])
def test_it_draws_what_the_basis_makes_of_a_code(browser, tmp_path, basis, worker):
    opened(browser, tmp_path, basis, before=worker)
    neutral, moved = drawn(basis, [0, 0, 0, 0]), drawn(basis, CODE)
    assert decibels(neutral, moved) < 30
    assert decibels(browser.picture(), neutral) > 40
    assert decibels(act(browser, f"v.setCode({CODE})"), moved) > 40
    assert decibels(act(browser, "v.byId('neutral').click()"), neutral) > 40
    assert browser.complaints() == []
    assert {request.split(":")[0] for request in browser.requests()} <= {"file", "blob"}


def test_splats_are_sorted_where_they_have_moved_to(browser, tmp_path, basis):
    """After a code, the order is that of a fresh sort of the moved positions."""
    opened(browser, tmp_path, basis)
    act(browser, "v.setCode([1, 1, 0, 0])")
    depths = browser.run("""viewer.then((v) => { const p = v.basis.positions(), f = v.camera.forward;
        return Array.from(p).filter((_, i) => i % 3 === 0).map((x, i) => f[0] * x + f[1] * p[3 * i + 1]
        + f[2] * p[3 * i + 2]); })""")
    means = Baked(basis)(torch.tensor([1.0, 1, 0, 0])).means @ toy.camera().viewmats[0, 2, :3]
    np.testing.assert_allclose(depths, means, atol=1e-5)
    assert browser.run("viewer.then((v) => v.sorter.sorted === v.sorter.version && v.sorter.version > 1)")


def test_sliders_move_their_channel_and_arrows_in_them_no_camera(browser, tmp_path, basis):
    opened(browser, tmp_path, basis)
    names = browser.run("[...document.querySelectorAll('#channels span')].map((s) => s.textContent)")
    assert tuple(names) == toy.CHANNELS
    picture = act(
        browser,
        """const s = document.querySelectorAll('#channels input')[0]; s.value = s.max;
        s.dispatchEvent(new Event('input'))""",
    )
    most = float(basis.hi[0])
    assert decibels(picture, drawn(basis, [most, 0, 0, 0])) > 38  # of steps of a 200th
    eye = browser.run("viewer.then((v) => v.camera.eye)")
    browser.run(
        "document.getElementById('drive').style.visibility = ''; document.querySelector('#channels input').focus()"
    )
    browser.key("ArrowLeft")
    assert browser.run("viewer.then((v) => v.camera.eye)") == eye
    assert browser.run("viewer.then((v) => v.code[0])") < most


def test_a_track_plays_with_its_head_poses(browser, tmp_path, basis):
    poses = torch.eye(4).repeat(20, 1, 1)
    poses[10:, :3, :3] = quat_to_rotmat(rotvec_to_quat(torch.tensor([0.1, 0.35, 0.05])))
    poses[10:, :3, 3] = torch.tensor([0.05, -0.02, 0.1])
    track = Playback(toy.codes(20), 30.0, poses)
    opened(browser, tmp_path, basis, track)
    code = toy.codes(20)[10].tolist()
    turned = transform_cameras(torch.linalg.inv(poses[10]), toy.camera(WIDTH, HEIGHT))
    picture = act(browser, "v.showFrame(10)")
    assert decibels(picture, drawn(basis, code, turned)) > 38
    assert decibels(picture, drawn(basis, code)) < 30
    mixed = (0.75 * toy.codes(20)[3] + 0.25 * toy.codes(20)[4]).tolist()
    assert decibels(act(browser, "v.showFrame(3.25)"), drawn(basis, mixed)) > 40
    browser.run("document.getElementById('play').click()")
    places = []
    for _ in range(8):
        places.append(browser.run("new Promise((r) => setTimeout(r, 60)).then(() => viewer).then((v) => v.frameShown)"))
    assert len(set(places)) > 3  # it runs
    browser.run("document.getElementById('play').click()")
    assert browser.run("viewer.then((v) => v.playing)") is False
    assert browser.complaints() == []
