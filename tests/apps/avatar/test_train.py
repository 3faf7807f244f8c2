"""A training leaves what is promised; stopped in any phase it goes on to the same bits."""

import json
import shutil
import signal
from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gs_reg.apps import cli
from gs_reg.apps.avatar import sources
from gs_reg.apps.avatar.config import Config
from gs_reg.apps.avatar.distilling import distilled_field
from gs_reg.apps.avatar.job import start
from gs_reg.apps.avatar.presets import PRESETS
from gs_reg.apps.avatar.shots import FrameShots, neutral_frames
from gs_reg.apps.avatar.training import stages_of
from gs_reg.apps.runs.folder import Run
from gs_reg.fields.distill import Distillation
from gs_reg.io import checkpoint

from .ball import BallPrior
from .conftest import train


def test_a_run_has_an_avatar_figures_pictures_and_a_report(finished, capture):
    result = json.loads((finished / "result.json").read_text())
    for protocol in ("self_reenactment", "novel_view"):
        for mask in ("full", "head", "face"):
            assert result[protocol][mask]["psnr"] > 8 and 0 < result[protocol][mask]["ssim"] < 1
        assert set(result[protocol]["regions"]) == {"mouth", "eyes"}
        assert "without_screen_network" in result[protocol]
    assert result["self_reenactment"]["jitter_mm"] > 0 and "jitter_mm" not in result["novel_view"]
    assert (
        "test codes and poses touched: no, codes within the ends of their channels; seed"
        in result["protocols"]["self_reenactment"]
    )
    assert "cam0, cam1, cam3, cam4" in result["protocols"]["self_reenactment"]
    assert (
        "sequences B" in result["protocols"]["self_reenactment"] and "sequences A" in result["protocols"]["novel_view"]
    )
    assert set(result["training_stages"]) == {"warm-up", "joint", "screen"}
    assert result["distil"]["errors"]["held_out"]["all"]["mean"] > 0
    page = (finished / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and page.count("data:image/jpeg") >= 12
    assert "data:video/mp4" in page and "before training" in page
    assert (finished / "avatar" / "avatar.safetensors").is_file()
    details = json.loads((finished / "avatar" / "avatar.json").read_text())["info"]["details"]
    assert details["train_frames"] == list(capture.train_frames)


def stop_at(monkeypatch, kind: type, name: str, calls: int) -> None:
    """SIGTERM in the given call of a method."""
    method, count = getattr(kind, name), 0

    def stopping(self, *arguments):
        nonlocal count
        count += 1
        if count == calls:
            signal.raise_signal(signal.SIGTERM)
        return method(self, *arguments)

    monkeypatch.setattr(kind, name, stopping)


@pytest.mark.parametrize(
    ("phase", "kind", "name", "calls"),
    [
        ("distil", Distillation, "_losses", 7),
        ("warm-up", FrameShots, "__call__", 3),
        ("joint", FrameShots, "__call__", 12),
        ("screen", FrameShots, "__call__", 20),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_bits(
    finished, capture, tmp_path, monkeypatch, capsys, phase, kind, name, calls
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, kind, name, calls)
        assert train(capture, out) == 128 + signal.SIGTERM
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert ("saved; continue" if phase == "distil" else "saved at step ") in last
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"
    assert not (out / "result.json").exists() and not (out / "avatar").exists()
    assert cli.main(["avatar", "train", "--resume", "--out", str(out)]) == 0
    name = "avatar/avatar.safetensors"
    assert (out / name).read_bytes() == (finished / name).read_bytes(), phase
    mine, whole = (json.loads((run / "result.json").read_text()) for run in (out, finished))
    assert mine["self_reenactment"] == whole["self_reenactment"]
    steps = [json.loads(line).get("step") for line in (out / "events.jsonl").read_text().splitlines()]
    assert len([s for s in steps if s]) == len({s for s in steps if s})  # no step twice


def test_a_checkpoint_with_a_short_column_is_named(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").unlink()
    path = checkpoint.latest(run / "checkpoints")
    tensors = load_file(path / "model.safetensors")
    save_file(tensors | {"lively": tensors["lively"][:1].clone()}, path / "model.safetensors")
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"sha256": {}}))
    assert cli.main(["avatar", "train", "--resume", "--out", str(run)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert path.name in last and "lively: expected [" in last


def test_a_run_of_an_earlier_version_goes_on_without_the_constant_shape(finished, capture, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    config = replace(Run(run).config(Config), resume=True, out=run)
    job = start(config, sources.open_source(str(capture.folder)), torch.device("cpu"))
    joint = next(stage for stage in stages_of(job, distilled_field(job)) if stage.name == "joint")
    state = checkpoint.load(checkpoint.latest(run / "checkpoints")).model
    assert joint.load(state).detail.constant.any()
    earlier = joint.load({name: value for name, value in state.items() if name != "detail.constant"})
    assert earlier.detail.constant is None


def test_the_log_has_scalars_and_held_out_frames(finished):
    read = EventAccumulator(str(finished / "tb")).Reload()
    tags = read.Tags()
    assert [s.step for s in read.Scalars("held_out/psnr")] == [8, 16, 21]
    assert {"train/loss", "train/psnr", "train/gaussians"} <= set(tags["scalars"])
    assert 1 <= len(tags["images"]) <= 4 and all(name.startswith("views/") for name in tags["images"])
    lines = [json.loads(line) for line in (finished / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out" in line] == [8, 16, 21]


def test_resume_keeps_settings_and_capture(finished, capsys):
    assert cli.main(["avatar", "train", "--resume", "--out", str(finished), "--joint", "31"]) == 2
    assert "joint (was 14, now 31)" in capsys.readouterr().err


def test_a_run_goes_on_where_its_prior_was_moved_to(finished, tmp_path, capsys, monkeypatch):
    run, moved = shutil.copytree(finished, tmp_path / "run"), tmp_path / "moved"
    (run / "result.json").unlink()
    words = ["avatar", "train", "--resume", "--out", str(run), "--prior-folder", str(moved)]
    assert cli.main(words) == 0
    name = "avatar/avatar.safetensors"
    assert (run / name).read_bytes() == (finished / name).read_bytes()
    monkeypatch.setattr(sources, "load_prior", lambda *_: OtherBall())
    assert cli.main(words) == 2
    assert f"{moved}: not the files of ball that {run} began with" in capsys.readouterr().err


class OtherBall(BallPrior):
    def moves(self, points):
        return 1.01 * super().moves(points)


def test_a_plan_writes_nothing(capture, tmp_path, capsys):
    assert train(capture, tmp_path / "run", "--dry-run") == 0
    err = capsys.readouterr().err
    assert "plan: preset ci, steps: distil 12, warm-up 4, joint 14, screen 3" in err and not (tmp_path / "run").exists()


def test_a_field_that_is_too_far_from_the_prior_ends_the_run(capture, tmp_path, capsys):
    assert train(capture, tmp_path / "run", "--no-allow-bad-distill") == 2
    err = capsys.readouterr().err
    assert "the distilled field is too far from the prior" in err and "--allow-bad-distill" in err
    assert (tmp_path / "run" / "distill_report.json").is_file()


def test_short_presets_say_which_gates_they_miss_and_go_on(finished):
    assert {name for name, preset in PRESETS.items() if preset.allow_bad_distill} == {"fast", "short", "demo", "ci"}
    failures = json.loads((finished / "distill_report.json").read_text())["failures"]
    line = next(line for line in (finished / "log.txt").read_text().splitlines() if "misses its gates" in line)
    assert failures[0] in line and f"{len(failures)} gates missed in all" in line
    assert failures[0] in (finished / "report.html").read_text()


@pytest.mark.parametrize(
    "flags",
    [
        ("--method", "rig-bound", "--screen", "0"),
        ("--no-coarse",),
        ("--no-latents",),
        ("--heads",),
        ("--model.jacobian", "none", "--terms.laplacian.latent", "0"),
    ],
)
def test_rivals_and_parts_left_out_run_too(capture, tmp_path, flags):
    assert train(capture, tmp_path / "run", "--steps", "8", *flags) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["self_reenactment"]["full"]["psnr"] > 8


def test_presets_are_whole():
    names = {f.name for f in fields(Config)}
    for name, preset in PRESETS.items():
        config = Config.of_preset(name)
        assert {f.name for f in fields(preset)} <= names and config.joint == preset.joint
    shared = Config(steps=110, warm_up=20, joint=200, screen=0).stage_steps
    assert shared == {"warm-up": 10, "joint": 100, "screen": 0}


def test_shots_depend_on_the_step_alone(capture):
    frames = torch.tensor(capture.train_frames)
    shots = FrameShots(capture, frames, torch.zeros(len(frames), dtype=torch.long), (0, 1, 3, 4), 2, seed=3)
    first, again = shots(7), shots(7)
    assert torch.equal(first.views.photos, again.views.photos) and first.views.frame == again.views.frame
    assert len(first.views) == 2 and first.views.frame in capture.train_frames
    assert first.background is not None and torch.equal(first.background, again.background)
    outside = first.views.alphas == 0
    assert torch.allclose(first.views.photos[outside], first.background.expand(int(outside.sum()), 3))
    assert len({shots(i).views.names for i in range(12)}) > 4


def test_neutral_frames_are_the_nearest_in_standard_deviations():
    codes = torch.tensor([[0.0, 100.0], [3.0, 0.0], [0.1, 5.0], [1.0, 300.0]])
    assert neutral_frames(codes, torch.zeros(2), 0.25).tolist() == [2]
    assert neutral_frames(codes, torch.zeros(2), 0.5).tolist() == [0, 2]
