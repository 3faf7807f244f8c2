"""`gs-reg view` of a scene, a splat file or an edit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

from ..runs.progress import plural, say
from .edit.panel import EditPanel
from .edit.source import ShownEdit, open_edit
from .kinds import is_edit
from .panels.clean import CleanPanel
from .panels.path import add_path_panel
from .panels.photos import add_photo_panel
from .panels.picture import add_picture_panel
from .scene_page import ScenePage, choose_drawer
from .server import served
from .source import open_shown

if TYPE_CHECKING:
    from .command import Config


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


def view_scene(config: Config, device: torch.device) -> int:
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
