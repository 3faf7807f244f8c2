"""The flag --teacher: one word or two for a teacher of part maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gs_reg.errors import InputError, MissingPart, did_you_mean

from .attention import WordAttention
from .base import PartTeacher, TeacherSetting
from .clicks import Clicks
from .clipseg import ClipSeg
from .detector import Grounded
from .ensemble import Ensemble
from .files import MaskFiles
from .sam import Sam2, Sam3
from .truth import TruePartIds

FORMS = "sd3, clipseg, sam2, sam2:TEACHER, sam3, grounded, masks:DIR, gt:DIR, clicks, ensemble:A+B"


def make_teacher(flag: str, setting: TeacherSetting) -> PartTeacher:
    """The teacher of a flag, one of FORMS, with its weights loaded.

    sam2 is asked by the user's clicks, sam2:TEACHER at the peaks of another teacher's maps.

    Raises:
        InputError: no such teacher, or a folder that is not what it should be.
        MissingPart: weights that were not given, or a class that transformers lacks.
    """
    name, colon, rest = flag.strip().partition(":")
    if name in PLAIN and not colon:
        return PLAIN[name](setting)
    if name in FOLDERS and rest:
        return FOLDERS[name](Path(rest), setting)
    if name == "sam2" and rest:
        return Sam2(setting, make_teacher(rest, setting))
    if name == "ensemble" and rest:
        return Ensemble({member.strip(): make_teacher(member, setting) for member in rest.split("+")})
    known = [*PLAIN, *FOLDERS, "ensemble"]
    offer = did_you_mean(name, known) if name not in known else ""
    raise InputError(f"--teacher {flag}: expected one of {FORMS}{offer}")


def _word_attention(setting: TeacherSetting) -> PartTeacher:
    if setting.model is None:
        raise MissingPart("teacher sd3: expected --model with a folder of diffusers (SD3, SD3.5 or our small teacher)")
    return WordAttention(setting.model(), seed=setting.seed)


PLAIN: Mapping[str, Callable[[TeacherSetting], PartTeacher]] = {
    "sd3": _word_attention,
    "clipseg": ClipSeg,
    "sam2": Sam2,
    "sam3": Sam3,
    "grounded": Grounded,
    "clicks": Clicks,
}
FOLDERS: Mapping[str, Callable[[Path, TeacherSetting], PartTeacher]] = {"masks": MaskFiles, "gt": TruePartIds}
