"""Huge photos in strips: the same pixels as at once, in little memory."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_views, read_dataset
from gs_reg.data_tools.photos import strips
from gs_reg.data_tools.photos.images import resize_area
from gs_reg.data_tools.photos.strips import shrunk_in_strips
from tests.data_tools import photosets
from tests.data_tools.photosets import Shot, shoot

BARREL = dict(k1=-0.25, k2=0.04, p1=0.004, p2=-0.003)


@pytest.mark.parametrize("to", [(61, 47), (30, 20), (90, 31), (45, 33), (90, 60), (1, 1), (89, 59), (30, 33), (7, 30)])
@pytest.mark.parametrize("strip", [1, 700, 2000])
def test_the_same_as_at_once(monkeypatch, to, strip):
    """Whole and other ratios, in both directions or in one of them."""
    rng = np.random.default_rng(1)
    image, mask = rng.random((60, 90, 3), np.float32), rng.random((60, 90), np.float32)
    asked = []

    def rows(start, stop):
        asked.append((start, stop))
        return image[start:stop], None, mask[start:stop]

    monkeypatch.setattr(strips, "STRIP", strip)
    small, nothing, kept = shrunk_in_strips(rows, (90, 60), to)
    assert nothing is None
    np.testing.assert_allclose(small, resize_area(image, *to), atol=2e-7 * 90)
    np.testing.assert_allclose(kept, resize_area(mask, *to), atol=2e-7 * 90)
    assert small.shape == (to[1], to[0], 3) and small.dtype == np.float32
    least = -(-60 // to[1]) + 1
    assert max((stop - start) * 90 for start, stop in asked) <= max(strip + 2 * 90, 90 * least)


def test_means_by_hand(monkeypatch):
    """Rows 0 1 2 3 4 averaged to two: (0 + 1 + 2 / 2) / 2.5 and (2 / 2 + 3 + 4) / 2.5."""
    monkeypatch.setattr(strips, "STRIP", 1)
    image = np.arange(5, dtype=np.float32)[:, None].repeat(2, 1)
    (small,) = shrunk_in_strips(lambda a, b: (image[a:b],), (2, 5), (2, 2))
    np.testing.assert_allclose(small, [[0.8, 0.8], [3.2, 3.2]], rtol=1e-6)


def write(root, width, height, ending="png", count=3, **lens):
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 7 % 256, y * 5 % 256, (x * y) % 251], -1).astype(np.uint8)
    shots = [Shot(f"{s.name[:-3]}{ending}", pixels, s.pose, 0.8 * width) for s in shoot(count, 8, 8)]
    photosets.write_transforms(root, shots, **lens)
    (root / "masks").mkdir()
    for shot in shots:
        Image.fromarray((((x // 9 + y // 7) % 3 > 0) * 255).astype(np.uint8)).save(
            root / "masks" / f"{shot.name[:-4]}.png"
        )
    return root


FISHEYE = dict(camera_model="OPENCV_FISHEYE", fl_x=70.0, fl_y=70.0, k1=0.02, k2=-0.01)


@pytest.mark.parametrize("lens", [{}, BARREL, {"k1": 0.2}, FISHEYE])
@pytest.mark.parametrize("undistort", ["crop", "keep"])
@pytest.mark.parametrize("downscale", [2, 3.7])
def test_photos_in_strips(tmp_path, monkeypatch, lens, undistort, downscale):
    root = write(tmp_path, 173, 128, **lens)
    config = ReadConfig(undistort=undistort, downscale=downscale)
    views = []
    for strip in (1 << 21, 2000, 400):
        monkeypatch.setattr(strips, "STRIP", strip)
        dataset = read_dataset(root, config)
        views.append(load_views(dataset, dataset.train[:1])[0])
    for view in views[1:]:
        np.testing.assert_allclose(view.photos, views[0].photos, atol=1e-6)
        assert (view.masks != views[0].masks).float().mean() < 1e-3  # a half of a pixel may round either way


def peak(root, code: str) -> float:
    """Most bytes that a process held which ran this."""
    program = f"""
from pathlib import Path
from gs_reg.data_tools.dataset import ReadConfig, load_scene, read_dataset
def read(**flags):
    return load_scene(read_dataset({str(root)!r}, ReadConfig(**flags)))
{code}
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # ru_maxrss counts the parent's, too
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return 1024 * float(done.stdout)


def test_memory(tmp_path):
    """Two photos of 7.7 megapixels become 128x96: at once, in floats, they took 0.8 GB."""
    root = write(tmp_path, 3200, 2400, "jpg", count=2, **BARREL)
    shutil.rmtree(root / "masks")
    small = write(tmp_path / "small", 128, 96, "jpg", count=2, **BARREL)
    taken = peak(root, "read(downscale=25)") - peak(small, "read()")
    assert taken < 0.5e9, f"{taken / 1e6:.0f} MB"
