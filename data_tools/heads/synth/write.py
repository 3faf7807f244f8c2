"""Draws a synthetic capture into a folder of NeRSemble's layout."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from gs_reg.cores import available_cores
from gs_reg.errors import InputError, did_you_mean
from gs_reg.priors import load_prior
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.mesh import MeshPrior
from gs_reg.types import Cameras

from ..nersemble import BROKEN_OFF
from ..read import check_prior_folder
from .config import SynthConfig
from .rig import rig
from .scene import Snapshot, SynthHead, lags, photograph
from .sequences import Motion, motion

DESCRIPTION = "synth.json"
"""Has its name once all is written."""
DRAWN = ("anny", "ict")
"""Priors whose mesh has a texture and follows ARKit's coefficients."""
GAZES = tuple((f"eyeLookIn{s}", f"eyeLookOut{s}", f"eyeLookUp{s}", f"eyeLookDown{s}") for s in ("Left", "Right"))


@dataclass(frozen=True)
class Progress:
    """Photos that are there, of all."""

    sequence: str
    done: int
    total: int


def synthesize(config: SynthConfig, folder: Path) -> Iterator[Progress]:
    """Writes the capture, photo by photo; the same config gives the same bytes.

    Raises:
        InputError: the folder is not empty, or the prior is no mesh with texture.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        begun = (folder / "calibration").is_dir() or (folder / BROKEN_OFF).is_file()
        broken_off = begun and not (folder / DESCRIPTION).is_file()
        remedy = "it holds a capture that was broken off: remove it" if broken_off else "choose another"
        raise InputError(f"{folder}: expected a new or an empty folder for the capture: {remedy}")
    prior = _prior_of(config)
    ident = prior.random_ident(config.seed)
    cameras = rig(config)
    head = SynthHead.build(config, prior, ident)
    folder.mkdir(parents=True, exist_ok=True)
    described = dataclasses.asdict(config) | {"licence": prior.licence}
    (folder / BROKEN_OFF).write_text(json.dumps(described, indent=1, default=str) + "\n")
    _write_calibration(folder / "calibration", cameras, config.serials)
    done, total = 0, len(config.sequences) * config.frames * len(cameras)
    cores = available_cores()
    pool = ThreadPoolExecutor(min(8, cores))
    try:
        for sequence in config.sequences:
            moves = motion(sequence, config.frames, config.seed)
            _write_track(folder, sequence, moves, config, prior, ident)
            for photo in _draw(pool, head, sequence, moves, cameras, config, folder):
                photo.result()
                done += 1
                yield Progress(sequence, done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    os.replace(folder / BROKEN_OFF, folder / DESCRIPTION)


def _prior_of(config: SynthConfig) -> MeshPrior:
    if config.prior not in DRAWN:
        near = did_you_mean(config.prior, DRAWN)
        raise InputError(f"--prior {config.prior}: expected {' or '.join(DRAWN)} for a synthetic capture{near}")
    check_prior_folder(config.prior, config.prior_folder)
    try:
        prior = load_prior(config.prior, config.prior_folder)
    except InputError as error:
        flag = " with --prior-folder" if config.prior_folder is None else ""
        raise InputError(f"{error}{flag}") from None
    assert isinstance(prior, MeshPrior)
    return prior


def _draw(
    pool: ThreadPoolExecutor,
    head: SynthHead,
    sequence: str,
    moves: Motion,
    cameras: Cameras,
    config: SynthConfig,
    folder: Path,
) -> list[Future[None]]:
    """Photos to come of one sequence; its true vertices are written."""
    surfaces, photos, place = [], [], folder / "sequences" / sequence
    for t, lag in enumerate(lags(moves.rotation)):
        snapshot = head.at(moves.arkit[t], moves.rotation[t], moves.translation[t], lag)
        surfaces.append(snapshot.surface)
        for c, serial in enumerate(config.serials):
            photos.append(pool.submit(_write_photo, head, snapshot, cameras[c], config, place, serial, t))
    _save(folder / "gt" / f"{sequence}_vertices.npz", vertices=np.stack(surfaces).astype(np.float32))
    return photos


def _write_photo(
    head: SynthHead, snapshot: Snapshot, camera: Cameras, config: SynthConfig, place: Path, serial: str, t: int
) -> None:
    from PIL import Image

    for kind, pixels in zip(("images", "alpha_maps"), photograph(head, snapshot, camera, config.samples), strict=True):
        path = place / kind / f"cam_{serial}" / f"frame_{t:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)


def _write_calibration(folder: Path, cameras: Cameras, serials: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    content = {
        "world_2_cam": {serial: cameras.viewmats[i].tolist() for i, serial in enumerate(serials)},
        "intrinsics": {serial: cameras.Ks[i].tolist() for i, serial in enumerate(serials)},
        "width": cameras.width,
        "height": cameras.height,
    }
    (folder / "camera_params.json").write_text(json.dumps(content, indent=1) + "\n")


def _write_track(
    folder: Path, sequence: str, moves: Motion, config: SynthConfig, prior: MeshPrior, ident: Float[Tensor, "I"]
) -> None:
    """codes.npz as an imperfect tracker gives it, and the truth below gt/."""
    from scipy.spatial.transform import Rotation

    frames = len(moves.arkit)
    r = np.random.default_rng([config.seed, 5, config.sequences.index(sequence)])
    wrong = Rotation.from_rotvec(np.radians(config.noise.rotation) * r.normal(size=(frames, 3))).as_matrix()
    away = 1e-3 * config.noise.translation * r.normal(size=(frames, 3))
    tracked = (moves.arkit + config.noise.codes * r.normal(size=moves.arkit.shape)).astype(np.float32)
    common = {"prior": config.prior, "ident": ident.numpy()}
    _save(
        folder / "sequences" / sequence / "codes.npz",
        z=_codes(prior, tracked),
        arkit=tracked,
        head_pose=_poses(moves.rotation @ wrong, moves.translation + away),
        gaze=_gaze(tracked),
        **common,
    )
    exact = moves.arkit.astype(np.float32)
    truth = {"z": _codes(prior, exact), "arkit": exact, "head_pose": _poses(moves.rotation, moves.translation)}
    _save(folder / "gt" / f"{sequence}_codes.npz", **truth, **common)


def _codes(prior: MeshPrior, arkit: Float32[ndarray, "T 52"]) -> Float32[ndarray, "T dim"]:
    codes = prior.from_arkit(torch.from_numpy(arkit))
    assert codes is not None
    return codes.numpy().astype(np.float32)


def _poses(rotation: Float[ndarray, "T 3 3"], translation: Float[ndarray, "T 3"]) -> Float[ndarray, "T 4 4"]:
    """world_from_head, metres."""
    poses = np.tile(np.eye(4), (len(rotation), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation, translation
    return poses


def _gaze(arkit: Float[ndarray, "T 52"]) -> Float[ndarray, "T 4"]:
    """Inwards and upwards of the left and of the right eye, in coefficients."""
    columns = [[arkit[:, ARKIT.index(name)] for name in names] for names in GAZES]
    return np.stack([part for i, o, u, d in columns for part in (i - o, u - d)], axis=1).astype(np.float32)


def _save(path: Path, **arrays: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
