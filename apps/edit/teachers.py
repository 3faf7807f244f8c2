"""The teacher of a job, and what it is asked."""

from __future__ import annotations

from dataclasses import replace

from gs_reg.diffusion.word_maps import TAU
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers import parse
from gs_reg.parts.teachers.base import PartTeacher, TeacherSetting
from gs_reg.parts.teachers.marks import parse_mark

from .config import PartsConfig
from .job import Job
from .scene import EditScene


def make_teacher(job: Job) -> PartTeacher:
    """Raises InputError or MissingPart, as the teacher does."""
    config = job.config
    setting = replace(
        setting_of(config, job.scene),
        splats=replace(job.scene.splats, extra={}).to(job.device),
        model=job.model if config.model is not None else None,
        device=job.device,
    )
    return parse.make_teacher(config.teacher, setting)


def setting_of(config: PartsConfig, scene: EditScene) -> TeacherSetting:
    """What a teacher may be given, without splats and model."""
    marks = tuple(map(parse_mark, config.clicks))
    return TeacherSetting(scene.views.names, marks=marks, folders=config.teacher_model, seed=config.seed)


def part_prompt(config: PartsConfig, taus: dict[str, float] | None = None, usual: float = TAU) -> PartPrompt:
    """With a temperature for every part where any has one; `taus` and `usual` are those of the teacher."""
    given = config.part_taus
    values = [
        (taus or {}).get(name, usual) if tau is None else tau
        for name, tau in zip(config.part_names, given, strict=True)
    ]
    return PartPrompt(config.object.strip(), config.part_names, () if not any(given) else tuple(values))
