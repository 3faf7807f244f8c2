"""Cases of photos, masks and splat files: each gives what ../shared/cases/README.md calls right."""

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools.dataset import Dataset, load_scene, load_views, read_dataset
from gs_reg.errors import InputError
from gs_reg.io import load_splats


def same_cameras(a: Dataset, b: Dataset) -> bool:
    pairs = zip(a.frames, b.frames, strict=True)
    return all(torch.allclose(x.camera.viewmats, y.camera.viewmats, rtol=0, atol=1e-9) for x, y in pairs)


def plain(cases) -> Dataset:
    """Photos and cameras without any twist."""
    return read_dataset(cases / "masks_unmatched")


@pytest.mark.parametrize("case", ["masks_beside", "masks_beside_ext"])
def test_masks_that_lie_as_the_photos_do(cases, case):
    dataset = read_dataset(cases / case)
    assert dataset.mask_mode == "ignore" and any("4 of 4 photos have one" in note for note in dataset.notes)
    assert [photo["coverage"] for photo in dataset.summary()["photos"]] == [0.75] * 4
    for view in load_scene(dataset).views:
        assert not view.masks[0, :, :40].any() and view.masks[0, :, 40:].all()


def test_masks_that_match_no_photo(cases):
    dataset = read_dataset(cases / "masks_unmatched")
    (note,) = dataset.notes
    assert dataset.mask_mode == "none" and str(cases / "masks_unmatched" / "masks") in note
    assert "NAME.png" in note and "000.png" in note


def test_names_with_spaces(cases):
    dataset = read_dataset(cases / "spaces")
    assert [frame.name for frame in dataset.frames] == ["b c.png", "cam 1 (402).png", "cam 2.png", "d 4.png"]
    # listed in another order: "cam 1 (402)" is the first photo of the scene
    for listed, number in (("cam 1 (402).png", 0), ("cam 2.png", 1), ("b c.png", 2), ("d 4.png", 3)):
        (view,) = load_views(dataset, [listed])
        (same,) = load_views(plain(cases), [f"{number:03d}.png"])
        assert torch.equal(view.photos, same.photos)
        torch.testing.assert_close(view.cameras.viewmats, same.cameras.viewmats, rtol=0, atol=1e-6)


def test_a_model_without_points(cases):
    dataset = read_dataset(cases / "no_points")
    assert dataset.points is None and same_cameras(dataset, plain(cases)) and len(plain(cases).points) == 800


def test_names_with_backslashes(cases):
    dataset = read_dataset(cases / "backslash")
    assert [frame.name for frame in dataset.frames] == ["a.png", "b.png", "c.png", "d.png"]
    assert not dataset.skipped and same_cameras(dataset, plain(cases))
    for frame, same in zip(dataset.frames, plain(cases).frames, strict=True):
        (a,), (b,) = load_views(dataset, [frame.name]), load_views(plain(cases), [same.name])
        assert torch.equal(a.photos, b.photos)


def test_floats_from_0_to_1(cases):
    dataset = read_dataset(cases / "float01")
    for i, view in enumerate(load_views(dataset, [frame.name for frame in dataset.frames])):
        grey = Image.open(cases / "no_points" / "images" / f"{i:03d}.png").convert("L")
        truth = np.asarray(grey, np.float32) / 255
        assert np.abs(view.photos[0].numpy() - truth[..., None]).max() <= 1.01 / 255


def test_whole_numbers_of_32_bits(cases):
    with pytest.raises(InputError, match=r"000\.tif: 32 bits a pixel, and nothing says which value is white: save"):
        load_scene(read_dataset(cases / "int32"))


def test_opaque_and_flat_splats(cases):
    plain, opaque, some, flat = (
        load_splats(cases / "ply" / f"{name}.ply") for name in ("plain", "opaque", "some_opaque", "flat")
    )
    assert [len(splats) for splats in (plain, opaque, some, flat)] == [300] * 4
    assert (opaque.opacities == 1).all()
    assert (some.opacities[:100] == 1).all() and (some.opacities[100:120] < 1e-8).all()
    assert torch.equal(some.opacity_logits[120:], plain.opacity_logits[120:])
    assert (flat.scales[:50, 2] < 1e-20).all() and flat.log_scales.isfinite().all()
    assert torch.equal(flat.scales[50:], plain.scales[50:]) and torch.equal(flat.scales[:, :2], plain.scales[:, :2])
    for splats in (opaque, some, flat):
        assert torch.equal(splats.means, plain.means) and splats.opacity_logits.isfinite().all()


def test_a_list_behind_the_vertices(cases):
    face, plain = (load_splats(cases / "ply" / f"{name}.ply") for name in ("face", "plain"))
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        assert torch.equal(getattr(face, name), getattr(plain, name))


def test_compressed_of_twelve_bounds(cases):
    """0x80808080: positions of 11, 10, 11 bits between 0 and 1, log-sizes between -5 and -3, colours of 8 bits."""
    splats = load_splats(cases / "ply" / "twelve_bounds.compressed.ply")
    shares = torch.tensor([1028 / 2047, 16 / 1023, 128 / 2047]).repeat(4, 1)
    torch.testing.assert_close(splats.means, shares)
    torch.testing.assert_close(splats.log_scales, 2 * shares - 5)
    torch.testing.assert_close(splats.opacities, torch.full((4,), 128 / 255))
    torch.testing.assert_close(splats.sh[:, 0], torch.full((4, 3), (128 / 255 - 0.5) * (4 * torch.pi) ** 0.5))
