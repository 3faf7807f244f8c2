"""`gs-reg view`: a run or a splat file in the browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.render import RenderConfig

from ..runs.devices import pick_device
from .server import Address


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Folder of a run (of a scene, an avatar or an edit), or a splat file."""
    address: Annotated[Address, tyro.conf.arg(name="")] = field(default_factory=Address)
    draw: Literal["auto", "browser", "server"] = "auto"
    """Who draws. browser: one colour a splat, whatever the direction; server: exactly, as pictures; auto: the browser,
    but the server for over 2 million splats, or half a million with CUDA."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the server draws."""
    out: Path | None = None
    """Folder for what is exported, saved and filmed; None = view/ in the run, or NAME-view here."""
    render: RenderConfig = field(default_factory=RenderConfig)


def main(config: Config) -> int:
    # here, so that --help is fast: the pages read avatars and edits, which is half of the library
    from .avatar.command import view_avatar
    from .kinds import is_avatar
    from .scene import view_scene

    device = pick_device(config.device)
    if is_avatar(config.source):
        return view_avatar(config.source, config.address, device, config.out)
    return view_scene(config, device)
