"""Files of avatars and of what drives them: whole ones, and how they are read and used."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from gs_reg.apps import cli
from gs_reg.apps.avatar import bridges, sources
from gs_reg.apps.avatar.config import Config
from gs_reg.apps.avatar.distilling import distilled_field
from gs_reg.apps.avatar.drive import cameras_of
from gs_reg.apps.avatar.driven_by import HELD_OUT, Reading
from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.avatar.job import start
from gs_reg.apps.avatar.motions import motion_of, read_drive
from gs_reg.apps.avatar.player import from_rest, head_cameras
from gs_reg.apps.avatar.training import stages_of
from gs_reg.apps.runs.folder import Run
from gs_reg.apps.runs.training import Clock, open_training
from gs_reg.bake import BakeConfig, Baked, bake, load_basis, sampled_codes, save_basis
from gs_reg.bake.file import basis_notes
from gs_reg.driving import Calibration, fit_bridge
from gs_reg.io.avatar import AvatarInfo
from gs_reg.models.avatar.saving import save_avatar
from gs_reg.priors import ARKIT
from tests.apps.avatar.ball import stand_in
from tests.models.avatars import PRIOR, stirred, toy_avatar, track

FRAMES = 12


@cache
def avatar():
    made = toy_avatar(points=120, frames=FRAMES)
    stirred(made.detail, 0.1)
    return made


def make_avatar(root: Path) -> None:
    cameras = {
        "names": ["a", "b"],
        "held_out": ["b"],
        "size": [48, 36],
        "viewmats": torch.eye(4).expand(2, 4, 4).tolist(),
        "Ks": torch.tensor([[60.0, 0, 24], [0, 60, 18], [0, 0, 1]]).expand(2, 3, 3).tolist(),
        "frontal": 0,
    }
    details = {
        "unit_m": PRIOR.unit_m,
        "ident": None,
        "neutral": PRIOR.neutral.tolist(),
        "frame_names": list(track(FRAMES).names),
        "sequences": {"A": [0, 8], "B": [8, FRAMES]},
        "train_frames": list(range(8)),
        "held_out_sequences": ["B"],
        "cameras": cameras,
        "distil": None,
    }
    bounds = tuple(PRIOR.lo.tolist()), tuple(PRIOR.hi.tolist())
    save_avatar(root / "avatar", avatar(), AvatarInfo("toy", tuple(PRIOR.channels), *bounds, "CC0", "", details))


@torch.no_grad()
def use_avatar(root: Path) -> None:
    """As drive and export do, for one frame."""
    made = open_avatar(root, torch.device("cpu"))
    motion = motion_of(made, HELD_OUT, Reading(fps=12.0))
    assert torch.isfinite(motion.codes).all() and torch.isfinite(motion.pose.matrices()).all()
    cameras_of(made, "frontal", 1.0, 1)
    rest = motion.pose.matrices()[0].double()
    from_rest(rest, motion.pose.matrices().double())
    head_cameras(made, rest)
    posed = made.model.posed(motion.codes[0], motion.pose.matrices()[0])
    assert len(posed) == len(made.model.means)


def make_bridge(root: Path) -> None:
    make_avatar(root)
    random = torch.Generator().manual_seed(0)
    arkit = torch.rand(30, 52, generator=random)
    bridge = fit_bridge(arkit, arkit[:, : PRIOR.dim].contiguous())
    save_file(
        {name: tensor.contiguous() for name, tensor in bridge.tensors().items()}, root / "avatar" / bridges.BRIDGE
    )


def use_bridge(root: Path) -> None:
    made = open_avatar(root, torch.device("cpu"))
    codes = bridges.bridge_of(made, None)(torch.full((2, 52), 0.5))
    assert codes.shape == (2, PRIOR.dim) and codes.isfinite().all()


@cache
def basis():
    codes = sampled_codes(track(FRAMES).codes, 24)
    return bake(avatar().deformed, codes, PRIOR.neutral, PRIOR.channels, PRIOR.unit_m, BakeConfig(rank=3))


def make_bake(root: Path) -> None:
    save_basis(root / "avatar.gsbasis", basis(), {"psnr": 40.0})


def use_bake(root: Path) -> None:
    path = root / "avatar.gsbasis"
    read = load_basis(path)
    basis_notes(path)
    with torch.no_grad():
        assert len(Baked(read)(read.neutral)) == len(read.reference)


def make_table(root: Path) -> None:
    rows = [f"{i / 20:.3f},{0.05 * i:.3f},{0.02 * i:.3f},{0.01 * i:.3f},0.1" for i in range(8)]
    header = "time,jawOpen,EyeBlinkLeft,headYaw,leftEyeYaw"
    (root / "clip.csv").write_text("\n".join([header, *rows]) + "\n")
    stamps = [f"10:00:00:{i:02d},61,{0.05 * i:.3f}" for i in range(8)]
    (root / "live.csv").write_text("\n".join(["Timecode,BlendshapeCount,JawOpen", *stamps]) + "\n")


def use_table(root: Path) -> None:
    for name in ("clip.csv", "live.csv"):
        drive = read_drive(root / name, Reading())
        assert drive.arkit is not None and drive.arkit.isfinite().all() and drive.pose.matrices().isfinite().all()
        drive.resampled(24.0)


def make_skeleton(root: Path) -> None:
    joint = "{{ OFFSET 0 1 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n{}\n}}"
    end = "End Site\n{ OFFSET 0 0 1\n}"
    parts = "\n".join(f"JOINT {name}\n{joint.format(end)}" for name in ("Jaw", "LeftEye", "RightEye"))
    head = joint.format(f"JOINT Head\n{joint.format(parts)}")
    rows = "\n".join(" ".join(f"{3 * i % 17}.5" for _ in range(15)) for i in range(6))
    (root / "walk.bvh").write_text(f"HIERARCHY\nROOT Hips\n{head}\nMOTION\nFrames: 6\nFrame Time: 0.05\n{rows}\n")


def use_skeleton(root: Path) -> None:
    drive = read_drive(root / "walk.bvh", Reading())
    assert drive.arkit is not None and drive.arkit.isfinite().all() and drive.pose.matrices().isfinite().all()


def make_calibration(root: Path) -> None:
    arkit = torch.rand(20, len(ARKIT), generator=torch.Generator().manual_seed(0))
    Calibration.from_clip(arkit).save(root / "person.json")


def use_calibration(root: Path) -> None:
    assert Calibration.load(root / "person.json")(torch.full((2, 52), 0.3)).isfinite().all()


@contextmanager
def ball_for_a_head(root: Path) -> Iterator[None]:
    """The folder is a capture of a ball meanwhile."""
    whole = dict(vars(sources))
    stand_in(root)
    try:
        yield
    finally:
        vars(sources).update(whole)


def make_checkpoint(root: Path) -> None:
    """Of a run in the middle of its joint stage, and of its distilling."""
    flags = ["--preset", "ci", "--device", "cpu", "--distil.steps", "4", "--warm-up", "2", "--joint", "4"]
    flags += ["--screen", "0", "--checkpoint-every", "4", "--density.every", "6", "--out", str(root / "run"), "-q"]
    with ball_for_a_head(root):
        assert cli.main(["avatar", "train", str(root), *flags]) == 0
    shutil.rmtree(root / "run" / "checkpoints" / "step_000000006")


def use_checkpoint(root: Path) -> None:
    """As a resumed run does until its first step."""
    with ball_for_a_head(root):
        config = replace(Run(root / "run").config(Config), data=str(root), resume=True, out=root / "run")
        job = start(config, sources.open_source(str(root)), torch.device("cpu"))
        for _ in open_training(job.run, stages_of(job, distilled_field(job)), job.device, Clock()):
            break
