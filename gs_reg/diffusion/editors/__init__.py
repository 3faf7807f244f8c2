"""Editors of pictures inside a mask, behind one Protocol: SLaMP, inpainting pipelines, a folder of edited pictures."""

from .base import PartEditor
from .choice import EditorChoice, open_editor, parse_editor

__all__ = ["EditorChoice", "PartEditor", "open_editor", "parse_editor"]
