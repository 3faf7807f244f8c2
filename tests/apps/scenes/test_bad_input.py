"""Bad input ends with exit code 2, one line that names the file and what to do, and nothing half-written."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from gs_reg.apps import cli


@pytest.fixture
def data(photos, tmp_path) -> Path:
    """A copy of the photos to spoil."""
    return Path(shutil.copytree(photos, tmp_path / "data"))


def edit_cameras(data: Path, change) -> None:
    content = json.loads((data / "transforms.json").read_text())
    change(content)
    (data / "transforms.json").write_text(json.dumps(content))


def missing_image(data: Path):
    (data / "images" / "train_01.png").unlink()
    return ["--train", "train_00", "train_01"], ["train_01.png", "the file is missing"]


def broken_png(data: Path):
    path = data / "images" / "train_01.png"
    path.write_bytes(path.read_bytes()[:3000])
    return [], [str(path), "broken picture", "copy or export it again"]


def no_picture(data: Path):
    path = data / "images" / "train_02.png"
    path.write_text("not a picture")
    return [], [str(path), "not a picture that can be read"]


def wrong_size_of_intrinsics(data: Path):
    edit_cameras(data, lambda content: content.update(w=100))
    return [], [str(data / "transforms.json"), "64x48", "100x48", "use the photos that the cameras were computed from"]


def nan_pose(data: Path):
    def change(content):
        content["frames"][1]["transform_matrix"][0][3] = float("nan")

    edit_cameras(data, change)
    return [], [str(data / "transforms.json"), "train_01.png", "not finite", "mend or remove"]


def one_view(data: Path):
    return ["--train", "train_00"], ["1 training photo", "at least 2", "give more photos"]


def no_shared_points(data: Path):
    for path in (data / "images").iterdir():
        Image.new("RGB", (64, 48), (90, 90, 90)).save(path)
    return [], ["0 triangulated points", "train_00.png", "overlapping photos"]


def unknown_key(data: Path):
    (data / "config.yaml").write_text("schema: 1\ntrian: {steps: 3}\n")
    return ["--config", str(data / "config.yaml")], [str(data / "config.yaml"), "unknown key 'trian'", "'train'"]


def wrong_type_in_config(data: Path):
    (data / "config.yaml").write_text("schema: 1\nseed: many\n")
    return ["--config", str(data / "config.yaml")], ["config.yaml.seed: expected a whole number, got 'many'"]


def missing_config(data: Path):
    return ["--config", str(data / "none.yaml")], [f"{data / 'none.yaml'}: no such config file"]


CASES = [missing_image, broken_png, no_picture, wrong_size_of_intrinsics, nan_pose, one_view, no_shared_points]
CASES += [unknown_key, wrong_type_in_config, missing_config]


@pytest.mark.parametrize("spoil", CASES)
def test_bad_input(spoil, data, tmp_path, capsys):
    flags, texts = spoil(data)
    assert cli.main(["reconstruct", str(data), *flags, "--out", str(tmp_path / "run"), "-q"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("gs-reg: ")
    for text in texts:
        assert text in errors
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize(
    ("flags", "texts"),
    [
        (["--seed", "many"], ["--seed: expected a whole number, got many"]),
        (["--device", "gpu"], ["--device: expected one of auto, cpu, cuda, got gpu"]),
    ],
)
def test_bad_flags(flags, texts, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reconstruct", str(photos), *flags]) == 2
    errors = capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] and errors.count("\n") == 1
    for text in texts:
        assert text in errors


def test_a_flag_that_is_none_offers_the_nearest(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["reconstruct", str(photos), "--train.step", "3"])
    errors = capsys.readouterr().err
    assert ended.value.code == 2 and list(tmp_path.iterdir()) == []
    assert "--train.step" in errors and "--train.steps INT" in errors


def test_a_folder_that_is_not_empty(photos, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    assert cli.main(["reconstruct", str(photos), "--out", str(tmp_path), "-q"]) == 2
    assert f"{tmp_path}: not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_no_data_and_no_folder(tmp_path, capsys):
    assert cli.main(["reconstruct"]) == 2
    assert "gs-reg reconstruct DATA" in capsys.readouterr().err
    assert cli.main(["eval", str(tmp_path)]) == 2
    assert f"{tmp_path}: not the folder of a run" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a tmpfs of the asked size; returns its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def mount(kilobytes: int) -> Path:
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True)
        if done.returncode:
            pytest.skip("a small disk needs the right to mount")
        mounted.append(disk)
        return disk

    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small disk needs root and mount")
    yield mount
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def test_disk_full_at_the_start_leaves_nothing(photos, small_disk, capsys):
    disk = small_disk(600)
    assert cli.main(["reconstruct", str(photos), "--preset", "ci", "--out", str(disk / "run"), "-q"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and str(disk / "run") in errors and "no space left on the disk" in errors
    assert list(disk.iterdir()) == []


def test_disk_full_in_mid_run_then_more_space(photos, finished, small_disk, capsys):
    """Two checkpoints of 1.3 MB and the one that would replace the older do not fit: that of step 15."""
    run = small_disk(3700) / "run"
    words = ["reconstruct", str(photos), "--out", str(run), "--preset", "ci", "-q"]
    assert cli.main([*words, "--checkpoint-every", "5", "--stop-after", "train"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"{run / 'checkpoints' / 'step_000000015'}: no space left on the disk" in errors
    assert [path for path in run.rglob(".*")] == [] and not (run / "splats.ply").exists()
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "failed" and errors == f"gs-reg: {status['error']}\n" and status["step"] == 10
    small_disk(20_000)
    assert cli.main(["reconstruct", "--resume", "--out", str(run)]) == 0
    assert (run / "splats.ply").read_bytes() == (finished / "splats.ply").read_bytes()
