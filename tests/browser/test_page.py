"""The page of splats in a real Chromium in real time, by what is seen on its screen."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.io.html import save_html
from gs_reg.render import render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

from .chromium import Chromium

WIDTH, HEIGHT = 320, 240
RED, BLUE, DARK = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 17 / 255


def camera(eye=(0.0, 0, 0), target=(0.0, 0, 4), width=WIDTH, height=HEIGHT) -> Cameras:
    up = torch.tensor([0.0, -1, 0])
    return Cameras.look_at(torch.tensor(eye), torch.tensor(target), up, math.radians(60), width, height)


def sheet(slope: float, rgb: tuple[float, float, float]) -> Splats:
    """A solid sheet z = 4 + slope x, |x| and |y| up to 1, of round flat splats in a random order."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 41), indexing="ij")
    x, y = x.flatten(), y.flatten()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    means = torch.stack([x, y, 4 + slope * x], 1)[order]
    half = -math.atan(slope) / 2  # about y, from z towards x
    n = len(means)
    return Splats(
        means=means,
        quats=torch.tensor([math.cos(half), 0, math.sin(half), 0]).repeat(n, 1),
        log_scales=torch.tensor([0.05, 0.05, 1e-4]).log().repeat(n, 1),
        opacity_logits=torch.full((n,), 9.0),
        sh=rgb_to_sh(torch.tensor(rgb)).repeat(n, 1, 1),
    )


def crossing() -> Splats:
    """Seen from the origin, red is nearer on the left and blue on the right; rows in a random order."""
    both = Splats.joined([sheet(0.8, RED), sheet(-0.8, BLUE)])
    return both.rows(torch.randperm(len(both), generator=torch.Generator().manual_seed(2)))


def cloud(degree: int) -> Splats:
    """Large and small, thin and round, faint and solid, some beside or behind the camera."""
    g, n = torch.Generator().manual_seed(3), 1500
    return Splats(
        means=torch.randn(n, 3, generator=g) * torch.tensor([1.5, 1.0, 1.5]) + torch.tensor([0.2, 0, 3]),
        quats=torch.randn(n, 4, generator=g),
        log_scales=torch.randn(n, 3, generator=g) - 3.5,
        opacity_logits=torch.randn(n, generator=g) * 2,
        # colours up to about 1: brighter ones the page's 8 bits cut splat by splat, and render only at the end
        sh=torch.randn(n, (degree + 1) ** 2, 3, generator=g) * 0.5 / (degree + 1),
    )


def opened(browser: Chromium, url: str, width=WIDTH, height=HEIGHT, ratio: float = 1, before: str = "") -> None:
    """The page, ready, without anything on top of the picture."""
    browser.open(url, width, height, ratio, before)
    browser.run("viewer.then((v) => { v.showPanel(false); v.byId('show').hidden = true; return v.settled(); })")
    assert browser.run("document.getElementById('status').textContent") == ""


def act(browser: Chromium, script: str) -> np.ndarray:
    """The picture at rest after a script has done something to the viewer `v`."""
    browser.run(f"viewer.then((v) => {{ {script}; v.change(); return v.settled(); }})")
    return browser.picture()


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(((a - b) ** 2).mean())


def drawn(splats: Splats, camera: Cameras, background: float = DARK) -> np.ndarray:
    return render(splats, camera, backgrounds=torch.full((1, 3), background)).colors[0].clamp(0, 1).numpy()


def assert_color(picture: np.ndarray, x: int, y: int, rgb: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(picture[y, x], rgb, atol=0.02, err_msg=f"pixel {x}, {y}")


WORKERS = {
    "allowed": "",
    "refused": "Worker = class { constructor() { throw new DOMException('no', 'SecurityError'); } };",
    "failing": """Worker = class { postMessage() {
        setTimeout(() => this.onerror(new Event("error", { cancelable: true }))); } };""",
}


@pytest.mark.parametrize("worker", WORKERS)
def test_the_nearer_of_two_crossing_sheets_is_seen(browser, tmp_path, address, worker):
    save_html(tmp_path / "a.html", crossing(), {"a.png": camera()})
    opened(browser, f"{address}/a.html", before=WORKERS[worker])
    picture = browser.picture()
    # the sheets meet at x = 0, column 160; y from -30 to 30 degrees; their nearer halves reach column 160 -+ 65
    for y in (75, 120, 165):
        for away in (5, 15, 30, 55):
            assert_color(picture, 160 - away, y, RED)
            assert_color(picture, 160 + away, y, BLUE)
    assert_color(picture, 5, 5, (DARK,) * 3)
    # from +x, blue is nearer on the side of smaller z, which is left in the picture; from -x red, and that is right
    for turn, x in ((-math.pi / 2, 4), (math.pi / 2, -4)):
        picture = act(browser, f"v.show(0); v.camera.distance = 4; v.camera.orbit({turn}, 0)")
        np.testing.assert_allclose(browser.run("viewer.then((v) => v.camera.eye)"), [x, 0, 4], atol=1e-9)
        for away in (5, 15, 30):
            assert_color(picture, 160 - away, 120, BLUE)
            assert_color(picture, 160 + away, 120, RED)
    # Chromium allows the worker from a file too
    assert browser.run("viewer.then((v) => v.sorter.where)") == ("worker" if worker == "allowed" else "page")
    assert browser.complaints() == []
    assert {request.split(":")[0] for request in browser.requests()} <= {address.split(":")[0], "blob"}
    assert [request for request in browser.requests() if request.startswith("http")][1:] == []


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_it_draws_as_render_does(browser, tmp_path, degree):
    splats = cloud(degree)
    wide = camera((0.3, -0.2, -0.5), (0.0, 0, 3))
    wide = replace(
        wide, Ks=wide.Ks + torch.tensor([[0, 0, 9.0], [0, -20, -6], [0, 0, 0]])
    )  # off the middle, not square
    save_html(tmp_path / "a.html", splats, {"a.png": wide}, near=0.01)
    opened(browser, (tmp_path / "a.html").as_uri())
    expected = drawn(splats, wide)
    assert expected.std() > 0.12
    assert degree == 0 or decibels(drawn(replace(splats, sh=splats.sh[:, :1]), wide), expected) < 30
    assert decibels(browser.picture(), expected) > 40
    assert decibels(act(browser, "v.setBackground(2)"), drawn(splats, wide, 1.0)) > 40
    assert browser.complaints() == []


def test_the_whole_photo_is_seen_in_any_window_and_at_any_pixel_ratio(browser, tmp_path):
    splats = cloud(0)
    save_html(tmp_path / "a.html", splats, {"a.png": camera()}, near=0.01)
    opened(browser, (tmp_path / "a.html").as_uri(), 160, 200, ratio=2)
    K = camera(width=320, height=240).Ks + torch.tensor([[0, 0, 0], [0, 0, 80.0], [0, 0, 0]])
    tall = Cameras(camera().viewmats, K, 320, 400)
    assert browser.picture().shape == (400, 320, 3)
    assert decibels(browser.picture(), drawn(splats, tall)) > 40
    browser.resize(WIDTH, HEIGHT)
    browser.run("new Promise((resolve) => setTimeout(resolve, 300)).then(() => viewer).then((v) => v.settled())")
    assert decibels(browser.picture(), drawn(splats, camera())) > 40


def test_keys_and_buttons(browser, tmp_path):
    splats = crossing()
    cameras = {"first.png": camera(), "<b>second</b>.png": camera((0.5, -0.5, 0.5)), "third.png": camera((-1.0, 0, 1))}
    save_html(tmp_path / "a.html", splats, cameras, title="two sheets", near=0.01)
    opened(browser, (tmp_path / "a.html").as_uri())
    pictures = [drawn(splats, one) for one in cameras.values()]
    shown = "viewer.then((v) => v.settled()).then(() => document.getElementById('photo').textContent)"

    def after(key: str) -> np.ndarray:
        browser.key(key)
        browser.run(shown)
        return browser.picture()

    assert decibels(after("n"), pictures[1]) > 40
    assert browser.run(shown) == "<b>second</b>.png (2 of 3)"
    assert decibels(after("n"), pictures[2]) > 40
    assert decibels(after("n"), pictures[0]) > 40
    assert decibels(after("p"), pictures[2]) > 40
    assert decibels(after("w"), pictures[2]) < 30
    assert decibels(after("r"), pictures[0]) > 40
    assert decibels(after("ArrowLeft"), pictures[0]) < 35
    assert decibels(after("Home"), pictures[0]) > 40
    corners = [after("b")[5, 5].tolist() for _ in range(3)]
    assert corners == [[0, 0, 0], [1, 1, 1], [DARK] * 3]
    after("h")
    assert browser.run("document.getElementById('panel').getBoundingClientRect().height") > 30
    assert browser.run("document.getElementById('panel').innerText").startswith(
        "two sheets 3,362 splats first.png (1 of 3)"
    )
    assert browser.run("document.getElementById('help').offsetHeight") == 0  # it would hide a small picture
    browser.resize(800, 600)
    assert browser.run("document.getElementById('help').offsetHeight") > 0
    browser.run("document.getElementById('next').click()")
    assert browser.run(shown) == "<b>second</b>.png (2 of 3)"
    browser.run("document.getElementById('hide').click()")
    assert browser.run("document.getElementById('panel').hidden")
    browser.run("document.getElementById('show').click()")
    assert not browser.run("document.getElementById('panel').hidden")
    assert browser.complaints() == []


def test_mouse_and_touch(browser, tmp_path):
    save_html(tmp_path / "a.html", crossing(), {"a.png": camera()})
    opened(browser, (tmp_path / "a.html").as_uri())

    def where(point: str) -> list[float]:
        """Pixel of a point of the world, from the camera's own numbers."""
        browser.run("viewer.then((v) => v.settled())")
        return browser.run(f"""viewer.then(({{ camera }}) => {{
            const p = camera.axes.map((row) => dot(row, along({point}, -1, camera.eye)));
            const [fx, fy, cx, cy] = camera.intrinsics({WIDTH}, {HEIGHT});
            return [fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy, p[2], camera.distance]; }})""")

    def drag(button: str, dx: int, dy: int, modifiers: int = 0) -> None:
        held = {"button": button, "buttons": {"left": 1, "right": 2}[button], "modifiers": modifiers}
        browser.mouse("mousePressed", 160, 120, clickCount=1, **held)
        browser.mouse("mouseMoved", 160 + dx, 120 + dy, **held)
        browser.mouse("mouseReleased", 160 + dx, 120 + dy, clickCount=1, button=button, modifiers=modifiers)

    target = f"[0, 0, {where('[0, 0, 1]')[3]}]"
    drag("left", 40, 30)
    assert where(target) == pytest.approx([160, 120, where(target)[3], where(target)[3]], abs=1e-3)
    near = where("[0, 0, 2]")
    assert near[0] > 165 and near[1] > 125  # what is near follows the hand
    browser.key("r")
    for held in (("right", 40, 30), ("left", 40, 30, 8)):  # 8: Shift
        drag(*held)
        assert where(target)[:2] == pytest.approx([200, 150], abs=1e-3)
        browser.key("r")
    before = where(target)
    browser.mouse("mouseWheel", 160, 120, deltaX=0, deltaY=-200)
    browser.run("new Promise((resolve) => setTimeout(resolve, 100))")
    assert where(target)[2] == pytest.approx(before[2] * math.exp(-0.3), rel=1e-4)
    browser.key("r")
    fingers = [[(100, 120), (220, 120)], [(70, 120), (250, 120)]]
    for kind, points in zip(("touchStart", "touchMove"), fingers, strict=True):
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=touches)
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.run("new Promise((resolve) => setTimeout(resolve, 100))")
    assert where(target)[2] == pytest.approx(before[2] * 120 / 180, rel=1e-3)
    assert browser.complaints() == []


def test_turning_far_keeps_the_horizon(browser, tmp_path):
    save_html(tmp_path / "a.html", crossing(), {"a.png": camera()})
    opened(browser, (tmp_path / "a.html").as_uri())
    script = "for (let i = 0; i < 300; i++) v.camera.orbit(0.7, (i % 7) - 3.4)"
    act(browser, script)
    right, down, forward = np.array(browser.run("viewer.then((v) => v.camera.axes)"))
    np.testing.assert_allclose([right @ right, down @ down, right @ down, right[1]], [1, 1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-9)
    assert down[1] > 0  # never upside down


def test_a_damaged_page_says_so(browser, tmp_path):
    save_html(tmp_path / "a.html", crossing(), {"a.png": camera()})
    page = (tmp_path / "a.html").read_text()
    at = page.index('id="splats">') + len('id="splats">')
    (tmp_path / "a.html").write_text(page[: at + 4000] + page[at + 8000 :])
    browser.open((tmp_path / "a.html").as_uri(), WIDTH, HEIGHT)
    assert browser.run("viewer.then(() => 'opened', () => document.getElementById('status').textContent)").startswith(
        "These splats cannot be shown"
    )


def test_real_splats(browser, tmp_path: Path, real_data: Path):
    from gs_reg.io import load_splats

    splats = load_splats(real_data / "gaussians" / "plant.splat")
    view = camera((0.0, -0.1, -1.0), (0.0, 0, 0))
    save_html(tmp_path / "a.html", splats, {"a.png": view}, near=0.01)
    opened(browser, (tmp_path / "a.html").as_uri())
    assert decibels(browser.picture(), drawn(splats, view)) > 40
    picture = act(browser, "v.camera.orbit(0.6, 0.2)")
    axes, eye = (browser.run(f"viewer.then((v) => v.camera.{name})") for name in ("axes", "eye"))
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.tensor(axes)
    viewmat[:3, 3] = -viewmat[:3, :3] @ torch.tensor(eye)
    assert decibels(picture, drawn(splats, replace(view, viewmats=viewmat[None]))) > 40
    assert browser.complaints() == []
