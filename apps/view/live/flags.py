"""Flags of the commands that fit something, for the live page."""

from __future__ import annotations

from dataclasses import dataclass

from gs_reg.errors import InputError

from ..ports import check_port


@dataclass(frozen=True)
class LiveConfig:
    view: bool = False
    """Show the fit in the browser while it runs: picture, photos, curves, pause; the result is the same."""
    view_port: int | None = None
    """Exactly this port for --view, on this machine alone; None = the first free one from 8080 on."""

    def __post_init__(self) -> None:
        check_port("view_port", self.view_port)
        if self.view_port is not None and not self.view:
            raise InputError("view_port: no effect without --view")
