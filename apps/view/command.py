"""`gs-reg view`: a run or a splat file in the browser."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.render import RenderConfig

from ..runs.devices import pick_device
from ..runs.progress import plural, say
from .edit.panel import EditPanel
from .edit.source import ShownEdit, open_edit
from .kinds import is_avatar, is_edit
from .panels.clean import CleanPanel
from .panels.path import add_path_panel
from .panels.photos import add_photo_panel
from .panels.picture import add_picture_panel
from .scene_page import ScenePage, choose_drawer
from .server import Address, served
from .source import open_shown


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


def add_panels(page: ScenePage, edit: ShownEdit | None = None) -> None:
    """The tabs of a scene."""
    tabs = page.server.gui.add_tab_group()
    if edit is not None:
        with tabs.add_tab("edit"):
            EditPanel(page, edit)
    with tabs.add_tab("picture"):
        add_picture_panel(page)
    if page.shown.photos:
        with tabs.add_tab("photos"):
            add_photo_panel(page)
    with tabs.add_tab("clean"):
        CleanPanel(page)
    with tabs.add_tab("path"):
        add_path_panel(page)


def main(config: Config) -> int:
    device = pick_device(config.device)
    if is_avatar(config.source):
        from .avatar.command import view_avatar

        return view_avatar(config.source, config.address, device, config.out)
    edit = open_edit(config.source, config.out) if is_edit(config.source) else None
    shown = open_shown(config.source, config.out) if edit is None else edit.shown
    drawer = choose_drawer(len(shown.splats), device) if config.draw == "auto" else config.draw
    with served(config.address, f"gs-reg: {shown.title}") as server:
        page = ScenePage(server, shown, drawer, device, config.render)
        add_panels(page, edit)
        say(f"{plural(len(shown.splats), 'Gaussian')}, drawn by the {drawer}")
        try:
            threading.Event().wait()
        finally:
            page.close()
    return 0
