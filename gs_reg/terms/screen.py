"""Losses on pictures that the model cleans in screen space."""

from __future__ import annotations

from dataclasses import replace

from gs_reg.terms import Context


def cleaned(context: Context) -> Context:
    """The context with the picture that the model's screen-space network makes of it."""
    return replace(context, image=context.model.screen(context.image))
