"""The plugin under nerfstudio's real commands, each a process of its own, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gs_reg import load_splats, metrics, render
from gs_reg.apps.ns_plugin.bridge import read_nerfstudio, source_from_world, write_nerfstudio
from gs_reg.data_tools.dataset import load_views, read_dataset
from gs_reg.errors import InputError
from gs_reg.io.frames import transform_splats
from gs_reg.parts.store import LABELS_FILE, save_labels
from gs_reg.parts.types import Decision, LabelField
from gs_reg.types import Splats

from .conftest import SAVED, STEPS, run, train

pytest.importorskip("nerfstudio", reason="nerfstudio has a venv of its own: make test-nerfstudio")
pytestmark = pytest.mark.nerfstudio


def losses(folder: Path) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars("Train Loss")}


def drawn(splats: Splats, to_source: torch.Tensor, data: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Our renders of the held-out photos, and the photos, all by our own reader; splats are in nerfstudio's frame."""
    dataset = read_dataset(data)
    splats = transform_splats(torch.linalg.inv(dataset.source_from_world) @ to_source, splats)
    with torch.no_grad():
        return {
            view.names[0]: (render(splats, view.cameras).colors.clamp(0, 1), view.photos)
            for view in load_views(dataset, dataset.test)
        }


def test_trains_on_the_cpu_and_its_checkpoints_load_with_plain_values(trained):
    for step in (SAVED, STEPS - 1):
        saved = torch.load(trained.models / f"step-{step:09d}.ckpt", weights_only=True)
        assert saved["step"] == step
    by_step = losses(trained.config.parent)
    assert sorted(by_step) == list(range(STEPS))
    assert by_step[STEPS - 1] < by_step[0]


def test_a_resumed_run_has_the_losses_of_an_unbroken_one(trained, tmp_path):
    more = ("--load-dir", trained.models, "--load-step", SAVED)
    train("gs-reg", trained.data, tmp_path, STEPS - SAVED - 1, *more)
    resumed, whole = losses(tmp_path / "fox" / "gs-reg" / "t"), losses(trained.config.parent)
    assert sorted(resumed) == list(range(SAVED + 1, STEPS))
    assert resumed == pytest.approx({step: whole[step] for step in resumed}, abs=1e-5)


def test_psnr_is_ours(trained, tmp_path):
    run("ns-eval", "--load-config", trained.config, "--output-path", tmp_path / "eval.json")
    theirs = json.loads((tmp_path / "eval.json").read_text())["results"]
    found = read_nerfstudio(trained.config)
    pairs = drawn(found.splats, found.source_from_world, trained.data).values()
    assert len(pairs) == 2
    ours = torch.stack([metrics.psnr((image * 255).round() / 255, photo)[0] for image, photo in pairs])
    assert theirs["psnr"] == pytest.approx(float(ours.mean()), abs=0.02)
    assert "lpips" not in theirs


def test_the_exported_ply_drawn_by_us_is_their_picture(trained, tmp_path):
    from gs_reg.data_tools.photos.images import read_pixels

    run("ns-export", "gaussian-splat", "--load-config", trained.config, "--output-dir", tmp_path)
    words = ("--split", "test", "--rendered-output-names", "rgb", "--image-format", "png")
    run("ns-render", "dataset", "--load-config", trained.config, "--output-path", tmp_path / "drawn", *words)
    splats = load_splats(tmp_path / "splat.ply")
    pictures = drawn(splats, source_from_world(next(trained.models.glob("*.ckpt"))), trained.data)
    for name, (ours, _) in pictures.items():
        file = tmp_path / "drawn" / "test" / "rgb" / Path(name).with_suffix(".png").name
        theirs = torch.from_numpy(read_pixels(file, False, alpha=False)[..., :3].copy()).float() / 255
        assert float(metrics.psnr(ours, theirs[None])[0]) > 45, name


def test_interpolate_writes_a_video(trained, tmp_path):
    import imageio_ffmpeg

    # nerfstudio calls a program `ffmpeg`, which imageio-ffmpeg brings under another name
    (programs := tmp_path / "bin").mkdir()
    (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    words = ("--pose-source", "train", "--interpolation-steps", "2", "--output-path", tmp_path / "path.mp4")
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    run("ns-render", "interpolate", "--load-config", trained.config, *words, env=env)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "path.mp4"))[0] == 2 * (10 - 1)


def test_plain_splats_from_the_points_of_nerfstudio_data_grow_by_mcmc(small, tmp_path):
    said = train("gs-reg-free", small, tmp_path, 102, "nerfstudio-data", "--load-3D-points", "True")
    assert "300 Gaussians at the start (points)" in said
    found = read_nerfstudio(tmp_path / "fox" / "gs-reg-free" / "t")
    assert found.step == 101
    assert len(found.splats) == 315  # 5 % more after step 100


def test_a_run_of_ours_has_the_same_psnr_under_ns_eval_and_its_parts(small, tmp_path):
    words = ("--preset", "ci", "--steps", "6", "--out", tmp_path / "run")
    run("gs-reg", "reconstruct", small, *words, cwd=tmp_path)
    ours = json.loads((tmp_path / "run" / "result.json").read_text())["mean"]["psnr"]
    ids = label(tmp_path / "run" / "splats.ply", tmp_path / "parts")
    config = write_nerfstudio(tmp_path / "parts", tmp_path / "ns")
    saved = torch.load(next(config.parent.glob("nerfstudio_models/*")), weights_only=True)["pipeline"]
    assert torch.equal(saved["_model.part"], ids)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run("ns-eval", "--load-config", config, "--output-path", tmp_path / "eval.json", env=cache)
    theirs = json.loads((tmp_path / "eval.json").read_text())["results"]["psnr"]
    assert theirs == pytest.approx(ours, abs=0.02)
    (tmp_path / "parts" / "views.json").write_text('{"source": "alone.ply"}')
    with pytest.raises(InputError, match=r"of a run with photos, got those of alone\.ply"):
        write_nerfstudio(tmp_path / "parts", tmp_path / "other")


def label(splats: Path, folder: Path) -> torch.Tensor:
    """What `gs-reg edit parts` keeps of the parts of splats that lie in a run: here the left and the right ones."""
    ids = 1 + (load_splats(splats).means[:, 0] > 0).long()
    names, seen = ("background", "left", "right"), torch.ones(len(ids))
    shares = torch.nn.functional.one_hot(ids, 3).float()
    folder.mkdir()
    save_labels(folder / LABELS_FILE, LabelField(names, shares[:, None], seen), Decision(names, ids, shares, seen))
    (folder / "config.yaml").write_text("{}")
    (folder / "views.json").write_text(json.dumps({"source": str(splats)}))
    return ids


HEAVY = "transformers diffusers mediapipe pycolmap ray gs_reg.data_tools.dataset gs_reg.apps.scenes.config"


def test_methods_are_listed_without_a_compiler_and_load_nothing_heavy():
    script = (
        "import sys, nerfstudio.models.splatfacto, nerfstudio.data.dataparsers.nerfstudio_dataparser as _\n"
        "before = set(sys.modules)\n"
        "import gs_reg.apps.ns_plugin.config\n"
        f"print('heavy', sorted(set({HEAVY!r}.split()) & (set(sys.modules) - before)))\n"
        "from nerfstudio.plugins.registry import discover_methods\n"
        "from nerfstudio.plugins.registry_dataparser import discover_dataparsers\n"
        "print(sorted(discover_methods()[0]), sorted(discover_dataparsers()[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert done.returncode == 0, done.stderr
    assert "heavy []" in done.stdout
    assert "['gs-reg', 'gs-reg-free'] ['gs-reg-data']" in done.stdout


def test_a_broken_plugin_of_others_does_not_stop_gs_reg(tmp_path):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nerfstudio.method_configs]\nbroken = no_such_module:method\n")
    assert "gs-reg" in run("gs-reg", "version", env={"PYTHONPATH": str(tmp_path)})
