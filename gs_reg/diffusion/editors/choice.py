"""The flag --editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from gs_reg.errors import InputError

from ..loading import folder_of, look_into
from ..memory import choose_for_editor
from ..model import DiffusionModel
from ..slamp import SlampConfig
from .base import PartEditor
from .folder import FolderEditor
from .inpaint import InpaintConfig, InpaintEditor
from .slamp import SlampEditor

FORMS = "slamp, sd3-inpaint, diffusers:FOLDER or folder:DIR"


@dataclass(frozen=True)
class EditorChoice:
    kind: Literal["slamp", "sd3-inpaint", "diffusers", "folder"]
    path: str | None = None

    @property
    def needs_model(self) -> bool:
        """It runs on the teacher's own pipeline."""
        return self.path is None


def parse_editor(flag: str) -> EditorChoice:
    """`slamp`, `sd3-inpaint`, `diffusers:FOLDER`, `folder:DIR`.

    Raises:
        InputError: anything else.
    """
    if flag == "slamp":
        return EditorChoice("slamp")
    if flag == "sd3-inpaint":
        return EditorChoice("sd3-inpaint")
    kind, _, path = flag.partition(":")
    if path and kind == "diffusers":
        return EditorChoice("diffusers", path)
    if path and kind == "folder":
        return EditorChoice("folder", path)
    raise InputError(f"--editor {flag}: {FORMS}")


def open_editor(
    choice: EditorChoice,
    model: DiffusionModel | None,
    *,
    slamp: SlampConfig = SlampConfig(),
    inpaint: InpaintConfig = InpaintConfig(),
    device: torch.device | str = "cpu",
    vram_gb: float | None = None,
    allow_download: bool = False,
) -> PartEditor:
    """`model`: the teacher's, for editors that need it. `device` and `vram_gb`: for a pipeline of the editor's own.

    Raises:
        InputError: a folder that is none of its kind; no model for an editor that runs on it.
        MissingPart: weights that are not there.
    """
    if choice.kind == "folder":
        return FolderEditor(choice.path or "")
    if choice.kind == "diffusers":
        contents = look_into(folder_of(choice.path or "", allow_download))
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.float16
        mode = choose_for_editor(contents, dtype, torch.device(device), vram_gb)
        return InpaintEditor.of_folder(contents, device, dtype, inpaint, swapped=mode == "swapped")
    if model is None:
        raise InputError(f"--editor {choice.kind} runs on the model: --model FOLDER; or folder:DIR, diffusers:FOLDER")
    return SlampEditor(model, slamp) if choice.kind == "slamp" else InpaintEditor.of_model(model, inpaint)
