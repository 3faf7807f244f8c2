"""Data and runs that the tests of nerfstudio's commands share; all of it is made in the second venv alone."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

WIDTH, HEIGHT, PHOTOS = 90, 160, 12
STEPS, SAVED = 9, 4
"""Steps of the run that all look at, and the number of the step after which it saved, to be resumed from."""


def run(*words: object, **options) -> str:
    """A command of nerfstudio as a user types it; its output, and a failure with it where it fails."""
    program = Path(sys.executable).with_name(str(words[0]))
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **options.pop("env", {})}
    command = [str(program), *map(str, words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Trained:
    config: Path
    data: Path

    @property
    def models(self) -> Path:
        return self.config.parent / "nerfstudio_models"


@pytest.fixture(scope="session")
def small(real_data, tmp_path_factory) -> Path:
    """12 photos of fox at 90x160 with their distortion, two of them held out, and 300 points as PLY."""
    source = real_data / "fox"
    if not source.is_dir():
        pytest.skip(f"fox not found in {real_data}")
    folder = tmp_path_factory.mktemp("data") / "fox"
    (folder / "images").mkdir(parents=True)
    whole = json.loads((source / "transforms.json").read_text())
    scale = WIDTH / whole["w"]
    frames = [frame for frame in whole["frames"] if (source / frame["file_path"]).is_file()]
    frames = sorted(frames, key=lambda frame: frame["file_path"])[:PHOTOS]
    for frame in frames:
        with Image.open(source / frame["file_path"]) as photo:
            photo.resize((WIDTH, HEIGHT), Image.Resampling.BOX).save(folder / frame["file_path"], quality=95)
    names = [frame["file_path"] for frame in frames]
    held_out = [names[3], names[8]]
    rng = random.Random(0)
    points = [[rng.uniform(-1.5, 1.5) for _ in range(3)] for _ in range(300)]
    (folder / "points.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 300\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
        + "".join(f"{x} {y} {z} 120 90 60\n" for x, y, z in points)
    )
    kept = {key: whole[key] for key in ("k1", "k2", "p1", "p2")}
    scaled = {key: whole[key] * scale for key in ("fl_x", "fl_y", "cx", "cy")}
    split = {"train_filenames": [n for n in names if n not in held_out], "test_filenames": held_out}
    transforms = {**kept, **scaled, **split, "w": WIDTH, "h": HEIGHT, "ply_file_path": "points.ply"}
    transforms |= {"val_filenames": held_out, "camera_model": "OPENCV", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(transforms))
    return folder


@pytest.fixture(scope="session")
def trained(small, tmp_path_factory) -> Trained:
    """A run of `gs-reg` on the CPU, with a checkpoint on the way. Opaque from the start, so that pictures show it."""
    out = tmp_path_factory.mktemp("out")
    train("gs-reg", small, out, STEPS, "--pipeline.model.opacity", 0.5)
    return Trained(out / "fox" / "gs-reg" / "t" / "config.yml", small)


def train(method: str, data: Path, out: Path, steps: int, *more: object) -> str:
    # what stands behind the name of a dataparser is its own
    cut = next((i for i, word in enumerate(more) if str(word).endswith("-data")), len(more))
    words = ["--machine.device-type", "cpu", "--vis", "tensorboard", "--timestamp", "t", "--output-dir", out]
    words += ["--max-num-iterations", steps, "--steps-per-save", SAVED, "--save-only-latest-checkpoint", "False"]
    words += ["--logging.steps-per-log", 1, "--data", data, *more[:cut]]
    cache = {"XDG_CACHE_HOME": str(out.parent / "cache")}
    return run("ns-train", method, *words, *more[cut:], env=cache)
