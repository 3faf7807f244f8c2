"""The small teacher that comes with gs-reg: a folder of diffusers, made by `gs-reg teacher`."""

from __future__ import annotations

from pathlib import Path

SMALL = Path(__file__).parent / "weights"
"""Its model card says what it is for: procedural objects, never photos."""
