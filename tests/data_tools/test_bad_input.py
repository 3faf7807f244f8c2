"""Whatever is wrong with a folder, the answer is one line that names the place and the remedy; never a traceback."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_scene, read_dataset
from gs_reg.data_tools.photos.images import read_header, read_pixels
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import Shot, shoot


def refused(pattern: str, act: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        act()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def load(root, **options):
    return load_scene(read_dataset(root, ReadConfig(**options)))


def change(root: Path, edit: Callable[[dict], object]) -> None:
    path = root / "transforms.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


# --- folders


def test_what_is_no_folder_of_photos(tmp_path):
    refused("absent: no such folder", lambda: read_dataset(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    refused(r"empty: no photos with cameras.*poses_bounds\.npy.*\*\.camera", lambda: read_dataset(tmp_path / "empty"))
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    refused("no plain photos", lambda: read_dataset(tmp_path / "empty"))
    (tmp_path / "photos.zip").write_bytes(b"PK\3\4")
    refused(r"photos\.zip: a file: .*unpack the archive first", lambda: read_dataset(tmp_path / "photos.zip"))
    root = photosets.write_transforms(tmp_path / "good", shoot(2))
    refused(rf"a file: expected a folder.*{root.name}", lambda: read_dataset(root / "transforms.json"))
    for kind in ("llff", "colmap", "strecha", "middlebury-multiview", "middlebury-stereo", "transforms"):
        refused(str(tmp_path / "empty"), lambda kind=kind: read_dataset(tmp_path / "empty", ReadConfig(kind=kind)))


def test_photos_that_are_missing(tmp_path):
    shots = shoot(3)
    root = photosets.write_llff(tmp_path / "a", shots)
    dataset = read_dataset(root)
    (root / "images" / shots[1].name).unlink()
    refused(r"shot_01\.png: the file is missing: put it back, or leave the photo out", lambda: load_scene(dataset))
    refused(r"images: 2 photos, but .*poses_bounds\.npy has 3 rows", lambda: read_dataset(root))
    root = photosets.write_transforms(tmp_path / "b", shots)
    (root / "images" / shots[1].name).unlink()
    refused(r"shot_01\.png: asked for, but .*missing", lambda: load(root, train=("shot_01", "shot_00")))
    for shot in shots:
        (root / "images" / shot.name).unlink(missing_ok=True)
    refused(r"transforms\.json: no usable photo.*missing", lambda: read_dataset(root))
    for folder in (root / "images").iterdir():
        folder.unlink()
    (root / "images").rmdir()
    refused(r"transforms\.json: no usable photo", lambda: read_dataset(root))
    root = photosets.write_llff(tmp_path / "c", shots)
    (root / "images").rename(root / "pictures")
    refused(r"no folder of photos: looked for .*images .*--images", lambda: read_dataset(root))
    refused(r"nowhere: no such folder of photos \(--images\)", lambda: load(root, images=Path("nowhere")))
    assert len(load(root, images=Path("pictures"))) == 3


def test_one_photo(tmp_path):
    root = photosets.write_llff(tmp_path / "a", shoot(1))
    refused("1 training photo of 1: one photo has no parallax, at least 2", lambda: read_dataset(root))
    (tmp_path / "b").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "b" / "x.jpg")
    refused("b: 1 photo: one photo has no parallax", lambda: read_dataset(tmp_path / "b"))


def test_names_that_are_unknown(tmp_path):
    root = photosets.write_llff(tmp_path, shoot(3))
    refused(r"no photo 'shot_09': expected a name such as 'shot_00\.png'", lambda: load(root, train=("shot_09", "0")))
    refused("no photo '7'.*index from 0 to 2", lambda: load(root, test=("7",)))
    refused("--views: expected 2 to 3", lambda: load(root, views=4))


def test_cameras_at_one_place(tmp_path):
    shots = shoot(3)
    still = [Shot(s.name, s.pixels, np.vstack([s.pose[:3] * (1, 1, 1, 0), [0, 0, 0, 1]]), s.f) for s in shots]
    refused("all cameras are at one place", lambda: read_dataset(photosets.write_strecha(tmp_path, still)))


# --- pictures


@pytest.mark.parametrize("share", [0.0, 0.01, 0.4, 0.95])
def test_broken_off_photos(tmp_path, share):
    shots = shoot(2, 64, 64)
    root = photosets.write_transforms(tmp_path, shots)
    path = root / "images" / shots[1].name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(r"shot_01\.png: (broken|not a) picture.*copy or export it again", lambda: load(root))


def test_what_is_no_picture(tmp_path):
    root = photosets.write_transforms(tmp_path, shoot(2))
    (root / "images" / "shot_00.png").write_text("<html>404</html>")
    refused(r"shot_00\.png: not a picture that can be read", lambda: load(root))


def test_a_picture_that_claims_to_be_huge(tmp_path):
    Image.new("1", (20000, 10000)).save(tmp_path / "a.png")
    refused("more than 179 million pixels", lambda: read_header(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_pictures_with_wrong_bytes(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    failed = 0
    for i in range(120):
        data = bytearray(whole[: rng.integers(0, len(whole))] if i % 2 else whole)
        for at in rng.integers(0, max(1, min(len(data), 300)), 4 if data and i % 4 < 2 else 0):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            read_header(path)
            read_pixels(path, upright=True)
        except InputError as error:
            failed += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert failed > 30


# --- transforms.json

MATRIX = np.eye(4).tolist()
FRAME_FAULTS = {
    "pose NaN": (dict(transform_matrix=[[float("nan")] * 4] * 4), r"shot_00\.png: the pose has values that are not"),
    "pose scaled": (
        dict(transform_matrix=np.diag([2.0, 2, 2, 1]).tolist()),
        r"shot_00\.png: .*no rotation.*orthonormal",
    ),
    "pose mirrored": (dict(transform_matrix=np.diag([-1.0, 1, 1, 1]).tolist()), r"shot_00\.png: .*determinant \+1"),
    "pose flat": (dict(transform_matrix=np.zeros((4, 4)).tolist()), "transform_matrix has no rotation"),
    "pose ragged": (dict(transform_matrix=[[1, 0], [0]]), "transform_matrix: expected a 4x4 or 3x4 matrix"),
    "pose of words": (dict(transform_matrix=[["a"] * 4] * 4), "expected a 4x4 or 3x4 matrix of numbers"),
    "pose 2x4": (dict(transform_matrix=[[1, 0, 0, 0]] * 2), "expected a 4x4 or 3x4"),
    "focal word": (dict(fl_x="wide"), "fl_x: expected a number, got 'wide'"),
    "focal NaN": (dict(fl_x=float("nan")), "fl_x: expected a number"),
    "focal 0": (dict(fl_x=0, fl_y=0), r"shot_00\.png: focal length 0, 0: expected > 0"),
    "focal negative": (dict(fl_y=-9), r"shot_00\.png: focal length 50, -9: expected > 0"),
    "width 0": (dict(w=0), "for 0x36 pixels"),
    "width null": (dict(w=None), "w: expected a number, got None"),
    "model": (dict(camera_model="EYE"), "camera_model 'EYE': expected PINHOLE, OPENCV or OPENCV_FISHEYE"),
    "file number": (dict(file_path=7), "expected a file's name, got 7"),
    "mask number": (dict(mask_path=[1]), "expected a file's name"),
    "k1 word": (dict(k1="x"), "k1: expected a number"),
    "k4 word": (dict(k4="x"), "k4: expected a number"),
}


@pytest.mark.parametrize("fault", FRAME_FAULTS)
def test_frames_of_transforms(tmp_path, fault):
    values, message = FRAME_FAULTS[fault]
    root = photosets.write_transforms(tmp_path, shoot(3))
    change(root, lambda content: content["frames"][0].update(values))
    refused(rf"transforms\.json.*{message}", lambda: load(root))


HEAD_FAULTS = {
    "no frames": (lambda c: c.pop("frames"), "expected a map with a list `frames`"),
    "no photo at all": (lambda c: c.update(frames=[]), "no usable photo"),
    "frame no map": (lambda c: c.update(frames=[3]), "frame 0: expected a map, got 3"),
    "no path": (lambda c: c["frames"][1].pop("file_path"), "frame 1: file_path is missing"),
    "no pose": (lambda c: c["frames"][1].pop("transform_matrix"), "frame 1: transform_matrix is missing"),
    "no focal": (lambda c: c.pop("fl_x"), "no focal length: expected fl_x or camera_angle_x"),
    "twice": (lambda c: c["frames"].append(c["frames"][0]), r"images/shot_00\.png is listed twice"),
    "angle": (lambda c: (c.pop("fl_x"), c.update(camera_angle_x=60)), "angle in radians between 0 and pi, got 60"),
    "scale 0": (lambda c: c.update(applied_scale=0), "applied_scale cannot be undone"),
    "scale word": (lambda c: c.update(applied_scale="a"), "applied_scale: expected a number"),
    "turn flat": (lambda c: c.update(applied_transform=np.zeros((3, 4)).tolist()), "applied_transform.*be undone"),
    "names no list": (lambda c: c.update(train_filenames="a"), "train_filenames: expected a list of names"),
}


@pytest.mark.parametrize("fault", HEAD_FAULTS)
def test_head_of_transforms(tmp_path, fault):
    edit, message = HEAD_FAULTS[fault]
    root = photosets.write_transforms(tmp_path, shoot(3))
    change(root, edit)
    refused(rf"transforms\.json.*{message}", lambda: load(root))


def test_json_that_is_none(tmp_path):
    root = photosets.write_transforms(tmp_path, shoot(3))
    path = root / "transforms.json"
    for text in (b"{frames: 1}", b"", b"[1, 2]", path.read_bytes()[:-30], b"\xff\xfe\x00"):
        path.write_bytes(text)
        refused(r"transforms\.json: (not valid JSON|expected a map)", lambda: load(root))


# --- tables


def test_tables_of_llff(tmp_path):
    root = photosets.write_llff(tmp_path, shoot(3))
    table = root / "poses_bounds.npy"
    good, whole = np.load(table), table.read_bytes()

    def with_(row, column, value):
        out = good.copy()
        out[row, column] = value
        return out

    faults = {
        r"numbers of shape \[photos, 17\], got float64 \[3, 15\]": good[:, :15],
        r"got <U32 \[3, 17\]": good.astype(str),
        r"got complex128": good.astype(complex),
        r"images: 3 photos, but .*poses_bounds\.npy has 2 rows": good[:2],
        r"row 1 \(shot_01\.png\): height, width, focal 36, 48, 0: expected > 0": with_(1, 14, 0),
        r"row 1 .*nan": with_(1, 4, np.nan),
        r"shot_02\.png: the pose has values that are not finite": with_(2, 3, np.inf),
        r"shot_00\.png: the pose has no rotation": with_(0, 0, 5.0),
        r"shot_01\.png: 48x1e\+30 pixels: no camera has that": with_(1, 4, 1e30),
        r"smallest near depth -1: expected a number > 1e-12": with_(0, 15, -1),
        r"smallest near depth 1e\+308: .*< 1e\+12": with_(slice(None), 15, 1e308),
        r"smallest near depth nan": with_(0, 15, np.nan),
    }
    for message, rows in faults.items():
        np.save(table, rows)
        refused(rf"{message}", lambda: load(root))
    for data in (b"", b"text", whole[:100], whole[:-8]):
        table.write_bytes(data)
        refused(r"poses_bounds\.npy: not an array that can be read", lambda: load(root))
    np.savez(root / "a.npz", good)
    (root / "a.npz").rename(table)
    refused(r"poses_bounds\.npy: an archive of arrays", lambda: load(root))
    np.save(table, np.array([{}], dtype=object), allow_pickle=True)
    refused(r"poses_bounds\.npy: not an array that can be read", lambda: load(root))


def test_cameras_of_strecha(tmp_path):
    shots = shoot(2)
    root = photosets.write_strecha(tmp_path, shots)
    path = root / "cameras" / "shot_00.png.camera"
    good = path.read_text()
    words = good.split()
    faults = {
        r"expected 26 numbers .*got 25": " ".join(words[:-1]),
        r"expected a number, got 'x'": " ".join(["x", *words[1:]]),
        r"expected a number, got 'nan'": " ".join([*words[:-1], "nan"]),
        r"skew of 3": " ".join([words[0], "3", *words[2:]]),
        r"K is \[\[.*expected \[f 0 cx; 0 f cy; 0 0 1\]": " ".join([*words[:8], "2", *words[9:]]),
        r"expected 26 numbers .*got 0": "",
        r"for 0x36 pixels": " ".join([*words[:-2], "0", words[-1]]),
    }
    for message, text in faults.items():
        path.write_text(text)
        refused(rf"(shot_00\.png\.camera|cameras: shot_00\.png).*{message}", lambda: load(root))
    path.write_bytes(b"\xff\xfe\x80")
    refused(r"shot_00\.png\.camera: cannot be read as text", lambda: load(root))
    path.write_text(good)
    assert len(load(root)) == 2


def test_tables_of_the_temple(tmp_path):
    root = photosets.write_temple(tmp_path, shoot(2))
    table = root / "temple_par.txt"
    lines = table.read_text().splitlines()
    faults = {
        r"line 2: expected a name and 21 numbers \(K, R, t\), got 20": [lines[0], lines[1].rsplit(" ", 1)[0], lines[2]],
        r"line 3: could not convert .*'x'": [*lines[:2], lines[2].rsplit(" ", 1)[0] + " x"],
        r"shot_01\.png: the pose has values": [*lines[:2], lines[2].rsplit(" ", 1)[0] + " nan"],
        r"no usable photo": ["0"],
        r"shot_00\.png is listed 2 times": [lines[0], lines[1], lines[1]],
    }
    for message, text in faults.items():
        table.write_text("\n".join(text))
        refused(rf"temple_par\.txt.*{message}", lambda: load(root))
    table.write_bytes(b"\xff\xfe\x80")
    refused(r"temple_par\.txt: cannot be read as text", lambda: load(root))


def test_stereo_folders(tmp_path):
    root = photosets.write_stereo(tmp_path)
    path = root / "calib.txt"
    good = path.read_text()
    faults = {
        r"expected a line baseline=<number>": good.replace("baseline", "base"),
        r"baseline: expected a number, got '20x'": good.replace("=200", "=20x"),
        r"expected a line cam1=\[f 0 cx; 0 f cy; 0 0 1\]": good.replace("cam1=[50.5 0", "cam1=[50.5"),
        r"cam0: K has a skew": good.replace("cam0=[50.5 0", "cam0=[50.5 4"),
        r"im0\.png: 48x36 pixels, but .*calib\.txt is for 48x60": good.replace("height=36", "height=60"),
        r"all cameras are at one place": good.replace("baseline=200", "baseline=0"),
    }
    for message, text in faults.items():
        path.write_text(text)
        refused(rf"calib\.txt.*{message}|{message}", lambda: load(root))
    path.write_text(good)
    (root / "im1.png").unlink()
    refused(r"im1\.png is missing: a stereo folder has im0 and im1", lambda: load(root))


# --- COLMAP


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.01, "noise"])
@pytest.mark.parametrize("name", ["cameras", "images", "points3D", "rigs", "frames"])
def test_broken_binaries_of_colmap(tmp_path, name, share):
    """pycolmap by itself reads some of these as whole, and others without an end."""
    root = photosets.write_new_colmap(tmp_path, shoot(3))
    path = root / "sparse" / "0" / f"{name}.bin"
    data = path.read_bytes()
    if share == "noise":
        path.write_bytes(np.random.default_rng(1).integers(0, 256, len(data), dtype=np.uint8).tobytes())
    else:
        path.write_bytes((data + data)[: max(int(share * len(data)), len(data) + 1 if share > 1 else 0)])
    refused(rf"{name}\.bin: broken COLMAP file \(.*\): copy or export it again", lambda: load(root))


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_broken_texts_of_colmap(tmp_path, name):
    root = photosets.write_old_colmap(tmp_path, shoot(3), text=True)
    path = root / "sparse" / "0" / f"{name}.txt"
    path.write_text(path.read_text().replace(" ", " x", 3))
    refused(r"sparse.0: broken COLMAP model", lambda: load(root))


def test_models_of_colmap_that_do_not_hold_together(tmp_path):
    root = photosets.write_old_colmap(tmp_path / "a", shoot(3), text=True)
    path = root / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text().replace("7 SIMPLE", "8 SIMPLE"))
    refused(r"sparse.0: broken COLMAP model", lambda: load(root))
    root = photosets.write_old_colmap(tmp_path / "b", shoot(3), text=True)
    path = root / "sparse" / "0" / "images.txt"
    path.write_text(re.sub(r"^1 \S+", "1 1e30", path.read_text(), count=1, flags=re.M))  # not of length 1
    refused(r"sparse.0: shot_00\.png: the pose has no rotation", lambda: load(root))
    root = photosets.write_new_colmap(tmp_path / "c", shoot(3))
    for photo in (root / "images").iterdir():
        photo.unlink()
    refused(r"sparse.0: no usable photo .*missing in .*images", lambda: load(root))


# --- all of them


@pytest.mark.parametrize("layout", ["transforms", "strecha", "temple", "stereo"])
def test_descriptions_with_wrong_characters(tmp_path, layout):
    """A few characters of the description overwritten or cut off: read, or refused in a line, never another error."""
    writers = {"transforms": "transforms.json", "strecha": "cameras/shot_00.png.camera"}
    file = {**writers, "temple": "temple_par.txt", "stereo": "calib.txt"}[layout]
    root = getattr(photosets, f"write_{layout}")(tmp_path, *([] if layout == "stereo" else [shoot(2)]))
    whole = (root / file).read_bytes()
    rng, failed = np.random.default_rng(3), 0
    for i in range(60):
        data = bytearray(whole[: rng.integers(0, len(whole))] if i % 3 == 0 else whole)
        for at in rng.integers(0, max(1, len(data)), 3 if data else 0):
            data[at] = rng.choice(list(b'x0-.e,[]{}"\n 9\xff'))
        (root / file).write_bytes(bytes(data))
        try:
            load(root)
        except InputError as error:
            failed += 1
            assert re.search(re.escape(str(root)), str(error)) and "\n" not in str(error), error
    assert failed > 25
