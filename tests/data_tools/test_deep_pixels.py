"""Photos of more than 8 bits: scaled by the white of their format, or refused with a reason."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from gs_reg.data_tools.photos.images import read_mask, read_pixels
from gs_reg.errors import InputError

GREY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)


def save(path, values, **tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    Image.fromarray(values).save(path, **({"tiffinfo": info} if tags else {}))
    return path


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        (GREY.astype(np.float32) / 255, "tif"),
        (GREY.astype(np.float32) / 255 + np.float32(1e-6), "tif"),
        (GREY.astype(np.uint16) * 257, "tif"),
        (GREY.astype(np.uint16) * 257, "png"),
    ],
)
def test_scaled_by_the_white_of_the_format(tmp_path, values, ending):
    path = save(tmp_path / f"a.{ending}", values)
    for channel in range(3):
        assert (read_pixels(path, upright=True)[..., channel] == GREY).all()
    assert read_mask(path, upright=True) == pytest.approx(GREY / 255, abs=1e-6)


def test_white_is_0(tmp_path):
    path = save(tmp_path / "a.tif", GREY.astype(np.float32) / 255, t262=0)
    assert (read_pixels(path, upright=True)[..., 0] == 255 - GREY).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (GREY.astype(np.int32) * 257, "32 bits a pixel, and nothing says which value is white"),
        (GREY.astype(np.float32), "floats from 0 to 255: expected 0 .black. to 1 .white."),
        (GREY.astype(np.float32) - 300, "floats from -300 to -45"),
        (np.full((2, 3), np.nan, np.float32), "floats from nan to nan"),
        (np.full((2, 3), np.inf, np.float32), "floats from inf to inf"),
    ],
)
def test_refused_with_a_reason(tmp_path, values, reason):
    path = save(tmp_path / "a.tif", values)
    with pytest.raises(InputError, match=rf"a\.tif: {reason}.*save 8 or 16 bits"):
        read_pixels(path, upright=True)
