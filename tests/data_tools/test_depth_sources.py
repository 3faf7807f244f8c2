"""Depth from files and networks behind one interface; what they may not do to measured pixels; every bad input."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth import DepthMap, estimate_depths
from gs_reg.data_tools.depth.sources import Depths, DepthSourceConfig, depth_source
from gs_reg.data_tools.depth.sources.finer import Finer
from gs_reg.data_tools.depth.sources.relative import as_disparity, completed, fit_disparity
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError, MissingPart
from gs_reg.types import Views

H, W = 96, 128


@pytest.fixture(scope="module")
def scene():
    return synthetic.box_and_sphere(Rig(W, H, octaves=4, held_out=0, samples=2, cameras=2))


@pytest.fixture(scope="module")
def views(scene):
    return scene.training_scene().views


@pytest.fixture(scope="module")
def ours(views) -> tuple[DepthMap, ...]:
    return estimate_depths(views)


@pytest.fixture
def folder(scene, tmp_path):
    """Exact depth, as .npy."""
    for view in scene.train:
        np.save(tmp_path / f"{view.names[0]}.npy", view.depths[0].numpy())
    return tmp_path


def files(folder, kind="metric", **flags) -> DepthSourceConfig:
    return DepthSourceConfig(source="files", path=str(folder), kind=kind, **flags)


def error(depth: DepthMap, view: Views) -> torch.Tensor:
    return (depth.depth / view.depths[0] - 1).abs()


def test_ours_is_the_default_and_says_why(views, ours):
    source = depth_source()
    assert source.about["source"] == "ours" and "no --depth.path" in source.about["why"]
    for a, b in zip(source(views).maps, ours, strict=True):
        assert torch.equal(a.depth, b.depth)


def test_metric_files_are_taken_as_they_are(scene, views, folder):
    found = depth_source(files(folder, sd=0.02))(views)
    for depth, view in zip(found.maps, scene.train, strict=True):
        torch.testing.assert_close(depth.depth, view.depths[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(depth.sd, 0.02 / view.depths[0], rtol=1e-5, atol=0)
        assert depth.confident.float().mean() > 0.97 and (depth.views > 0).float().mean() > 0.7
    for ratio in found.details["times the shared points' depth"].values():
        assert ratio == pytest.approx(1, abs=0.02)


def test_metric_files_are_in_the_units_of_the_cameras(scene, views, folder):
    """The normalised world is 4 times smaller: what the files say is divided by 4."""
    for view in scene.train:
        np.save(folder / f"{view.names[0]}.npy", 4 * view.depths[0].numpy())
    found = depth_source(files(folder), scale=4.0)(views)
    torch.testing.assert_close(found.maps[0].depth, scene.train[0].depths[0], rtol=1e-5, atol=0)


def test_metric_files_in_other_units_are_found_out(scene, views, folder):
    for view in scene.train:
        np.save(folder / f"{view.names[0]}.npy", 1000 * view.depths[0].numpy())
    with pytest.raises(InputError, match=r"train_00: its map is 1e\+03 times the depth of the \d+ points .*no-check"):
        depth_source(files(folder))(views)
    assert depth_source(files(folder, check=False))(views).maps[0].confident.all()


def test_a_surface_that_floats_before_another_views_is_not_believed(scene, views, folder):
    wrong = scene.train[0].depths[0].clone()
    wrong[40:56, 56:72] *= 0.6
    np.save(folder / "train_00.npy", wrong.numpy())
    depth = depth_source(files(folder))(views).maps[0]
    assert not depth.confident[42:54, 58:70].any() and depth.confident[:30].float().mean() > 0.95


@pytest.mark.parametrize("ending", ["npy", "png", "exr"])
def test_every_format_holds_the_same(scene, views, tmp_path, ending):
    for view in scene.train:
        path, z = tmp_path / f"{view.names[0]}.{ending}", view.depths[0].numpy()
        if ending == "npy":
            np.save(path, z.astype(np.float64))
        elif ending == "png":
            cv2.imwrite(str(path), np.round(z * 1000).astype(np.uint16))
        else:
            exr = pytest.importorskip("OpenEXR")
            header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
            exr.File(header, {"Z": np.ascontiguousarray(z), "A": np.ones_like(z)}).write(str(path))
    depth = depth_source(files(tmp_path, png_scale=0.001 if ending == "png" else None))(views).maps[1]
    torch.testing.assert_close(depth.depth, scene.train[1].depths[0], rtol=0, atol=6e-4 if ending == "png" else 1e-5)


def test_maps_of_another_size_keep_their_edges(scene, views, folder):
    large = np.kron(scene.train[0].depths[0].numpy(), np.ones((3, 3)))
    np.save(folder / "train_00.npy", large)
    depth = depth_source(files(folder))(views).maps[0]
    torch.testing.assert_close(depth.depth, scene.train[0].depths[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["disparity", "depth"])
def test_relative_maps_give_the_shape_of_what_is_not_measured(scene, views, ours, folder, kind):
    """Exact disparity, scaled and shifted; or exact depth, scaled: the holes of our own depth come out right."""
    for view in scene.train:
        z = view.depths[0]
        values = 37 * (1 / z) - 0.8 if kind == "disparity" else 5 * z
        np.save(folder / f"{view.names[0]}.npy", values.numpy())
    found = depth_source(files(folder, kind))(views)
    for depth, own, view in zip(found.maps, ours, scene.train, strict=True):
        hidden = ~own.confident
        assert torch.equal(depth.depth[own.confident], own.depth[own.confident])
        assert torch.equal(depth.confident, own.confident)
        assert error(depth, view)[hidden].mean() < 0.5 * error(own, view)[hidden].mean()
        assert error(depth, view)[hidden].median() < 0.025
    fit = found.details["fits"]["train_00"]
    assert fit["scale"] == pytest.approx(1 / 37 if kind == "disparity" else 5, rel=0.02) and fit["agreeing"] > 0.9


def test_fit_undoes_scale_and_shift_among_outliers(scene, ours):
    """T8's robustness: 20 % of the map is wrong."""
    truth = 1 / scene.train[0].depths[0]
    exact = dataclasses.replace(ours[0], depth=1 / truth, sd=torch.full_like(truth, 1e-4))
    prior = (truth + 0.3) / 0.02
    wrong = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    prior[wrong] = torch.rand(int(wrong.sum()), generator=torch.Generator().manual_seed(2)) * 100
    fit = fit_disparity(prior, exact, "photo", "disparity")
    assert fit.scale == pytest.approx(0.02, rel=5e-3) and fit.offset == pytest.approx(-0.3, rel=5e-3)
    assert 0.75 < fit.agreeing < 0.9


def test_a_map_that_runs_the_other_way_is_refused(scene, views, folder):
    """Depth that is said to be disparity, and disparity that is said to be depth."""
    with pytest.raises(InputError, match=r"train_00: its depth map runs against .*--depth.kind depth"):
        depth_source(files(folder, "disparity"))(views)
    for view in scene.train:
        np.save(folder / f"{view.names[0]}.npy", (1 / view.depths[0]).numpy())
    with pytest.raises(InputError, match=r"--depth.kind disparity"):
        depth_source(files(folder, "depth"))(views)


def test_maps_that_cannot_be_fitted(scene, ours):
    view = scene.train[0]
    with pytest.raises(InputError, match="photo: its depth map is constant"):
        fit_disparity(torch.ones(H, W), ours[0], "photo", "disparity")
    blind = dataclasses.replace(ours[0], confident=torch.zeros(H, W, dtype=torch.bool))
    with pytest.raises(InputError, match="photo: only 0 pixels are measured"):
        fit_disparity(1 / view.depths[0], blind, "photo", "disparity")


def test_prior_that_ends_behind_infinity_stays_before_the_camera(scene, ours):
    """The fitted line goes below 0 where the map is farther than anything measured."""
    prior = as_disparity(1 / scene.train[0].depths[0], "disparity").clone()
    known = ours[0].confident.clone()
    known[:, :30] = False
    prior[:, :30] = -10.0
    seen = dataclasses.replace(ours[0], confident=known)
    depth = completed(seen, prior, fit_disparity(prior, seen, "photo", "disparity"), scene.train[0])
    assert torch.isfinite(depth.depth).all() and depth.depth.min() > 0


def test_holes(scene, views, folder):
    holed = scene.train[0].depths[0].clone()
    holed[10:20, 10:20] = torch.nan
    np.save(folder / "train_00.npy", holed.numpy())
    with pytest.raises(InputError, match=r"train_00.npy: 100 of 12288 pixels have no value .*--depth.holes fill"):
        depth_source(files(folder))(views)
    depth = depth_source(files(folder, holes="fill"))(views).maps[0]
    assert not depth.confident[10:20, 10:20].any() and torch.isfinite(depth.depth).all()
    assert error(depth, scene.train[0])[10:20, 10:20].max() < 0.1
    mask = torch.ones(1, H, W, dtype=torch.bool)
    mask[:, 10:20, 10:20] = False
    masked = dataclasses.replace(views[0], masks=mask)
    assert depth_source(files(folder, check=False))([masked, views[1]]).maps[0].confident.sum() == H * W - 100


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("train_00.npy", None, r"no map for train_00; expected FOLDER/NAME.npy, NAME.exr or NAME.png"),
        ("train_00.npy", b"text", r"train_00.npy: not an array that can be read"),
        ("train_00.npy", np.zeros((H, W, 3)), r"expected an array \[H, W\] of numbers, got \[96, 128, 3\] float64"),
        ("train_00.npy", np.full((H, W), "x"), r"got \[96, 128\] <U1"),
        ("train_00.npy", np.ones((H, W + 9)), r"137x96, but train_00 is in use at 128x96, another shape"),
        ("train_00.npy", np.full((H, W), np.nan), r"train_00.npy: no pixel has a value"),
        ("train_00.npy", -np.ones((H, W)), r"train_00.npy: no pixel has a value"),
        ("train_00.npy", np.array([{}], dtype=object), "not an array that can be read"),
        ("train_00.png", np.ones((H, W), np.uint8), r"train_00.png: 8 bits, grey: expected a 16-bit grey PNG"),
        ("train_00.png", np.ones((H, W, 3), np.uint16), r"16 bits, colour: expected a 16-bit grey PNG"),
        ("train_00.png", b"text", r"train_00.png: not a picture that can be read"),
        ("train_00.exr", b"text", r"train_00.exr: (not an EXR file|EXR needs a library)"),
    ],
)
def test_bad_maps(views, folder, name, made, message):
    (folder / "train_00.npy").unlink()
    path = folder / name
    if isinstance(made, bytes):
        path.write_bytes(made)
    elif made is not None and path.suffix == ".npy":
        np.save(path, made, allow_pickle=True)
    elif made is not None:
        cv2.imwrite(str(path), made)
    with pytest.raises((InputError, MissingPart), match=message) as hit:
        depth_source(files(folder, png_scale=1.0))(views)
    assert "\n" not in str(hit.value)


def test_two_maps_for_one_photo(views, folder):
    cv2.imwrite(str(folder / "train_00.png"), np.ones((H, W), np.uint16))
    with pytest.raises(InputError, match=r"train_00.npy and train_00.png: two maps for train_00"):
        depth_source(files(folder))(views)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"source": "files"}, "no --depth.path: no folder of maps"),
        ({"source": "files", "path": "away", "kind": "depth"}, "away: no folder of maps"),
        ({"source": "files", "path": "."}, "say what the maps hold: --depth.kind metric"),
        ({"source": "files", "path": ".", "kind": "metric", "png_scale": -1.0}, "png-scale: expected a number above 0"),
        ({"source": "files", "path": ".", "kind": "metric", "sd": 2.0}, "depth.sd: expected a share"),
        ({"source": "ours", "path": "."}, "ours takes none"),
    ],
)
def test_bad_flags(flags, message):
    with pytest.raises(InputError, match=message):
        depth_source(DepthSourceConfig(**flags))


def test_a_broken_png_is_one_line(views, folder, capfd):
    path = folder / "train_00.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(1, 60_000, (H, W)).astype(np.uint16))
    whole = path.read_bytes()
    (folder / "train_00.npy").unlink()
    for broken in (whole[: len(whole) // 2], whole[:20], whole[:200] + bytes(400) + whole[600:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"train_00\.png: not a picture that can be read: export it again$"):
            depth_source(files(folder, png_scale=1.0))(views)
    assert capfd.readouterr() == ("", "")


def test_png_of_unknown_unit(views, folder):
    (folder / "train_00.npy").unlink()
    cv2.imwrite(str(folder / "train_00.png"), np.full((H, W), 3000, np.uint16))
    with pytest.raises(InputError, match=r"does not say its unit: give --depth.png-scale"):
        depth_source(files(folder))(views)


def test_one_photo_is_refused(views, folder):
    """T21: one has no parallax, whatever its map says; relative maps alike."""
    for kind in ("metric", "depth"):
        with pytest.raises(InputError, match=r"expected 2 photos or more .* got 1"):
            depth_source(files(folder, kind))(views[:1])


class Ramp:
    """Depth that is the row and the column of the pixel."""

    def __init__(self):
        self.about = {"what": "a ramp"}

    def __call__(self, views, progress=None):
        def ramp(camera):
            depth = 1000.0 * torch.arange(camera.height)[:, None] + torch.arange(camera.width)
            return DepthMap(depth, depth, depth > 2000, depth.long())

        return Depths(tuple(ramp(view.cameras) for view in views), {"seen": [v.images.shape[2] for v in views]})


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (193, 255), (150, 200)])
def test_depth_from_finer_photos_is_that_of_the_pixels_centres(views, size):
    large = [Views(v.cameras.resized(size[1], size[0]), torch.zeros(1, *size, 3), v.names) for v in views]
    source = Finer(Ramp(), lambda: large, "twice")
    found = source(views)
    assert found.details == {"seen": [size[1]] * len(views)} and source.about == {"what": "a ramp", "size": "twice"}
    depth = found.maps[0].depth
    rows, columns = depth // 1000, depth % 1000
    assert depth.shape == (H, W) and torch.equal(found.maps[0].views, depth.long())
    for got, n, large_n in ((rows[:, 0], H, size[0]), (columns[0], W, size[1])):
        assert ((got + 0.5) * n / large_n - (torch.arange(n) + 0.5)).abs().max() <= 0.5
