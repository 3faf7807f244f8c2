"""`gs-reg view` of an avatar."""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from ...avatar.files import open_avatar
from ...runs.progress import plural, say
from ..server import Address, served
from .page import AvatarPage
from .panels import Controls


def view_avatar(source: Path, address: Address, device: torch.device, out: Path | None) -> int:
    avatar = open_avatar(source, device)
    out = out or avatar.folder.parent / "view"
    with served(address, f"gs-reg: {avatar.folder.resolve().parent.name}") as server:
        page = AvatarPage(server, avatar, out)
        controls = Controls(page)
        counts = plural(len(avatar.model.means), "Gaussian"), plural(len(avatar.info.channels), "channel")
        say(f"{counts[0]}, {counts[1]} of expression")
        try:
            threading.Event().wait()
        finally:
            controls.close()
            page.close()
    return 0
