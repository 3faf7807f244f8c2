"""From pictures to parts: the teacher's maps, the labels of Gaussians, and a preview of what was found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.io import save_splats
from gs_reg.io.atomic import atomic_path
from gs_reg.parts.decision import DecisionConfig, decide, masks
from gs_reg.parts.field import fit_field
from gs_reg.parts.store import LABELS_FILE, load_labels, save_labels
from gs_reg.parts.types import Decision, PartMaps

from ..runs.config_file import read_yaml, to_plain
from ..runs.progress import log, plural, say
from .job import Job, file_name
from .pictures import save_mask
from .preview import write_preview
from .renders import keep_renders
from .teachers import make_teacher, part_prompt

MAPS, PREVIEW = "maps.npz", "preview.png"
MOST = 0.8
"""Of the visible object: a part that covers more is a mistake of the teacher."""
RULE = "fit", "threshold", "island", "seed"
"""Settings by which labels follow from maps."""
FEWEST = 1e-4
"""Of the visible object: a part that covers less is not there."""
LOUD = 0.5
"""Alpha of a pixel that shows the object."""
REMEDY = (
    "try another --threshold, other words in --parts, --clicks on it, or masks of your own (--teacher masks:DIR); "
    f"{PREVIEW} shows what was found"
)


def find_parts(job: Job) -> Decision:
    """The decision for every Gaussian, with all its files; what is there already is read."""
    if job.config.keep_renders:
        keep_renders(job.run.path, job.scene.key, job.scene.views)
    path = job.run.path / LABELS_FILE
    if not path.is_file() and job.config.labels is not None:
        take_labels(job, job.config.labels)
    if path.is_file():
        return known_decision(path, len(job.scene.splats))
    maps = teacher_maps(job)
    with job.stage("labels") as progress:
        splats, cameras = replace(job.scene.splats, extra={}).to(job.device), job.scene.views.cameras
        near = job.scene.render
        settings = replace(job.config.fit, seed=job.config.seed, render=near)
        field = fit_field(
            splats, cameras, maps, settings, lambda what, done, total: progress(what, 0.8 * done / max(total, 1))
        )
        progress("deciding", 0.8)
        rule = DecisionConfig(threshold=job.config.threshold, island=job.config.island, render=near)
        decision = decide(splats, cameras, field, rule)
        progress("drawing", 0.9)
        shares = write_parts(job, decision, maps)
        job.run.write_json("parts.json", shares)
        save_labels(path, field, decision)
    for name, share in shares.items():
        say(f"  {name}: {plural(int(share['gaussians']), 'Gaussian')}, {share['visible']:.1%} of the visible object")
    return known_decision(path, len(job.scene.splats))


def known_decision(path: Path, count: int) -> Decision:
    """Raises InputError: broken, or of another number of splats."""
    decision = load_labels(path)[1]
    if len(decision.ids) != count:
        raise InputError(f"{path}: expected labels of {count} splats, got {len(decision.ids)}")
    return decision


def teacher_maps(job: Job) -> PartMaps:
    """What the teacher says of all views; from maps.npz, or that of --labels, where there is one.

    `find_parts` has made sure that --labels is of the same views.
    """
    path, views = job.run.path / MAPS, job.scene.views
    if not path.is_file() and job.config.labels is not None:
        shutil.copyfile(job.config.labels / MAPS, path)
    if path.is_file():
        return read_maps(job)
    assert views.alphas is not None
    with job.stage("maps") as progress:
        teacher = make_teacher(job)
        try:
            progress("preparing", 0.0)
            teacher.prepare(part_prompt(job.config))
            progress(plural(len(views), "view"), 0.1)
            maps = teacher.maps(views.photos, views.alphas, views.cameras)
        finally:
            teacher.close()
        job.run.write_json("teacher.json", {"teacher": job.config.teacher, **teacher.notes})
        maps.save(path)
    return read_maps(job)  # as a resumed run does: of 8 bits


def take_labels(job: Job, folder: Path) -> None:
    """Copies maps, labels, masks and preview of another run, where it decided by the same rule."""
    check_same_views(job, folder)
    theirs, mine = read_yaml(folder / "config.yaml"), to_plain(job.config)
    if not (folder / LABELS_FILE).is_file() or any(theirs.get(name) != mine[name] for name in RULE):
        return
    with job.stage("labels") as progress:
        progress(f"from {folder}", 0.5)
        for name in ("parts", "masks"):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, job.run.path / name, dirs_exist_ok=True)
        for name in (MAPS, "parts.json", PREVIEW, LABELS_FILE):  # labels last: with these, all is there
            with atomic_path(job.run.path / name) as temporary:
                shutil.copyfile(folder / name, temporary)


def read_maps(job: Job) -> PartMaps:
    maps = PartMaps.load(job.run.path / MAPS)
    return PartMaps(maps.names, maps.maps.to(job.device), maps.weights.to(job.device))


def check_same_views(job: Job, folder: Path) -> None:
    """Raises InputError where the maps in another run are of other views, parts or splats."""
    from ..runs.folder import open_run

    other = open_run(folder)
    theirs, mine = other.read_json("views.json"), job.run.read_json("views.json")
    for name in ("source_sha256", "size", "views"):
        if theirs.get(name) != mine[name]:
            raise InputError(f"--labels {folder}: of other splats or views ({name} differs): leave it out")
    names = PartMaps.load(folder / MAPS).names
    if names != job.config.part_names:
        raise InputError(f"--labels {folder}: its parts are {','.join(names)}: give these as --parts, or leave it out")


def write_parts(job: Job, decision: Decision, maps: PartMaps) -> dict[str, dict[str, float]]:
    """parts/*.ply, masks/<view>/<part>.png and preview.png; returns the size of each part."""
    scene, shares, drawn = job.scene, {}, []
    for name in decision.names[1:]:
        chosen = decision.part(name).cpu()
        mask = masks(scene.splats.to(job.device), scene.views.cameras, chosen.to(job.device), scene.render).cpu()
        drawn.append(mask)
        shares[name] = {"gaussians": int(chosen.sum()), "visible": visible_share(mask, scene.views.alphas)}
        if chosen.any():
            save_splats(job.run.path / "parts" / f"{file_name(name)}.ply", scene.splats.rows(chosen))
        for view, picture in zip(scene.views.names, mask, strict=True):
            save_mask(job.run.path / "masks" / view / f"{file_name(name)}.png", picture)
    write_preview(job.run.path / PREVIEW, scene.views, decision.names[1:], torch.stack(drawn, 1), maps.maps.cpu())
    return shares


def visible_share(mask: Bool[Tensor, "C H W"], alphas: Float[Tensor, "C H W"] | None) -> float:
    """Of the object's pixels over all views, those in the mask."""
    assert alphas is not None
    solid = alphas.cpu() >= LOUD
    return float((mask & solid).sum() / solid.sum().clamp_min(1))


def check_part(job: Job, decision: Decision, part: str) -> None:
    """Raises InputError where the part is empty or nearly everything."""
    shares = job.run.read_json("parts.json")[part]
    if not decision.part(part).any() or shares["visible"] < FEWEST:
        raise InputError(f"{job.run.path}: part {part!r} is empty: {REMEDY}")
    if shares["visible"] > MOST:
        raise InputError(
            f"{job.run.path}: part {part!r} is {shares['visible']:.0%} of the visible object: no part is: {REMEDY}"
        )


def warn_of_parts(job: Job, decision: Decision) -> None:
    """Warns of each part that an edit would refuse; raises InputError where it would refuse them all."""
    refused = []
    for part in decision.names[1:]:
        try:
            check_part(job, decision, part)
        except InputError as error:
            refused.append(error)
            log.warning("%s", error)
    if len(refused) == len(decision.names) - 1:
        raise refused[0]
