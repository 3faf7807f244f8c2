"""Avatars as a linear basis, for players without networks: baking, files, error and a web page."""

from __future__ import annotations

from gs_reg.bake.bake import BakeConfig, bake, sampled_codes
from gs_reg.bake.basis import Baked, Basis
from gs_reg.bake.error import BakeError, bake_error
from gs_reg.bake.file import load_basis, save_basis
from gs_reg.bake.page import Playback, save_player

__all__ = [
    "BakeConfig",
    "BakeError",
    "Baked",
    "Basis",
    "Playback",
    "bake",
    "bake_error",
    "load_basis",
    "sampled_codes",
    "save_basis",
    "save_player",
]
