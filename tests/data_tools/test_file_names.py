"""One name of a file for each photo, and the user's own files found by the photos' whole names."""

import itertools
import unicodedata

import numpy as np
import pytest
import torch

from gs_reg.data_tools.flow import FlowConfig, flow_source
from gs_reg.data_tools.photos.names import ENDINGS, PhotoFiles, file_stems
from gs_reg.data_tools.split import pick, split
from gs_reg.errors import InputError
from gs_reg.types import Cameras, Views

FOLDERS = ("cam0/1.jpg", "cam0/2.jpg", "cam1/1.jpg", "cam1/2.jpg")
LONG = "x" * 240


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["IMG_1.JPG", "a.b.png", "view"], ["IMG_1", "a.b", "view"]),
        (["left/a.png", "right/b.png", "c.png"], ["a", "b", "c"]),
        (["a/b.png", "a_b.png"], ["b", "a_b"]),
        (FOLDERS, ["cam0_1", "cam0_2", "cam1_1", "cam1_2"]),
        (["images/cam0/1.png", "images/cam1/1.png"], ["cam0_1", "cam1_1"]),
        (["1.png", "x/1.png"], ["1", "x_1"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b.png"]),
        ([".png", "x.png"], ["_.png", "x"]),
        (["1_depth.png", "1.png"], ["1_depth_", "1"]),
        (["Käse 1.jpg", "Käse 2.jpg"], ["Käse 1", "Käse 2"]),
        ([], []),
    ],
)
def test_names_of_files(names, stems):
    assert file_stems(names) == dict(zip(names, stems, strict=True))
    assert file_stems(reversed(names)) == file_stems(names), "whatever their order"


@pytest.mark.parametrize(
    "names",
    [
        ["a/b.png", "c/b.png", "a_b.png", "a_b.jpg"],
        ["a/B.png", "a/b.png", "b/b.png"],
        ["Straße.png", "STRASSE.png"],
        [unicodedata.normalize(form, "Käse.png") for form in ("NFC", "NFD")],
        ["1_photo.png", "1_photo_.png", "1.png"],
        [f"{LONG}1.png", f"{LONG}2.png"],
        [f"{'ä' * 120}{i}.png" for i in range(3)],
        [f"{LONG}/{LONG}/{i}/{j}.png" for i in range(2) for j in range(2)],
        ["a\\b.png", "a/b.png", "c/b.png"],
        ["..png", ".png", "a/.png"],
        ["x/\udcff.png", "y/\udcff.png"],  # bytes that are no UTF-8
    ],
)
def test_names_of_files_never_meet(names, tmp_path):
    """On file systems that fold cases or accents, with any ending; and every one of them can be written."""
    stems = file_stems(names)
    written = [f"{stem}{ending}" for stem in stems.values() for ending in ("", *ENDINGS)]
    folded = {unicodedata.normalize("NFD", name).casefold() for name in written}
    assert len(folded) == len(names) * (1 + len(ENDINGS))
    for name in written:
        (tmp_path / f".{name}.1234567-12345678.npy").touch()
        assert name[0] != "." and (tmp_path / name).parent == tmp_path


def own(names) -> dict[str, str]:
    return {name: name for name in names}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("form", ["{folder}/{number}.npy", "{folder}/{number}.jpg.npy", "{folder}_{number}.npy"])
def test_a_tree_like_that_of_the_photos_or_the_names_of_a_run(tmp_path, form):
    files = {name: form.format(folder=name[:4], number=name[5]) for name in FOLDERS}
    touch(tmp_path, *files.values())
    for name, file in files.items():
        assert PhotoFiles(own(FOLDERS)).find(name, tmp_path, (".npy",)) == [tmp_path / file]


def test_flat_files_where_no_other_photo_could_be_meant(tmp_path):
    files = PhotoFiles({"1.jpg": "images/cam0/1.jpg", "2.jpg": "images/cam1/2.jpg"})
    touch(tmp_path, "1.npy", "cam1/2.npy", "cam0/2.npy")
    assert files.find("1.jpg", tmp_path, (".npy",)) == [tmp_path / "1.npy"]
    assert files.find("2.jpg", tmp_path, (".npy",)) == [tmp_path / "cam1" / "2.npy"]
    touch(tmp_path, "images/cam0/1.npy")
    assert files.find("1.jpg", tmp_path, (".npy",)) == [tmp_path / "images/cam0/1.npy"], "the whole name goes first"
    assert files.find("3.jpg", tmp_path, (".npy",)) == []


def test_files_that_may_be_of_two_photos(tmp_path):
    touch(tmp_path, "1.npy")
    with pytest.raises(InputError, match=r"1\.npy: of cam0/1\.jpg, or of cam1/1\.jpg\?.*: cam0/1\.npy, cam1/1\.npy$"):
        PhotoFiles(own(FOLDERS)).find("cam1/1.jpg", tmp_path, (".npy",))
    with pytest.raises(InputError, match=r"1\.npy: of 1\.jpg, or of 1\.png\? .*: 1\.jpg\.npy, 1\.png\.npy$"):
        PhotoFiles(own(["1.jpg", "1.png"])).find("1.png", tmp_path, (".npy",))
    files = PhotoFiles(own(["1.jpg", "cam1/1.jpg"]))
    assert files.find("1.jpg", tmp_path, (".npy",)) == [tmp_path / "1.npy"], "its whole name"
    assert files.find("cam1/1.jpg", tmp_path, (".npy",)) == [], "it is of 1.jpg"


PAIRS = [
    ("cam0/1.jpg", "cam0/2.jpg", "cam0/1__cam0/2"),
    ("cam0/1.jpg", "cam0/2.jpg", "cam0/1.jpg__cam0/2.jpg"),
    ("cam0/1.jpg", "cam0/2.jpg", "cam0/1__2"),
    ("cam0/1.jpg", "cam0/2.jpg", "cam0_1__cam0_2"),
    ("cam1/2.jpg", "cam0/2.jpg", "cam1/2__cam0/2"),
    ("cam1/2.jpg", "cam0/2.jpg", "cam1_2__cam0_2"),
]


@pytest.mark.parametrize(("a", "b", "file"), PAIRS)
def test_files_of_pairs(tmp_path, a, b, file):
    """Whole names, B's beside A, and those of a run: each is of this pair alone."""
    touch(tmp_path, f"{file}.npy")
    for shown in (own(FOLDERS), {name: f"images/{name}" for name in FOLDERS}):
        files = PhotoFiles(shown)
        found = {pair: files.find_pair(*pair, tmp_path, ".npy") for pair in itertools.permutations(FOLDERS, 2)}
        assert {pair: path for pair, path in found.items() if path} == {(a, b): tmp_path / f"{file}.npy"}


def test_files_that_may_be_of_two_pairs(tmp_path):
    touch(tmp_path, "1__2.npy", "x__y__z.npy")
    for pair in (("cam0/1.jpg", "cam0/2.jpg"), ("cam0/1.jpg", "cam1/2.jpg")):
        with pytest.raises(
            InputError, match=r"1__2\.npy: of cam0/1\.jpg and cam0/2\.jpg, or of .*: cam0/1__cam0/2\.npy"
        ):
            PhotoFiles(own(FOLDERS)).find_pair(*pair, tmp_path, ".npy")
    flat = PhotoFiles({"1.jpg": "cam0/1.jpg", "2.jpg": "cam1/2.jpg"})
    assert flat.find_pair("1.jpg", "2.jpg", tmp_path, ".npy") == tmp_path / "1__2.npy"
    assert flat.find_pair("2.jpg", "1.jpg", tmp_path, ".npy") is None
    with pytest.raises(InputError, match=r"of x and y__z, or of x__y and z\?"):
        PhotoFiles(own(["x", "y__z", "x__y", "z"])).find_pair("x", "y__z", tmp_path, ".npy")
    assert PhotoFiles(own(["x", "y__z"])).find_pair("x", "y__z", tmp_path, ".npy") == tmp_path / "x__y__z.npy"


def test_flow_of_photos_of_one_name(tmp_path):
    camera = Cameras(torch.eye(4)[None], torch.eye(3)[None], 3, 2)
    views = {name: Views(camera, torch.zeros(1, 2, 3, 3), (name,)) for name in FOLDERS}
    for i, (a, b) in enumerate(itertools.permutations(FOLDERS, 2)):
        file = tmp_path / f"{a[:-4]}__{b[:-4]}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.full((2, 3, 2), i / 10, np.float32))
    source = flow_source(FlowConfig("files", tmp_path), own(FOLDERS))
    for i, (a, b) in enumerate(itertools.permutations(FOLDERS, 2)):
        assert source(views[a], views[b]).unique().tolist() == [pytest.approx(i / 10)]


def test_photos_by_their_whole_names():
    photos = {"a.jpg": "images/left/a.jpg", "b.jpg": "images/right/b.jpg", "b.png": "images/right/b.png"}
    for asked in ("a", "a.jpg", "left/a", "left/a.jpg", "images/left/a.jpg", "./images/left/a", "left\\a.jpg", "0"):
        assert pick(asked, photos) == "a.jpg"
    for asked in ("right/a", "eft/a.jpg", "left", "left/0"):
        with pytest.raises(InputError, match="no photo"):
            pick(asked, photos)
    with pytest.raises(InputError, match=r"ambiguous: b\.jpg, b\.png"):
        pick("right/b", photos)
    assert pick("right/b.png", photos) == "b.png"
    with pytest.raises(InputError, match=r"photo '1' is ambiguous: cam0/1\.jpg, cam1/1\.jpg"):
        pick("1", FOLDERS)
    assert pick("0", FOLDERS) == "cam0/1.jpg"
    assert pick("1.jpg", ["1.jpg", "cam1/1.jpg"]) == "1.jpg", "its whole name"
    chosen = split(photos, train=["right/b.png", "left/a"], test=["b.jpg"])
    assert chosen == (("a.jpg", "b.png"), ("b.jpg",))
