"""What the panels compute: rows that stay, photos over pictures, paths and their files, names of files."""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.apps.look.report.images import read_rgb
from gs_reg.apps.view.camera_path import CameraPath, load_path, save_path
from gs_reg.apps.view.cleaning import Box, kept_rows
from gs_reg.apps.view.drawing import camera_of
from gs_reg.apps.view.files import target
from gs_reg.apps.view.looks import confidence_colors, part_colors
from gs_reg.apps.view.panels.clean import CleanPanel
from gs_reg.apps.view.panels.path import _fitted
from gs_reg.apps.view.panels.photos import laid_over, same_pose, wipe
from gs_reg.apps.view.scene_page import ScenePage, choose_drawer
from gs_reg.apps.view.server import Address, served
from gs_reg.apps.view.source import open_shown
from gs_reg.clean import CleanRules, removals
from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.io import SUFFIXES, WRITABLE, load_splats, save_splats
from gs_reg.render import RenderConfig
from gs_reg.rotations import quat_multiply, rotvec_to_quat
from gs_reg.types import Cameras

from .scenes import CAMERAS, crossing, write_run

OFF = CleanRules(0.0, 0.0, 0.0)


def test_a_box_holds_what_is_in_it():
    box = Box(rotvec_to_quat(torch.tensor([0.0, 0, math.pi / 4])).tolist(), (1.0, 0, 0), (2.0, 0.2, 1.0))
    along = torch.tensor([1.0, 1, 0]) / 2**0.5
    middle = torch.tensor([1.0, 0, 0])
    points = torch.stack(
        [middle + 0.9 * along, middle + 1.1 * along, middle + 0.9 * along.flip(0) * torch.tensor([1, -1, 1])]
    )
    assert box.holds(points).tolist() == [True, False, False]
    means = torch.randn(5000, 3)
    assert 0.93 < float(Box.around(means).holds(means).float().mean()) < 1


@pytest.mark.parametrize("rules", [CleanRules(), CleanRules(0.6, 0.0, 0.0), CleanRules(0.0, 0.3, 0.0), OFF])
def test_the_page_removes_what_gs_reg_clean_removes(rules, tmp_path):
    """In the page's own frame, and inside of a box."""
    splats = spoiled()
    save_splats(tmp_path / "a.ply", splats)
    shown = open_shown(tmp_path / "a.ply")
    found = removals(shown.opened.splats, rules)
    assert not kept_rows(shown.splats, None, rules).logical_xor(~torch.stack([*found.values()]).any(0)).any()
    assert {name: int(rows.sum()) > 0 for name, rows in found.items()} == {
        "crop": False,
        "opacity": rules.min_opacity > 0,
        "size": rules.max_size > 0,
        "isolated": rules.isolated > 0,
    }
    inside = splats.means[:, 0] > 0
    expected = torch.zeros(len(splats), dtype=torch.bool)
    expected[inside] = ~torch.stack([*removals(splats.rows(inside), rules).values()]).any(0)
    assert kept_rows(shown.splats, inside, rules).equal(expected)
    assert not kept_rows(shown.splats, torch.zeros_like(inside), rules).any()


@pytest.fixture
def panel(tmp_path):
    """The clean-up panel of a run, on a server that nobody visits."""
    with served(Address(), "test") as server:
        shown = open_shown(write_run(tmp_path / "run", spoiled(), offset=(4e6, -1e6, 500.0)))
        page = ScenePage(server, shown, "browser", torch.device("cpu"), RenderConfig())
        try:
            yield CleanPanel(page)
        finally:
            page.close()


def test_the_panel_saves_in_every_format_that_convert_writes(panel, tmp_path):
    page, opened = panel._page, panel._page.shown.opened
    panel._set_usual(None)
    assert panel.rules == CleanRules()
    rows = kept_rows(page.splats, None, CleanRules())
    # drawn, and said so by the page's own thread: it would speak over what is said of saving
    wait_for(lambda: page._kept.rows.equal(rows) and f"{int((~rows).sum())} Gaussians hidden" in page.status.text)
    assert 0 < int((~rows).sum()) < 30
    for ending in panel._ending.options:
        panel._ending.value = ending
        panel._save(None)
        path = page.shown.out / f"cleaned{ending}"
        assert path.is_file(), page.status.text
        assert f"wrote {path}: {int(rows.sum()):,} Gaussians of 1,800" in page.status.text
        if ending in SUFFIXES:
            assert len(load_splats(path)) == int(rows.sum())
        notes = json.loads((page.shown.out / "scene.json").read_text())["files"][path.name]
        assert notes["frame"] == "local" and [row[3] for row in notes["input_from_file"][:3]] == [4e6, -1e6, 500.0]
    assert set(panel._ending.options) == {*WRITABLE, ".html"}
    assert load_splats(page.shown.out / "cleaned.ply").means.equal(opened.splats.means[rows])
    page.restrict("clean", torch.zeros_like(rows))
    wait_for(lambda: "1,800 Gaussians hidden" in page.status.text)
    page.status.guarded(panel._save)(None)
    assert page.status.text == "nothing is left to save"


def spoiled():
    """Two sheets with a floater, faint splats and a veil."""
    splats = crossing()
    means, logits, log_scales = (x.clone() for x in (splats.means, splats.opacity_logits, splats.log_scales))
    means[7], logits[30:34] = means[7] + torch.tensor([5.0, 0, 0]), -9.0
    logits[90], log_scales[90, 0] = -0.5, math.log(2.0)
    return replace(splats, means=means, opacity_logits=logits, log_scales=log_scales)


def wait_for(condition) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 60
        time.sleep(0.01)


def test_a_photo_is_laid_where_its_pixels_are(tmp_path):
    shown = open_shown(write_run(tmp_path / "run"))
    photo = shown.photos[1]
    assert photo.picture is not None
    pixels = read_rgb(photo.picture)
    pose = photo.camera.world_from_camera[0]
    for width, height, fov in ((400, 300, 0.9), (48, 40, 0.9), (301, 500, 1.4)):
        window = Cameras.look_at(pose[:3, 3], pose[:3, 3] + pose[:3, 2], -pose[:3, 1], fov, width, height)
        assert same_pose(photo.camera, window)
        empty = np.full((height, width, 3), 7, np.uint8)
        over = laid_over(pixels, photo.camera, window, empty, 1.0)
        # a red splat near the left edge of its sheet, which the negative shows in cyan
        splats = shown.splats
        row = int(((splats.means - torch.tensor([-0.7, 0.0, 3.44])).norm(dim=1)).argmin())
        x, y = project(window, splats.means[row])[0][0].int().tolist()
        assert over[y, x].tolist() == pytest.approx([0, 255, 255], abs=12)
        assert (over[0, 0] == 7).all() or height < 60  # beyond the photo
        half = wipe(shown.photos, 0.5)(window, empty)
        xy = project(photo.camera, splats.means[row])[0][0]
        assert float(xy[0]) < 40 and half[y, x].tolist() == over[y, x].tolist()
        assert (half != over).any() and (half == empty).any()
    assert (wipe(shown.photos, 0.5)(CAMERAS["c.png"].resized(8, 8), empty) != empty).any()
    moved = Cameras(window.viewmats + 0.01, window.Ks, window.width, window.height)
    assert wipe(shown.photos, 1.0)(moved, empty) is empty


def keyframes(count=3) -> tuple[Cameras, ...]:
    eyes = [torch.tensor([0.3 * i, -0.1 * i, 0.2 * i]) for i in range(count)]
    up = torch.tensor([0.0, -1, 0])
    return tuple(
        Cameras.look_at(eye, torch.tensor([0, 0, 4.0]), up, 0.8 + 0.1 * i, 320, 180) for i, eye in enumerate(eyes)
    )


def test_a_path_goes_through_its_views_and_back_from_its_file(tmp_path):
    shown = open_shown(write_run(tmp_path / "run"))
    path = CameraPath(keyframes(), seconds=2.0, fps=10.0)
    frames = path.cameras()
    assert len(frames) == 20 and (frames.width, frames.height) == (320, 180)
    torch.testing.assert_close(
        frames.centers[[0, -1]], torch.cat([path.keyframes[0].centers, path.keyframes[-1].centers])
    )
    nearest = (frames.centers - path.keyframes[1].centers).norm(dim=1).min()
    assert float(nearest) < 0.03
    save_path(tmp_path / "a.json", path, shown.file_from_page)
    back = load_path(tmp_path / "a.json", shown.file_from_page)
    assert (back.seconds, back.fps) == (2.0, 10.0)
    for before, after in zip(path.keyframes, back.keyframes, strict=True):
        torch.testing.assert_close(before.viewmats, after.viewmats, rtol=0, atol=1e-4)
        torch.testing.assert_close(before.Ks, after.Ks, rtol=1e-4, atol=1e-3)


def test_the_file_is_that_of_nerfstudio(tmp_path):
    """Poses by rows from camera to world in the coordinates of splats.ply, +y up and looking along -z; degrees."""
    shown = open_shown(write_run(tmp_path / "run"))
    save_path(tmp_path / "a.json", CameraPath(keyframes(), 1.0, 10.0), shown.file_from_page)
    data = json.loads((tmp_path / "a.json").read_text())
    assert {"camera_type", "render_height", "render_width", "fps", "seconds", "keyframes", "camera_path"} <= data.keys()
    assert len(data["camera_path"]) == 10 and data["camera_type"] == "perspective"
    last = data["camera_path"][-1]
    assert last["fov"] == pytest.approx(math.degrees(1.0), abs=0.01) and last["aspect"] == pytest.approx(320 / 180)
    pose = torch.tensor(last["camera_to_world"]).reshape(4, 4)
    at = Cameras.from_opengl(pose[None], keyframes()[-1].Ks, 320, 180)
    stored, splats = shown.opened.splats.means, shown.splats.means
    torch.testing.assert_close(project(at, stored)[0], project(keyframes()[-1], splats)[0], rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keyframes": [], "camera_path": []}, "expected 1 to 1000 keyframes, got 0"),
        ({"seconds": float("nan")}, "expected seconds and fps above 0"),
        ({"render_width": 10**9}, "expected sides of 16 to 8192 pixels"),
        ({"keyframes": [{"matrix": [1.0] * 15, "fov": 50}]}, "broken, or not what its name says"),
        ({"keyframes": [{"matrix": [float("inf")] * 16, "fov": 50}]}, "a keyframe that is no camera"),
        ({"keyframes": 3}, "broken, or not what its name says"),
    ],
)
def test_a_broken_path_is_one_line(change, said, tmp_path):
    save_path(tmp_path / "a.json", CameraPath(keyframes(), 1.0, 10.0), torch.eye(4, dtype=torch.float64))
    data = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(data | change))
    with pytest.raises(InputError, match=r"a\.json: .*" + said):
        load_path(tmp_path / "a.json", torch.eye(4, dtype=torch.float64))


def test_an_empty_path():
    with pytest.raises(InputError, match="the camera path is empty"):
        CameraPath((), 1.0, 10.0).cameras()
    with pytest.raises(InputError, match="expected 2 to 100000 frames, got 6000000"):
        CameraPath(keyframes(), 6e4, 100.0).cameras()


def test_pictures_of_another_size_keep_the_height_of_view():
    fitted = _fitted(CAMERAS["a.png"], 200, 120)
    point = torch.tensor([0.2, -0.3, 4.0])
    before, after = project(CAMERAS["a.png"], point)[0][0], project(fitted, point)[0][0]
    torch.testing.assert_close(after, 2 * before + torch.tensor([20.0, 0]), rtol=0, atol=1e-3)


def test_files_are_named_alone_and_never_replaced(tmp_path):
    assert target(tmp_path / "new", "a.ply", (".ply",)) == tmp_path / "new" / "a.ply"
    (tmp_path / "new" / "a.ply").touch()
    (tmp_path / "new" / "a.compressed.ply").touch()
    assert target(tmp_path / "new", "a.ply", (".ply",)).name == "a-2.ply"
    assert target(tmp_path / "new", "a.compressed.ply", (".ply",)).name == "a-2.compressed.ply"
    for name in ("", "../a.ply", "/a.ply", "b/a.ply", ".a.ply", "..\\a.ply", "a.txt"):
        with pytest.raises(InputError, match="expected a plain file name ending with"):
            target(tmp_path, name, (".ply",))


def test_colors_of_looks():
    colors = confidence_colors(torch.tensor([0.0, 1.0, 2.0]), 2)
    assert colors[0, 0] > colors[0, 2] and colors[2, 2] > colors[2, 0]  # red: none, blue: all
    parts = part_colors(torch.tensor([0, 1, 2, 8]))
    assert parts[0].tolist() == pytest.approx([0.6] * 3) and parts[1].equal(parts[3]) and not parts[1].equal(parts[2])


def test_who_draws():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_drawer(1_500_000, cpu) == "browser" and choose_drawer(2_500_000, cpu) == "server"
    assert choose_drawer(400_000, cuda) == "browser" and choose_drawer(600_000, cuda) == "server"


def test_a_browsers_camera_is_ours():
    class Handle:
        wxyz = quat_multiply(rotvec_to_quat(torch.tensor([0.0, 0.4, 0])), torch.tensor([1.0, 0, 0, 0])).numpy()
        position, fov = np.array([1.0, 2, 3]), 0.9

    at = camera_of(Handle, 64, 48)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(at.centers[0], torch.tensor([1.0, 2, 3]), rtol=0, atol=1e-5)
    ahead = torch.tensor([1.0, 2, 3]) + 2 * torch.tensor([math.sin(0.4), 0, math.cos(0.4)])
    torch.testing.assert_close(project(at, ahead)[0][0], torch.tensor([32.0, 24.0]), rtol=0, atol=1e-3)
