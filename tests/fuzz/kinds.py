"""Every kind of file that gs-reg reads: how one is made, which files of it are damaged, and how it is read."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gs_reg.apps import cli
from gs_reg.apps.batch.jobfile import read_jobs
from gs_reg.apps.batch.lockfile import Lock, lock_jobs, read_lock, write_lock
from gs_reg.apps.batch.paths import Digests
from gs_reg.apps.batch.shared import with_shared_parts
from gs_reg.apps.batch.states import Status, read_status, write_status
from gs_reg.apps.batch.sweep import read_plan
from gs_reg.apps.look.report import write_report
from gs_reg.apps.look.scene_file import read_scene, stored_splats
from gs_reg.apps.runs.config_file import default_from, dump_yaml
from gs_reg.apps.runs.folder import Run, open_run
from gs_reg.apps.runs.resume import check_same
from gs_reg.apps.runs.training import Clock
from gs_reg.apps.scenes.config import Config
from gs_reg.apps.scenes.depth_metrics import stored_depth
from gs_reg.apps.scenes.evaluate import read_timing
from gs_reg.apps.scenes.reconstruct import restore
from gs_reg.apps.scenes.unseen import without_filled
from gs_reg.data_tools.dataset import load_scene, read_dataset
from gs_reg.data_tools.depth.sources.files import FileMaps
from gs_reg.data_tools.flow.files import FileFlow
from gs_reg.data_tools.heads import ReadOptions, read_capture
from gs_reg.data_tools.photos.images import list_photos, read_header, read_mask, read_pixels
from gs_reg.data_tools.photos.names import file_stems
from gs_reg.data_tools.synthetic import Rig, box_and_sphere, write_transforms_json
from gs_reg.errors import MissingPart
from gs_reg.io import load_splats, read_tags, save_splats
from gs_reg.types import Views
from tests.data_tools import photosets, test_neus
from tests.data_tools.heads import folders as head_folders
from tests.data_tools.heads import test_readers
from tests.fuzz import avatar_kinds as avatars
from tests.io.splat_files import random_splats


@dataclass(frozen=True)
class Kind:
    make: Callable[[Path], object]
    """Fills an empty folder."""
    files: Sequence[str]
    """Patterns of the files that are damaged, one of them at a time."""
    read: Callable[[Path], object]


def scene(root: Path) -> None:
    dataset = read_dataset(root)
    assert all(torch.isfinite(frame.camera.viewmats).all() for frame in dataset.frames)
    for view in load_scene(dataset).views:
        assert torch.isfinite(view.photos).all() and torch.isfinite(view.cameras.Ks).all()


def plain_photos(root: Path) -> None:
    """The pictures alone: posing them takes seconds."""
    for path in list_photos(root):
        read_header(path)
        read_pixels(path, upright=True, alpha=True)
        read_mask(path, upright=True)


def make_pictures(root: Path) -> None:
    pixels = photosets.shoot(1)[0].pixels
    for name in ("a.png", "b.jpg", "c.tif", "d.webp", "e.bmp"):
        Image.fromarray(pixels).save(root / name)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(root / "f.png")
    Image.fromarray(pixels[..., 0].astype(np.float32) / 255).save(root / "g.tif")


def make_masked(root: Path) -> None:
    photosets.write_transforms(root, photosets.shoot(3))
    (root / "masks").mkdir()
    for shot in photosets.shoot(3):
        mask = np.full(shot.pixels.shape[:2], 255, np.uint8)
        mask[:5] = 0
        Image.fromarray(mask).save(root / "masks" / shot.name)


@cache
def two_views() -> tuple[Views, ...]:
    with tempfile.TemporaryDirectory() as folder:
        return load_scene(read_dataset(photosets.write_transforms(Path(folder), photosets.shoot(2)))).views


def make_maps(root: Path) -> None:
    (root / "png").mkdir()
    depth = np.linspace(2, 5, 36 * 48).reshape(36, 48)
    np.save(root / "shot_00.npy", depth.astype(np.float32))
    Image.fromarray((depth * 1000).astype(np.uint16)).save(root / "png" / "shot_00.png")
    np.save(root / "shot_00__shot_01.npy", np.dstack([depth, depth, depth > 3]).astype(np.float32))


def depth_npy(root: Path) -> None:
    for kind in ("metric", "disparity"):
        FileMaps(str(root), kind)(two_views()[0])


def depth_png(root: Path) -> None:
    FileMaps(str(root / "png"), "metric", png_scale=0.001)(two_views()[0])


def flow(root: Path) -> None:
    FileFlow(root)(*two_views())


def splats(name: str) -> Kind:
    def make(root: Path) -> None:
        save_splats(root / name, random_splats(300, degree=1), spz_version=3 if "3" in name else 4)

    def read(root: Path) -> None:
        read_tags(root / name)
        load_splats(root / name)

    return Kind(make, (name,), read)


FLAGS = ("--preset", "ci", "--train.steps", "2", "--free.train.steps", "3", "--free.densify.method", "mcmc", "-q")


def make_photos(root: Path) -> str:
    rig = Rig(width=48, height=36, cameras=3, held_out=1, samples=1)
    write_transforms_json(box_and_sphere(rig), root / "photos")
    return str(root / "photos")


@cache
def finished_run() -> tempfile.TemporaryDirectory:
    """A finished run, and its photos beside it; made once."""
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    words = ["reconstruct", make_photos(root), *FLAGS, "--checkpoint-every", "4", "--stop-after", "train"]
    assert cli.main([*words, "--out", str(root / "run")]) == 0 and cli.main(["eval", str(root / "run"), "-q"]) == 0
    write_report(root / "run")
    return folder


def make_run(root: Path) -> None:
    shutil.copytree(finished_run().name, root, dirs_exist_ok=True)
    (root / "dataset.json").write_bytes((root / "run" / "dataset.json").read_bytes())


def run_folder(root: Path) -> None:
    """All that eval, report, render and a resume read of a run, but for photos and checkpoints."""
    run = open_run(root / "run")
    config = run.config(Config)
    check_same(run, config, json.loads((root / "dataset.json").read_text())["photos"])
    stored = read_scene(run)
    for camera in stored.cameras.values():
        camera.resized(camera.width, camera.height).centers  # noqa: B018
    read_timing(run)
    stored_splats(run)
    stems = file_stems(stored.cameras)
    for name in stored.train:
        stored_depth(run, stems[name])
    run.drop_events_after(2)
    write_report(run.path)


def checkpoint(root: Path) -> None:
    """Resumes from it, and does a step."""
    run = Run(root / "run")
    config = run.config(Config)
    dataset = read_dataset(root / "photos", config.read)
    without_filled(run, load_splats(run.splats))
    training = restore(run, config, dataset, load_scene(dataset).views, Clock())
    for _ in training:
        break


def make_checkpoint(root: Path) -> None:
    """The one in the middle, of a stage that is not over."""
    make_run(root)
    shutil.rmtree(root / "run" / "checkpoints" / "step_000000005")


def plan(root: Path) -> None:
    settings = {"preset": "ci", "train": {"steps": 3}, "terms": {"l1": {"weight": 0.5}}}
    scenes = {"a": {"data": "photos"}, "b": {"data": "motorcycle", "seed": 3}}
    (root / "plan.yaml").write_text(
        json.dumps({"scenes": scenes, "variants": {"x": settings, "y": {}}, "seeds": [0, 1]})
    )


def job_file(root: Path) -> None:
    edits = {"object": "a mug", "parts": [{"name": "rim", "tau": 0.1}, {"name": "handle"}], "preset": "fast"}
    edits |= {"teacher": "clicks", "clicks": ["rim=a:1,2", "handle=a:2,1"], "editor": {"kind": "folder:pictures"}}
    (root / "pictures").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / "pictures" / "a.png")
    (root / "mug.ply").write_text("ply")
    fern = {"id": "fern", "kind": "reconstruct", "data": "motorcycle", "seeds": [0, 1], "train.steps": 3}
    gold = {"id": "gold", "kind": "edit", "scene": "mug.ply", "edit": {"part": "rim", "prompt": "{seed} golds"}}
    gold |= {"matrix": {"seed": [0, 1], "model_edit.lr_color": [0.1, 0.2]}, "retry": {"memory": 2}}
    page = {"id": "page", "kind": "export", "source": "{jobs.fern-seed0.out}", "to": "page.html", "needs": ["gold"]}
    text = {"schema": 1, "defaults": {"reconstruct": {"preset": "ci"}, "edit": edits}, "jobs": [fern, gold, page]}
    (root / "jobs.yaml").write_text(json.dumps(text | {"resources": {"memory_gb": 2, "minutes": 10}}, indent=1))


def batch_jobs(root: Path) -> tuple:
    try:
        return lock_jobs(with_shared_parts(read_jobs(root / "jobs.yaml")), Digests())
    except MissingPart:  # a teacher without its model: said as well as bad input is
        return ()


def batch_folder(root: Path) -> None:
    job_file(root)
    jobs = batch_jobs(root)
    write_lock(root, Lock(jobs), Digests())
    for job in jobs:
        write_status(job.folder(root), Status("failed", 1, failures=("killed",), reason="x"))


def read_batch(root: Path) -> None:
    """As status, resume and report do."""
    for job in read_lock(root).jobs:
        assert job.folder(root).resolve().is_relative_to(root) and (root / job.out).resolve().is_relative_to(root)
        read_status(job.folder(root))


def read_config(root: Path) -> None:
    """As --config does."""
    default_from(Config, ["--config", str(root / "config.yaml")])


def make_config(root: Path) -> None:
    (root / "config.yaml").write_text(dump_yaml(Config(data="motorcycle")))


def layout(write: Callable, *files: str, **options) -> Kind:
    return Kind(lambda root: write(root, photosets.shoot(4), **options), files, scene)


def make_head(root: Path) -> None:
    person = head_folders.nersemble_2(root, head_folders.Shoot(frames=2))
    matrices = {serial: np.eye(3, 10).tolist() for serial in head_folders.SERIALS}
    head_folders.save_json(person / "calibration" / "color_calibration.json", matrices)


def make_flame_head(root: Path) -> None:
    head_folders.benchmark(root, head_folders.Shoot(frames=3, sequences=("EMO-1",)))


def make_avatars(root: Path) -> None:
    head_folders.gaussian_avatars(root, head_folders.Shoot(frames=2))


def make_gha(root: Path) -> None:
    head_folders.gha(root, head_folders.Shoot(frames=2))


def head(root: Path) -> None:
    """A capture of a head, with all its pixels."""
    folder = root / "UNION" if (root / "UNION").is_dir() else root
    with tempfile.TemporaryDirectory() as cache:
        capture = read_capture(folder, ReadOptions(cache=Path(cache)), test_readers.Flame())
        assert torch.isfinite(capture.tracks.codes).all() and torch.isfinite(capture.tracks.pose.matrices()).all()
        assert torch.isfinite(capture.cameras.viewmats).all() and torch.isfinite(capture.cameras.Ks).all()
        for frame in range(len(capture)):
            capture.views(frame, range(len(capture.camera_names)))


SPLAT_FILES = ("a.ply", "a.compressed.ply", "a3.spz", "a4.spz", "a.splat", "a.sog", "a.glb")

KINDS: dict[str, Kind] = {
    "llff": layout(photosets.write_llff, "poses_bounds.npy"),
    "colmap_text": layout(photosets.write_old_colmap, "sparse/0/*.txt", text=True),
    "colmap_binary": layout(photosets.write_old_colmap, "sparse/0/*.bin", text=False),
    "colmap_rigs_text": layout(photosets.write_new_colmap, "sparse/0/*.txt", text=True),
    "colmap_rigs": layout(photosets.write_new_colmap, "sparse/0/*.bin", text=False),
    "transforms": layout(photosets.write_transforms, "transforms.json"),
    "neus": Kind(test_neus.write, ("cameras*.npz",), scene),
    "strecha": layout(photosets.write_strecha, "cameras/*.camera"),
    "middlebury_multiview": layout(photosets.write_temple, "temple_par.txt"),
    "middlebury_stereo": Kind(photosets.write_stereo, ("calib.txt", "im?.png"), scene),
    "photos": Kind(make_pictures, ("*.*",), plain_photos),
    "photos_of_a_scene": layout(photosets.write_transforms, "images/*.png"),
    "masks": Kind(make_masked, ("masks/*.png",), scene),
    "depth_npy": Kind(make_maps, ("shot_00.npy",), depth_npy),
    "depth_png": Kind(make_maps, ("png/*.png",), depth_png),
    "flow": Kind(make_maps, ("shot_00__shot_01.npy",), flow),
    **{name: splats(name) for name in SPLAT_FILES},
    "checkpoint": Kind(make_checkpoint, ("run/checkpoints/*/*",), checkpoint),
    "run": Kind(make_run, ("run/*.json", "run/*.jsonl", "run/config.yaml", "run/depths/*.npy"), run_folder),
    "config": Kind(make_config, ("config.yaml",), read_config),
    "heads": Kind(make_head, ("017/calibration/*.json", "017/sequences/*/codes.npz"), head),
    "heads_photos": Kind(make_head, ("017/sequences/*/*/*/*.png",), head),
    "heads_flame": Kind(make_flame_head, ("388/sequences/*/tracking/*.npz", "388/sequences/*/*/*.mp4"), head),
    "heads_avatars": Kind(make_avatars, ("UNION/*.json", "EMO-1/flame_param/*.npz"), head),
    "heads_gha": Kind(make_gha, ("cameras/*/*.npz", "params/*/*.npz"), head),
    "batch": Kind(job_file, ("jobs.yaml",), batch_jobs),
    "batch_folder": Kind(batch_folder, ("jobs.lock.json", "jobs/*/status.json"), read_batch),
    "avatar": Kind(avatars.make_avatar, ("avatar/*",), avatars.use_avatar),
    "avatar_bridge": Kind(avatars.make_bridge, ("avatar/bridge.safetensors",), avatars.use_bridge),
    "avatar_bake": Kind(avatars.make_bake, ("avatar.gsbasis",), avatars.use_bake),
    "avatar_checkpoint": Kind(
        avatars.make_checkpoint, ("run/checkpoints/*4/*", "run/distil/*4/*"), avatars.use_checkpoint
    ),
    "drive_csv": Kind(avatars.make_table, ("*.csv",), avatars.use_table),
    "drive_bvh": Kind(avatars.make_skeleton, ("walk.bvh",), avatars.use_skeleton),
    "calibration": Kind(avatars.make_calibration, ("person.json",), avatars.use_calibration),
    "sweep": Kind(plan, ("plan.yaml",), lambda root: read_plan(root / "plan.yaml")),
}
