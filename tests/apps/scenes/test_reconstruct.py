"""The main job through the command line: what a run leaves behind; a broken-off one goes on to the same bits."""

import json
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gs_reg.apps import cli
from gs_reg.apps.look.scene_file import read_scene, stored_splats
from gs_reg.apps.runs.folder import open_run
from gs_reg.io import checkpoint, load_splats
from gs_reg.metrics import psnr
from gs_reg.render import render

from ..conftest import STEPS, command, run_command, usual_signals


def read(path):
    return json.loads(path.read_text())


def test_run_folder(finished, photos):
    assert {path.name for path in finished.iterdir()} == {
        *("config.yaml", "command.txt", "versions.json", "dataset.json", "sources.json", "scene.json", "log.txt"),
        *("status.json", "timing.json", "result.json", "checkpoints", "splats.ply", "point_cloud", "cameras.json"),
        *("events.jsonl", "cfg_args", "renders", "masks", "depths", "videos", "report.html"),
    }
    assert not [path for path in finished.rglob(".*")]
    assert yaml.safe_load((finished / "config.yaml").read_text())["data"] == str(photos)
    command_line = (finished / "command.txt").read_text()
    assert command_line == f"gs-reg reconstruct {photos} --name tiny --preset ci --json\n"
    assert {"gs-reg", "git", "torch", "cuda", "gpu"} <= read(finished / "versions.json").keys()
    assert read(finished / "status.json")["state"] == "done"
    log = (finished / "log.txt").read_text()
    assert "train_00.png, train_01.png, train_02.png" in log and "report.html" in log  # from first to last
    kept = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert kept == ["step_000000000", f"step_{STEPS:09d}"]
    cloud = finished / "point_cloud" / f"iteration_{STEPS}" / "point_cloud.ply"
    assert cloud.read_bytes() == (finished / "splats.ply").read_bytes()
    assert (finished / "videos" / "path.mp4").stat().st_size > 1000


def test_result(finished):
    result = read(finished / "result.json")
    assert read(finished.parents[2] / "stdout.json") == result
    assert result["mean"].keys() >= {"psnr", "ssim", "psnr_seen", "ssim_seen", "lpips"}
    assert result["views"].keys() == {"test_00.png"} and result["views"]["test_00.png"] == result["mean"]
    assert result["mean"]["psnr"] > 22 and result["mean"]["ssim"] > 0.8
    assert result["mean"]["lpips"] is None and "no vgg" in result["lpips"]
    assert (result["steps"], result["gaussians"], result["seed"]) == (STEPS, 3 * 64 * 48, 0)
    assert result["seconds"] > 0 and result["depth"] is None
    drawn, photo = (
        np.asarray(Image.open(finished / "renders" / "test" / f"test_00{kind}.png"), float) for kind in ("", "_photo")
    )
    decibels = -10 * np.log10(np.square((drawn - photo) / 255).mean())
    assert decibels == pytest.approx(result["mean"]["psnr"], abs=1e-3)  # the figure is of the file that one can look at


def test_figures_are_of_the_exported_splats_over_black_and_beside_it_over_other_colours(finished):
    result, run = read(finished / "result.json"), open_run(finished)
    assert result["background"].startswith("black") and run.read_json("scene.json")["background"] == [0, 0, 0]
    assert result["backgrounds"].keys() == {"black", "white", "mean"}
    assert result["backgrounds"]["black"] == {key: result["mean"][key] for key in ("psnr", "ssim")}

    def picture(folder, name):
        return torch.tensor(np.asarray(Image.open(finished / "renders" / folder / name), np.float32) / 255)[None]

    photos = [picture("train", f"train_{n:02d}_photo.png").mean((0, 1, 2)) for n in range(3)]
    colors = {"black": torch.zeros(3), "white": torch.ones(3), "mean": torch.stack(photos).mean(0)}
    splats, camera = stored_splats(run), read_scene(run).cameras["test_00.png"]
    for name, color in colors.items():
        drawn = (render(splats, camera, backgrounds=color[None]).colors.clamp(0, 1) * 255).round() / 255
        expected = float(psnr(drawn, picture("test", "test_00_photo.png")))
        assert result["backgrounds"][name]["psnr"] == pytest.approx(expected, abs=1e-3), name


def test_report_of_a_run(finished):
    result, page = read(finished / "result.json"), (finished / "report.html").read_text()
    mean = result["mean"]
    for text in (f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}", "9,216", "train_01, after", "videos/path.mp4", "l1 "):
        assert text in page, text
    # held-out photo, render and error; three training pairs; three depths before and after; one video
    assert page.count("data:image/jpeg") == 3 + 2 * 3 + 2 * 3 and page.count("data:video/mp4") == 1
    assert "n/a" in page and "no vgg" in page and "No photo was held out" not in page


def test_cameras_lie_in_the_frame_of_the_photos(finished, photos):
    """cameras.json and splats.ply agree with transforms.json, whose depths are known."""
    given = {frame["file_path"]: frame["transform_matrix"] for frame in read(photos / "transforms.json")["frames"]}
    cameras = read(finished / "cameras.json")
    assert [c["img_name"] for c in cameras] == ["train_00.png", "train_01.png", "train_02.png", "test_00.png"]
    for camera in cameras:
        pose = np.array(given[f"images/{camera['img_name']}"])
        np.testing.assert_allclose(camera["position"], pose[:3, 3], atol=1e-5)
        np.testing.assert_allclose(np.array(camera["rotation"]) * [1, -1, -1], pose[:3, :3], atol=1e-5)
    pose = np.array(given["images/train_00.png"])
    means = load_splats(finished / "splats.ply").means[: 64 * 48].double().numpy()
    z = -((means - pose[:3, 3]) @ pose[:3, 2])
    truth = np.load(photos / "depths" / "train_00.npy").ravel()
    assert np.median(np.abs(z - truth) / truth) < 0.03


def test_events_and_progress_tell_the_same(finished):
    events = [json.loads(line) for line in (finished / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events] == [1, 10, 20, 30]
    assert events[-1]["loss"] == pytest.approx(sum(events[-1]["terms"].values())) and events[-1]["psnr"] > 20
    assert events[-1]["loss"] < events[0]["loss"]


def broken_off(photos, run, how, when, *flags):
    """Starts a run and sends it a signal as soon as `when` holds; returns its exit code and stderr."""
    words = command("reconstruct", photos, "--out", run, "--preset", "ci", "--stop-after", "train", *flags)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=usual_signals)
    began = time.monotonic()
    while not when():
        assert process.poll() is None and time.monotonic() - began < 200, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(how)
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors


def assert_same_bits(run, unbroken):
    assert (run / "splats.ply").read_bytes() == (unbroken / "splats.ply").read_bytes()
    last = f"step_{STEPS:09d}"
    for name in ("model.safetensors", "optim.safetensors"):
        assert (run / "checkpoints" / last / name).read_bytes() == (unbroken / "checkpoints" / last / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS


def test_ctrl_c_then_resume(finished, photos, tmp_path):
    for attempt in range(5):  # on a busy machine the few steps may end before the signal is sent
        run = tmp_path / f"run_{attempt}"
        code, errors = broken_off(photos, run, signal.SIGINT, (run / "events.jsonl").exists)
        if code != 0:
            break
    assert code == 130
    assert errors.splitlines()[-1].startswith("gs-reg: interrupted; saved at step ") and str(run) in errors
    status = read(run / "status.json")
    assert status["state"] == "interrupted" and 0 < status["step"] < STEPS and not (run / "splats.ply").exists()
    done = run_command("reconstruct", "--resume", "--out", run)  # nothing else: settings come from the run
    assert done.returncode == 0, done.stderr
    assert_same_bits(run, finished)
    assert read(run / "status.json")["state"] == "done" and not (run / "result.json").exists()  # --stop-after train


def test_kill_then_resume(finished, photos, tmp_path, monkeypatch):
    run = tmp_path / "run"
    second = run / "checkpoints" / "step_000000008"
    code, _ = broken_off(photos, run, signal.SIGKILL, second.exists, "--checkpoint-every", "4", "--keep-every", "12")
    assert code == -signal.SIGKILL and read(run / "status.json")["state"] == "running"
    assert checkpoint.latest(run / "checkpoints") is not None
    assert cli.main(["reconstruct", "--resume", "--out", str(run)]) == 0
    assert_same_bits(run, finished)
    kept = [int(path.name[5:]) for path in sorted((run / "checkpoints").iterdir())]
    assert kept == [0, 12, 24, 28, 30]


def test_resume_refuses_what_would_give_another_result(finished, photos, capsys):
    before = (finished / "splats.ply").stat().st_mtime_ns
    out = ["--resume", "--out", str(finished)]
    assert cli.main(["reconstruct", *out, "--free.train.steps", "99", "--terms.l1.weight", "0.5"]) == 2
    text = capsys.readouterr().err.splitlines()[-1]
    assert "free.train.steps (was 20, now 99)" in text and "terms.l1.weight (was 0.8, now 0.5)" in text
    assert cli.main(["reconstruct", *out, "--config", str(finished / "config.yaml")]) == 2
    assert "drop one of the two" in capsys.readouterr().err
    assert cli.main(["reconstruct", "--resume"]) == 2
    assert "which run?" in capsys.readouterr().err
    assert (finished / "splats.ply").stat().st_mtime_ns == before


def test_resume_refuses_other_photos(finished, photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    words = ["reconstruct", str(tmp_path / "photos"), "--resume", "--out", str(finished), "--stop-after", "train"]
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "images" / "train_01.png")
    assert cli.main(words) == 2
    assert "train_01.png: not the photo or camera" in capsys.readouterr().err


def test_a_run_can_be_repeated_from_its_config(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["reconstruct", "--config", str(finished / "config.yaml"), "--train.steps", "0", "--stop-after", "init"]
    assert cli.main([*words, "--seed", "5"]) == 0
    (run,) = [path for path in (tmp_path / "runs" / "tiny").iterdir() if path.name != "latest"]
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["seed"] == 5 and kept["out"] is None and kept["name"] == "tiny"
    assert len(load_splats(run / "splats.ply")) == 3 * 64 * 48


def test_dry_run_writes_nothing(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reconstruct", str(photos), "--dry-run"]) == 0
    text = capsys.readouterr().err
    assert "train_00.png" in text and list(tmp_path.iterdir()) == []
    assert "plan: preset best, about 2,300 Gaussians, 800 steps free of the rays; on" in text
    assert "GB of memory; into runs/" in text


def test_plain_starts_at_random_and_learns(photos, tmp_path):
    plain = ["reconstruct", str(photos), "--preset", "plain", "--free.train.steps", "200"]
    assert cli.main([*plain, "--out", str(tmp_path / "run")]) == 0
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert events[-1]["loss"] < 0.85 * events[0]["loss"] and events[0]["stage"] == "free"
    assert len(load_splats(tmp_path / "run" / "splats.ply")) == 3 * 64 * 48 // 9
    assert read(tmp_path / "run" / "sources.json")["depth"]["used as"] == "nothing, as the start is random"


@pytest.mark.parametrize("method", ["default", "mcmc"])
def test_gaussians_come_and_go_and_a_run_goes_on_to_the_same_bits(photos, tmp_path, method):
    run, last = tmp_path / "run", "step_000000060"
    words = ["reconstruct", str(photos), "--preset", "plain", "--free.train.steps", "60", "--stop-after", "train"]
    words += ["--free.densify.method", method, "--free.densify.every", "10", "--free.densify.grad", "1e-4"]
    assert cli.main([*words, "--checkpoint-every", "25", "--keep-every", "25", "--out", str(run)]) == 0
    before = [(run / name).read_bytes() for name in ("splats.ply", f"checkpoints/{last}/optim.safetensors")]
    assert len(load_splats(run / "splats.ply")) > 3 * 64 * 48 // 9
    shutil.rmtree(run / "checkpoints" / last)
    (run / "splats.ply").unlink()
    shutil.rmtree(run / "checkpoints" / "step_000000050")
    assert cli.main(["reconstruct", "--resume", "--out", str(run)]) == 0  # from step 25, before two more changes
    assert before == [(run / name).read_bytes() for name in ("splats.ply", f"checkpoints/{last}/optim.safetensors")]
