"""A user's mistakes: one line each, exit 2 or 3, and no folder of a run."""

import json

import numpy as np
import pytest
from PIL import Image

from gs_reg.apps import cli
from gs_reg.io.ply import read_element, read_header

from .conftest import Mug


def fails(words: list[str], capsys, code: int = 2) -> str:
    assert cli.main(["edit", *words]) == code
    errors = capsys.readouterr().err.splitlines()
    said = [line for line in errors if line.startswith("gs-reg: ")]
    assert len(said) == 1 and errors[-1] == said[0], errors
    return said[0]


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        (["--part", "handel"], 2, "did you mean 'handle'?"),
        (["--part", "lid"], 2, "rim, handle, body"),
        (["--part", ""], 2, "--part"),
        (["--parts", "rim,,body"], 2, "--parts"),
        (["--parts", "rim,rim"], 2, "named twice"),
        (["--parts", "rim:0,handle,body"], 2, "expected a temperature above 0"),
        (["--parts", "rim:nan,handle,body"], 2, "expected a temperature above 0"),
        (["--object", " "], 2, "--object"),
        (["--edit", ""], 2, "--remove"),
        (["--remove"], 2, "--edit"),
        (["--teacher", "sd3"], 3, "--model"),
        (["--teacher", "clipsed"], 2, "clipseg"),
        (["--teacher", "masks:nowhere"], 2, "no such folder"),
        (["--editor", "folder:nowhere"], 2, "no such folder"),
        (["--editor", "slam"], 2, "slamp"),
        (["--editor", "slamp"], 2, "--model"),
        (["--preset", "best"], 2, "--preset fast"),
        (["--preset", "quick"], 2, "preset"),
        (["--cameras", "nowhere.json"], 2, "no such file"),
        (["--threshold", "1.5"], 2, "--threshold"),
        (["--device", "cuda"], 3, "cuda"),
    ],
)
def test_words_that_cannot_be(mug: Mug, tmp_path, capsys, monkeypatch, changed, code, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out, words = tmp_path / "run", list(mug.edit)
    if changed[0] in words:
        words[words.index(changed[0]) + 1] = changed[1]
        changed = []
    assert said in fails(["run", *words, *changed, "--out", str(out)], capsys, code)
    assert not out.exists()


CLICKS = ["--clicks", "rim=orbit_000:32,8", "handle=orbit_000:32,32", "body=orbit_000:32,40"]


@pytest.mark.parametrize(
    ("teacher", "code", "said"),
    [
        (["clicks"], 2, "part 'rim': no click on it"),
        (["clicks", *CLICKS[:2]], 2, "part 'handle': no click on it"),
        (["clicks", *CLICKS, "lid=orbit_000:3,4"], 2, "no part 'lid'; there are rim, handle, body"),
        (["clicks", *CLICKS, "rim=orbit_000:3"], 2, "PART=VIEW:X,Y for a click"),
        (["clicks", *CLICKS, "rim=orbit_777:3,4"], 2, "no view 'orbit_777'; there are orbit_000"),
        (["clicks", *CLICKS, "rim=orbit_000:0,0"], 2, "there is no surface of the object"),
        (["clicks", CLICKS[0], "rim=orbit_000:64,65", *CLICKS[2:]], 2, "outside the view of 64 x 64 pixels"),
        (["clicks", CLICKS[0], "rim=orbit_000:64,5", *CLICKS[2:]], 2, "outside the view of 64 x 64 pixels"),
        (["masks:{empty}"], 2, "no mask of any view; expected for example orbit_000/rim.png"),
        (["gt:{empty}"], 2, "no orbit_000.png"),
        (["clipseg"], 3, "--teacher-model with a folder of clipseg (transformers), none was given"),
        (["clipseg", "--teacher-model", "{empty}"], 2, "no config.json"),
        (["ensemble:masks:{masks}+grounded"], 3, "--teacher-model with a folder of grounding-dino"),
    ],
)
def test_teachers_that_cannot_say_anything(mug: Mug, tmp_path, capsys, teacher, code, said):
    (tmp_path / "empty").mkdir()
    words, out = list(mug.words), tmp_path / "run"
    at = words.index("--teacher")
    given = [word.format(empty=tmp_path / "empty", masks=mug.folder / "masks") for word in teacher]
    assert said in fails(["parts", *words[:at], "--teacher", *given, *words[at + 2 :], "--out", str(out)], capsys, code)
    assert not out.exists()


def test_a_folder_that_is_no_pipeline(mug: Mug, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    words = ["run", *mug.edit, "--model", str(tmp_path / "model"), "--out", str(tmp_path / "run")]
    assert "model_index.json" in fails(words, capsys)
    assert not (tmp_path / "run").exists()


def test_cameras_that_see_nothing(mug: Mug, tmp_path, capsys):
    away = np.diag([1.0, 1, 1, 1])
    away[2, 3] = -50  # looks along -z, away from the object
    frame = {"file_path": "a.png", "transform_matrix": away.tolist()}
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({"w": 64, "h": 64, "fl_x": 60.0, "frames": [frame]}))
    said = fails(["parts", *mug.words, "--cameras", str(path), "--out", str(tmp_path / "run")], capsys)
    assert "sees a splat" in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("value", "said"), [(0, "is empty"), (255, "of the visible object")])
def test_an_empty_mask_and_one_of_everything_stop_the_edit(mug: Mug, tmp_path, capsys, value, said):
    for path in (mug.folder / "masks").glob("*/*.png"):
        target = tmp_path / "masks" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.array(Image.open(path))
        if path.stem == "handle":
            pixels = np.full_like(pixels, value)
        elif value:
            pixels = np.zeros_like(pixels)
        Image.fromarray(pixels).save(target)
    words = [*mug.edit, "--teacher", f"masks:{tmp_path / 'masks'}", "--out", str(tmp_path / "run")]
    line = fails(["run", *words], capsys)
    assert said in line and "--threshold" in line and "masks:DIR" in line
    assert (tmp_path / "run" / "preview.png").is_file() and not (tmp_path / "run" / "edited.ply").exists()


def test_splats_with_nan_are_said_and_keep_their_bytes(mug: Mug, tmp_path, capsys):
    header = read_header(mug.scene)
    table = read_element(mug.scene, header, "vertex")
    table["x"][5] = np.nan
    path = tmp_path / "nan.ply"
    path.write_bytes(mug.scene.read_bytes()[: header.size] + table.tobytes())
    words = [str(path), *mug.edit[1:], "--steps", "2", "--out", str(tmp_path / "run")]
    assert cli.main(["edit", "run", *words]) == 0
    assert "1 of them have values that are not finite" in capsys.readouterr().err
    edited = tmp_path / "run" / "edited.ply"
    after = read_element(edited, read_header(edited), "vertex")
    assert after[5].tobytes() == table[5].tobytes()
    assert cli.main(["edit", "undo", str(tmp_path / "run"), "--to", str(tmp_path / "back.ply")]) == 0
    assert (tmp_path / "back.ply").read_bytes() == path.read_bytes()


def test_undo_of_what_is_no_edit(mug: Mug, tmp_path, capsys):
    assert "not the folder of a run" in fails(["undo", str(tmp_path)], capsys)
