"""Figures of a trained avatar by protocol, with the pictures and the video of its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.io.atomic import atomic_path
from gs_reg.models.avatar import Avatar
from gs_reg.priors.types import Part
from gs_reg.types import Views

from ..look.video import write_video
from .drawing import Head, as_bytes, device_of, draw, draw_posed, prepared_of
from .job import Job
from .protocols import Name, Protocol, evenly, jitter, measure, over_white, protocols
from .regions import region_masks
from .sources import ended

SHOWN = 4
"""Frames of each protocol whose pictures the report has."""
VIDEO_FPS = 24
TIMED = 20
"""Frames that are drawn to measure frames a second."""


def evaluate_avatar(job: Job, model: Head) -> dict[str, Any]:
    """Both protocols, each by mask; pictures into renders/, the held-out sequences into videos/."""
    found = protocols(job.source.capture, job.config.eval_frames)
    lpips, lpips_why = job.lpips
    out: dict[str, Any] = {}
    with job.times.stage("evaluation") as progress:
        for name, protocol in found.items():
            chosen = set(shown_frames(protocol))
            camera = shown_camera(job, protocol)

            def show(views: Views, image: Tensor, truth: Tensor, name=name, chosen=chosen, camera=camera) -> None:
                if views.frame in chosen:
                    row = camera[1]
                    stem = f"{job.source.capture.frame_names[views.frame or 0].replace('/', '_')}"
                    save_picture(job.run.path / "renders" / name / f"{stem}.png", image[row])
                    save_picture(job.run.path / "renders" / name / f"{stem}_photo.png", truth[row])

            out[name] = measure(
                lambda views: draw(model, views), job.source.capture, protocol, masks_of(job), lpips, progress, show
            )
            if isinstance(model, Avatar) and model.screen is not None:
                without = measure(
                    lambda views: draw(model, views, screen=False),
                    job.source.capture, protocol, masks_of(job), lpips, progress,
                )  # fmt: skip
                out[name]["without_screen_network"] = without
        if "self_reenactment" in found:
            out["self_reenactment"]["jitter_mm"] = jitter_of(job, model)
            progress("video", 0.9)
            write_held_out_video(job, model)
    out["lpips"] = lpips_why
    out["frames_per_second"] = frames_per_second(job, model)
    return out


def masks_of(job: Job) -> Callable[[Views], Any]:
    tracks, surface = job.source.capture.tracks, job.surface
    poses = tracks.pose.matrices()

    def masks(views: Views):
        assert views.frame is not None and views.alphas is not None
        return region_masks(surface, tracks.codes[views.frame], poses[views.frame], views.cameras, views.alphas)

    return masks


def shown_frames(protocol: Protocol) -> tuple[int, ...]:
    return evenly(protocol.frames, SHOWN)


def shown_camera(job: Job, protocol: Protocol) -> tuple[int, int]:
    """The most frontal camera of the protocol, and its row in it."""
    row = most_frontal(job, protocol.cameras)
    return protocol.cameras[row], row


def most_frontal(job: Job, cameras: tuple[int, ...]) -> int:
    """Row of the camera that the head of the first frame looks at most."""
    capture = job.source.capture
    pose = capture.tracks.pose
    gaze = pose.rotation[0, :, 2]
    away = torch.nn.functional.normalize(capture.cameras.centers[list(cameras)].to(gaze) - pose.translation[0], dim=1)
    return int((away @ gaze).argmax())


@torch.no_grad()
def draw_start(job: Job, model: Head) -> None:
    """Pictures of the avatar before the first step, beside which the report shows the trained one."""
    for name, protocol in protocols(job.source.capture, job.config.eval_frames).items():
        camera, _ = shown_camera(job, protocol)
        for frame in shown_frames(protocol):
            stem = job.source.capture.frame_names[frame].replace("/", "_")
            picture = draw(model, job.source.capture.views(frame, [camera]))[0]
            save_picture(job.run.path / "renders" / "start" / name / f"{stem}.png", picture)


@torch.no_grad()
def jitter_of(job: Job, model: Head) -> float | None:
    """Mean second difference of the face's Gaussians in the world over each held-out sequence, in millimetres."""
    capture, values = job.source.capture, []
    rows = face_rows(model)
    for name in capture.held_out_sequences:
        tracks = torch.stack([in_world(model, frame)[rows] for frame in capture.frames_of(name)])
        if (value := jitter(tracks)) is not None:
            values.append(1000 * value)
    return round(sum(values) / len(values), 4) if values else None


def face_rows(model: Head) -> Tensor:
    """Some hundred Gaussians of the face."""
    if isinstance(model, Avatar):
        face = torch.tensor([Part.SKIN, Part.LIP_UPPER, Part.LIP_LOWER]).to(model.part)
        rows = torch.isin(model.part, face).nonzero()[:, 0]
        rows = rows if len(rows) else torch.arange(len(model.means))
    else:
        rows = torch.arange(len(model.means), device=device_of(model))
    return rows[:: max(1, len(rows) // 400)]


def in_world(model: Head, frame: int) -> Float[Tensor, "N 3"]:
    """Centres at the tracked code and pose of a frame."""
    if isinstance(model, Avatar):
        return model.posed(model.code(frame), model.pose(frame)).means
    return model.posed(model.tracked[frame], model.world[frame, :3, :3], model.world[frame, :3, 3]).means


@torch.no_grad()
def write_held_out_video(job: Job, model: Head) -> Path:
    """Photo and avatar side by side over the held-out sequences."""
    capture = job.source.capture
    camera = capture.train_cameras[most_frontal(job, capture.train_cameras)]

    def frames():
        for frame in capture.test_frames:
            views = capture.views(frame, [camera])
            yield as_bytes(torch.cat([over_white(views)[0], draw(model, views)[0].cpu()], 1))

    path = job.run.path / "videos" / "self_reenactment.mp4"
    path.parent.mkdir(exist_ok=True)
    write_video(path, frames(), VIDEO_FPS)
    return path


@torch.no_grad()
def frames_per_second(job: Job, model: Head) -> float:
    """Of driven frames with changing codes, one camera, without input and output."""
    capture = job.source.capture
    camera = capture.cameras[capture.train_cameras[0]].to(device_of(model))
    poses, codes = capture.tracks.pose.matrices(), capture.tracks.codes
    frames = evenly(range(len(capture)), TIMED)
    prepared = prepared_of(model)
    draw_posed(model, codes[0], poses[0], camera, prepared=prepared)
    began = time.perf_counter()
    for frame in frames:
        draw_posed(model, codes[frame], poses[frame], camera, prepared=prepared)
    if device_of(model).type == "cuda":
        torch.cuda.synchronize()
    return round(len(frames) / (time.perf_counter() - began), 2)


def save_picture(path: Path, picture: Float[Tensor, "H W 3"]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(as_bytes(picture)).save(temporary, format="PNG")


def protocol_line(job: Job, model: Head, name: Name) -> str:
    """How a protocol's figures were measured, in one line."""
    capture, found = job.source.capture, protocols(job.source.capture, job.config.eval_frames)
    if name not in found:
        return f"{name}: nothing is held out for it"
    protocol = found[name]
    sequences = sorted({capture.sequence_of(frame).name for frame in protocol.frames})
    cameras = [capture.camera_names[c] for c in protocol.cameras]
    corrections = test_corrections(job, model)
    ends = ", codes within the ends of their channels" if bool(ended(job.source.prior).any()) else ""
    return (
        f"{name}: 1 subject, sequences {', '.join(sequences)}, {len(protocol.frames)} frames, "
        f"{len(cameras)} cameras ({', '.join(cameras)}), {capture.cameras.width}x{capture.cameras.height}, "
        f"masks full, head, face; white background; network in screen space "
        f"{'on' if isinstance(model, Avatar) and model.screen is not None else 'off'}; {len(model.means):,} Gaussians; "
        f"test codes and poses touched: {'YES' if corrections else 'no'}{ends}; seed {job.config.seed}"
    )


def test_corrections(job: Job, model: Head) -> bool:
    """Whether the code or pose of a held-out frame was changed."""
    frames = list(job.source.capture.test_frames)
    names = ("code_corrections", "pose_corrections") if isinstance(model, Avatar) else ("codes", "poses")
    return any(bool(getattr(model, name)[frames].any()) for name in names)
