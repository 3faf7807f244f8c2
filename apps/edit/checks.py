"""What a user's words are checked for before anything long starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gs_reg.diffusion.editors import open_editor, parse_editor
from gs_reg.errors import InputError, MissingPart, did_you_mean
from gs_reg.metrics import check_lpips
from gs_reg.parts.teachers import parse
from gs_reg.parts.teachers.lifting import Scenery
from gs_reg.parts.teachers.marks import check_marks, parse_mark
from gs_reg.parts.teachers.networks import check_networks

from ..view.live.flags import LiveConfig
from .config import Config, PartsConfig
from .presets import step_counts
from .scene import EditScene
from .teachers import part_prompt, setting_of


def check_parts(config: PartsConfig) -> None:
    """Raises InputError where the scene, the object or the parts are not said, or cannot be."""
    check_sizes(config)
    if not config.object.strip():
        raise InputError('--object: expected what the scene shows, such as "a photo of a mug"')
    names = [name.strip() for name in config.part_names]
    if not names or not all(names):
        raise InputError("--parts: expected names with commas between them, such as handle,rim,body")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--parts: {', '.join(twice)}: named twice")
    _ = config.part_taus
    check_teacher(config)
    if not 0 < config.threshold < 1:
        raise InputError(f"--threshold: expected a probability between 0 and 1, got {config.threshold:g}")


def check_sizes(config: PartsConfig) -> None:
    """Raises InputError where there is no scene, or its views cannot be of this number and size."""
    if not config.data:
        raise InputError("no scene named: expected the folder of a run or a splat file")
    if config.views < 1:
        raise InputError(f"--views: expected at least 1, got {config.views}")
    if config.size is not None and not 16 <= config.size <= 4096:
        raise InputError(f"--size: expected 16 to 4096 pixels, got {config.size}")


def check_teacher(config: PartsConfig) -> None:
    """Raises InputError or MissingPart where the teacher is none, or needs what is not named."""
    kinds = [word.partition(":")[0].strip() for word in _members(config.teacher)]
    for kind in kinds:
        if kind not in {*parse.PLAIN, *parse.FOLDERS}:
            offer = did_you_mean(kind, [*parse.PLAIN, *parse.FOLDERS])
            raise InputError(f"--teacher {config.teacher}: expected one of {parse.FORMS}{offer}")
    if config.labels is not None or config.resume:
        return
    if "sd3" in kinds and config.model is None:
        raise MissingPart(
            "--teacher sd3 reads the attention of a pipeline of diffusers: name its folder with --model; "
            "clicks and masks:DIR need none"
        )
    marks = tuple(map(parse_mark, config.clicks))
    for word in _members(config.teacher):
        kind, _, place = word.partition(":")
        if kind in parse.FOLDERS and not Path(place).is_dir():
            raise InputError(f"--teacher {word}: no such folder")
        check_networks(kind, config.teacher_model)
        if _is_asked_by_clicks(word, config):
            check_marks(marks, config.part_names, None)


def check_teacher_of(scene: EditScene, config: PartsConfig) -> None:
    """Raises InputError where clicks or files are not of the scene's views, or nothing is where was clicked."""
    if config.labels is not None or config.resume:
        return
    setting, prompt = setting_of(config, scene), part_prompt(config)
    for word in _members(config.teacher):
        if word.partition(":")[0] in parse.FOLDERS:
            parse.make_teacher(word, setting).prepare(prompt)
        if _is_asked_by_clicks(word, config):
            check_marks(setting.marks, prompt.parts, setting.views)
            scenery = Scenery.drawn(scene.splats.to(scene.views.cameras.viewmats.device), scene.views)
            for mark in setting.marks:
                scenery.points(mark)


def _is_asked_by_clicks(word: str, config: PartsConfig) -> bool:
    return word == "clicks" or (word == "sam2" and "sam2:" not in config.teacher)


def _members(teacher: str) -> list[str]:
    """The teachers that a flag names: one, those of an ensemble, or the one that sam2 asks."""
    kind, _, rest = teacher.strip().partition(":")
    if kind == "ensemble":
        return [one for word in rest.split("+") for one in _members(word)]
    return [kind, *_members(rest)] if kind == "sam2" and rest else [teacher.strip()]


def check_edit(config: Config) -> None:
    """Raises InputError where the part is none of the parts, or what it shall be is not said."""
    check_view_export(config)
    if config.remove and config.edit.strip():
        raise InputError("--remove with --edit: the part is taken away or changed; drop one of the two")
    if config.remove and config.shape:
        raise InputError("--remove with --shape: nothing is left whose shape could change; drop one of the two")
    if config.remove and config.live.view:
        raise InputError("--view: no effect: --remove fits nothing")
    if not 0 <= config.grow <= 2:
        raise InputError(f"--grow: expected 0 to 2 radii of the part, got {config.grow:g}")
    if config.grow > 0 and not config.shape:
        raise InputError("--grow without --shape: nothing could become larger; add --shape, or leave it out")
    if not config.remove and not config.edit.strip():
        raise InputError('--edit: expected what the part shall be, such as "a golden handle", or --remove')
    choice = parse_editor(config.editor)
    if config.model is None and not config.remove and (choice.needs_model or config.guidance.weight > 0):
        why = f"--editor {config.editor}" if choice.needs_model else f"guidance of --preset {config.preset}"
        instead = "--editor folder:DIR" if choice.needs_model else "--preset fast, or --guidance.weight 0,"
        raise InputError(f"--model: {why} runs on a pipeline of diffusers: name its folder; {instead} does without")
    if choice.kind == "folder":
        open_editor(choice, None)
    if not config.remove and sum(step_counts(config.steps, config.coarse, config.fine)) < 1:
        raise InputError("--steps: expected at least 1 step of optimising")
    check_lpips(config.lpips)


def check_view_export(config: Config) -> None:
    """Raises InputError where the part is none of the parts."""
    check_parts(config)
    names = config.part_names
    if not config.part.strip():
        raise InputError(f"--part: expected one of {', '.join(names)}")
    if config.part.strip() not in names:
        raise InputError(f"--part {config.part!r}: --parts has {', '.join(names)}{did_you_mean(config.part, names)}")


def with_absolute_paths(config: PartsConfig) -> PartsConfig:
    """The config as a run stores it: it can be continued from any folder."""
    files = ("cameras", "labels", "scores_questions")
    changes: dict[str, Any] = {
        name: value.resolve() for name in files if isinstance(value := getattr(config, name, None), Path)
    }
    for name in ("teacher_model", "scores_model", "lpips"):
        if hasattr(config, name):  # `edit parts` has no scores
            changes[name] = tuple(path.resolve() for path in getattr(config, name))
    for name in ("teacher", "editor"):
        kind, colon, place = str(getattr(config, name, "")).partition(":")
        if colon and Path(place).is_dir():
            changes[name] = f"{kind}:{Path(place).resolve()}"
    if config.model is not None and Path(config.model).is_dir():
        changes["model"] = str(Path(config.model).resolve())
    if isinstance(config, Config):
        changes["live"] = LiveConfig()
    data = str(Path(config.data).resolve())
    return replace(config, data=data, out=None, config=None, resume=False, json=False, **changes)
