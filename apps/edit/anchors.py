"""Anchors of a job: the views whose pictures are edited, one after the other, each going on from those before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.data_tools.photos.images import read_pixels
from gs_reg.diffusion.editors import PartEditor, open_editor, parse_editor
from gs_reg.diffusion.judge import agreement
from gs_reg.errors import InputError
from gs_reg.parts.anchors import agreeing, agrees, choose_anchors, composite, nearer, reprojection_error, visibility
from gs_reg.parts.neutral import remove_prior
from gs_reg.parts.prompts import composed
from gs_reg.parts.types import Decision
from gs_reg.parts.views import dilated, part_views
from gs_reg.types import Splats, Views

from ..look.pictures import save_picture
from ..runs.progress import log
from .config import Config
from .job import Job, Progress
from .pictures import save_mask
from .presets import NEGATIVE

FILE = "anchors/anchors.json"
SEEDS = 1_000
"""Between the seeds of one try and the next."""
FEWEST = 2
Judge = Callable[[Views], float]


def edited_anchors(job: Job, decision: Decision) -> Views:
    """The anchors with their edited pictures and the masks of the part; from anchors/, where they are already."""
    config = cast(Config, job.config)
    chosen = decision.part(config.part).to(job.device)
    splats = replace(job.scene.splats, extra={}).to(job.device)
    if not (job.run.path / FILE).is_file():
        with job.stage("anchors") as progress:
            editor = make_editor(job)
            try:
                make_anchors(job, splats, chosen, editor, progress)
            finally:
                editor.close()
    kept = job.run.read_json(FILE)["kept"]
    rows = [job.scene.views.names.index(name) for name in kept]
    seen = anchors_seen(job, splats, chosen, rows)
    pictures = torch.stack([read_picture(job.run.path / "anchors" / f"{name}_after.png") for name in kept])
    return replace(seen, images=pictures.to(job.device), names=tuple(kept))


def anchors_seen(
    job: Job, splats: Splats, chosen: Bool[Tensor, "N"], rows: list[int], drawn: Splats | None = None
) -> Views:
    """These rows of the views, small parts from nearer, with the masks in which they are edited; pictures of `drawn`
    where other splats than those of the masks are to be seen."""
    config, scene = cast(Config, job.config), job.scene
    cameras, background = scene.views.cameras[torch.tensor(rows, device=job.device)], scene.background.to(job.device)
    if parse_editor(config.editor).kind != "folder":
        seen = with_room(part_views(splats, cameras, chosen, scene.render), config.grow)
        assert seen.masks is not None
        cameras = nearer(cameras, seen.masks, config.anchors.fill)
    seen = part_views(drawn or splats, cameras, chosen, scene.render, background)
    seen = replace(seen, images=seen.photos.clamp(0, 1), names=tuple(scene.views.names[i] for i in rows))
    return with_room(seen, config.grow)


def make_editor(job: Job) -> PartEditor:
    config = cast(Config, job.config)
    choice = parse_editor(config.editor)
    model = job.model() if choice.needs_model and config.model is not None else None
    options = {"slamp": config.slamp, "device": job.device, "vram_gb": config.vram_gb}
    return open_editor(choice, model, **options, allow_download=config.allow_download)


def anchor_views(job: Job, splats: Splats, chosen: Bool[Tensor, "N"], allowed: tuple[str, ...] | None) -> list[int]:
    """Rows of the views to edit, the one with the largest mask first; with a folder of pictures those that it has.

    Raises:
        InputError: there is none.
    """
    scene, config = job.scene, cast(Config, job.config)
    seen = part_views(splats, scene.views.cameras, chosen, scene.render)
    masks = seen.masks
    assert masks is not None
    if allowed is not None:
        rows = [i for i, name in enumerate(scene.views.names) if name in allowed and bool(masks[i].any())]
        if not rows:
            raise InputError(
                f"--editor {config.editor}: no picture is named like a view that shows the part; there are "
                f"{', '.join(scene.views.names[:4])} ... (`gs-reg edit views` writes them)"
            )
        return sorted(rows, key=lambda i: -int(masks[i].sum()))
    visible = visibility(splats, scene.views.cameras, chosen, scene.render)
    center = splats.means[chosen].median(0).values
    return list(choose_anchors(visible, masks, scene.views.cameras, center, config.anchors))


def make_anchors(job: Job, splats: Splats, chosen: Bool[Tensor, "N"], editor: PartEditor, progress: Progress) -> None:
    """Writes before, mask and after of each anchor, and anchors.json with those that agree with the first."""
    config = cast(Config, job.config)
    rows = anchor_views(job, splats, chosen, editor.views)
    start = splats if config.neutral == "none" else remove_prior(splats, chosen, config.neutral)
    drawn, before = anchors_seen(job, splats, chosen, rows, start), anchors_seen(job, splats, chosen, rows)
    prompt, negative, entries = anchor_prompt(job, config.edit), negative_words(job), {}
    judge = judge_of(job, prompt)
    made, done = [], []
    for i, name in enumerate(drawn.names):
        progress(f"anchor {i + 1}/{len(drawn)}", i / len(drawn))
        after, entry = edit_one(config, editor, drawn[i], done, prompt, negative, judge)
        entries[name] = entry
        made.append(after)
        assert drawn.masks is not None
        save_picture(job.run.path / "anchors" / f"{name}_before.png", before.photos[i])
        save_mask(job.run.path / "anchors" / f"{name}_mask.png", drawn.masks[i])
        save_picture(job.run.path / "anchors" / f"{name}_after.png", after.photos[0])
        if entry["kept"]:
            done.append(after)
    if 2 * len(done) < len(made):  # the first one stands alone: the largest group that agrees decides
        done = max(done, [made[i] for i in agreeing(made, config.anchors)], key=len)
        entries = {name: {**entry, "kept": any(name in v.names for v in done)} for name, entry in entries.items()}
    kept = [view.names[0] for view in done]
    for name in [name for name in entries if name not in kept]:
        log.warning("%s: its edit differs from the others where both show the part: left out", name)
    for note in editor.notes:
        log.warning("%s", note)
    if len(kept) < FEWEST <= len(rows):
        log.warning(
            "only %d of %d edited pictures agree with each other: the edit rests on it alone", len(kept), len(rows)
        )
    said = {"prompt": prompt, "negative": negative}
    job.run.write_json(FILE, {**said, "kept": kept, "views": entries, "notes": list(editor.notes)})


def with_room(views: Views, grow: float) -> Views:
    """The views with masks wider by that many radii of the part, as each of them shows it."""
    if grow == 0 or views.masks is None:
        return views
    pixels = [round(grow * math.sqrt(float(mask.sum()) / math.pi)) for mask in views.masks]
    return replace(views, masks=torch.cat([dilated(m[None], p) for m, p in zip(views.masks, pixels, strict=True)]))


def edit_one(
    config: Config,
    editor: PartEditor,
    view: Views,
    done: list[Views],
    prompt: str,
    negative: str,
    judge: Judge | None = None,
) -> tuple[Views, dict[str, object]]:
    """One view edited; where it does not agree with the first anchor, again with other seeds, then left out.

    Of the first anchor there are several candidates, where there is a judge. Pictures of the user's own are taken as
    they are: another seed does not change them.
    """
    assert view.masks is not None and view.depths is not None
    given = editor.views is not None
    picture, mask, start = view.photos[0], view.masks[0], 1.0
    if done and not given:
        picture, known = composite(done, view)
        if config.anchors.keep:
            mask = mask & ~known
        elif bool(known.any()):
            start = config.go_on
    reference = done[0].photos[0] if done else None

    def made(attempt: int) -> tuple[Views, int]:
        seed = config.seed + SEEDS * attempt
        words = (prompt, negative, reference, seed)
        assert view.depths is not None
        return replace(
            view, images=editor.edit(picture, mask, view.depths[0], *words, view=view.names[0], start=start)[None]
        ), seed

    if not done:
        tried = [made(attempt) for attempt in range(config.anchors.candidates if judge else 1)]
        liking = [judge(edit) for edit, _ in tried] if judge else [0.0]
        edited, seed = tried[liking.index(max(liking))]
        return edited, {"kept": True, "seed": seed, "error": None, **({"judged": liking} if judge else {})}
    edited, seed, error = view, config.seed, None
    for attempt in range(1 if given else 1 + config.retries):
        edited, seed = made(attempt)
        error = reprojection_error(edited, done[0])
        if given or agrees(edited, done[0], config.anchors):
            return edited, {"kept": True, "seed": seed, "error": error}
    return edited, {"kept": False, "seed": seed, "error": error}


def judge_of(job: Job, prompt: str) -> Judge | None:
    """By how much a picture says the edit's words rather than the part's name alone; None where no model is at hand
    or nothing is to be chosen."""
    config, model = cast(Config, job.config), job.loaded
    if model is None or config.anchors.candidates < 2 or parse_editor(config.editor).kind == "folder":
        return None
    plain = anchor_prompt(job, f"a {config.part}")

    def judge(view: Views) -> float:
        assert view.masks is not None
        return agreement(model, view.photos[0], view.masks[0], prompt, plain, config.seed)

    return judge


def anchor_prompt(job: Job, words: str) -> str:
    """What a picture of the edit shows; `words` say what the part is there."""
    edit = cast(Config, job.config).anchors.words == "edit"
    return f"a photo of {words.strip()}" if edit else edit_prompt(job, words)


def edit_prompt(job: Job, words: str | None = None) -> str:
    """The object with its parts, in which the words, default those of the edit, stand for the part."""
    config = cast(Config, job.config)
    words = (config.edit if words is None else words).strip()
    parts = tuple(words if name == config.part else name for name in config.part_names)
    whole = composed(config.object.strip(), parts, tuple(range(len(parts)))).text
    if job.loaded is not None and job.loaded.tokens(whole, {}, 0)[1] > job.loaded.longest_prompt:
        return composed(config.object.strip(), (words,), (0,)).text
    return whole


def negative_words(job: Job) -> str:
    """What the edited part shall not be, in words that the model knows."""
    config = cast(Config, job.config)
    if config.negative is not None:
        return config.negative
    its = None if job.loaded is None else job.loaded.settings.negative
    return NEGATIVE if its is None else its


def read_picture(path: Path) -> Tensor:
    """Pixels [H, W, 3] in [0, 1]."""
    return torch.from_numpy(read_pixels(path, upright=False, alpha=False).copy()).float() / 255
