"""The tab of an edit: its parts, the mask of one, before and after."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gs_reg.sh import sh_to_rgb
from gs_reg.types import Cameras

from ...edit.preview import COLORS
from ...runs.progress import plural
from ..drawing import camera_of
from ..looks import UNLABELLED, draw_look, part_colors
from ..scene_page import ScenePage
from .picking import pick
from .source import ShownEdit

if TYPE_CHECKING:
    from viser import GuiEvent, SceneClickEvent

Show = Literal["after", "before", "parts", "mask"]
WORDS: dict[str, Show] = {"after the edit": "after", "before the edit": "before", "parts": "parts", "mask": "mask"}
FOUND: dict[str, Show] = {"splats": "before", "parts": "parts", "mask": "mask"}
"""Of a run that edited nothing."""
STRONG = 0.65
"""Share of a part's colour in its mask."""


class EditPanel:
    def __init__(self, page: ScenePage, edit: ShownEdit) -> None:
        self.page, self.edit = page, edit
        device = page.splats.means.device
        self.before = edit.before.to(device)
        self.ids, self.chances = edit.decision.ids.to(device), edit.decision.probabilities.to(device)
        self.names = edit.decision.names
        self.show: Show = "before" if edit.after is None else "after"
        self._colors: dict[Show, Tensor] = {"parts": part_colors(self.ids)}
        self._add(edit)
        page.server.scene.on_click()(page.status.guarded(self._clicked))

    @property
    def mask(self) -> Bool[Tensor, "N"]:
        """Gaussians whose probability of the chosen part is at least the threshold."""
        return self.chances[:, self.names.index(self.part.value)] >= self.threshold.value

    def draw(self, camera: Cameras, moving: bool) -> UInt8[np.ndarray, "H W 3"]:
        page = self.page
        colors = self._colors.get(self.show)
        splats = self.before if colors is None else replace(self.before, colors=colors[None])
        config = replace(page.config, supersample=1) if moving else page.config
        return draw_look(splats, camera, "colour", {}, page.background, config)

    def set_show(self, show: Show) -> None:
        self.show = show
        if show == "mask":
            inside = self.mask
            color = COLORS[(self.names.index(self.part.value) - 1) % len(COLORS)]
            self._colors["mask"] = mask_colors(sh_to_rgb(self.before.sh[:, 0]), inside, color)
            decided = int((self.ids == self.names.index(self.part.value)).sum())
            self._count.content = (
                f"{plural(int(inside.sum()), 'Gaussian')} at {self.threshold.value:.2f}; the run, at "
                f"{self.edit.threshold:g} and without islands: {decided:,}"
            )
        self.page.set_drawing(None if show == "after" else self.draw)

    def _add(self, edit: ShownEdit) -> None:
        gui, guarded = self.page.server.gui, self.page.status.guarded
        gui.add_markdown(edit.words)
        by_words = FOUND if edit.after is None else WORDS
        shown = gui.add_dropdown("show", tuple(by_words))
        gui.add_html(self._legend())
        parts = self.names[1:]
        self.part = gui.add_dropdown("part", parts, initial_value=edit.part if edit.part in parts else parts[0])
        hint = "Least probability with which a Gaussian belongs to the part: --threshold"
        self.threshold = gui.add_slider(
            "threshold", min=0.0, max=1.0, step=0.01, initial_value=edit.threshold, hint=hint
        )
        self._count = gui.add_markdown("")
        self.clicks = gui.add_checkbox("click picks a part", True)
        self._shown: Any = shown

        @shown.on_update
        @guarded
        def _(_: GuiEvent) -> None:
            self.set_show(by_words[shown.value])

        @guarded
        def preview(_: GuiEvent) -> None:
            if shown.value == "mask":
                self.set_show("mask")
            else:
                shown.value = "mask"

        self.part.on_update(preview)
        self.threshold.on_update(preview)

    def _legend(self) -> str:
        colors = [tuple(round(255 * value) for value in UNLABELLED), *(COLORS[i % len(COLORS)] for i in range(64))]
        rows = []
        for label, name in enumerate(self.names):
            count, color = int((self.ids == label).sum()), colors[label % len(colors)]
            square = f'<span style="color: rgb{color}">&#9632;</span>'
            rows.append(f"<div>{square} {html.escape(name)}: {plural(count, 'Gaussian')}</div>")
        return f'<div style="padding: 0 0.8em; font-size: 0.85em">{"".join(rows)}</div>'

    def _clicked(self, event: SceneClickEvent) -> None:
        if not self.clicks.value:
            return
        handle = event.client.camera
        camera = camera_of(handle, max(handle.image_width, 1), max(handle.image_height, 1))
        x, y = event.screen_pos
        found = pick(self.before, self.ids, len(self.names), camera, x, y, self.page.config)
        if found is None:
            self.page.status.say("nothing there")
            return
        self.page.status.say(f"**{self.names[found.label]}**, {found.share:.0%} of what is seen there")
        if found.label > 0:
            self.part.value = self.names[found.label]


def mask_colors(
    rgb: Float[Tensor, "N 3"], inside: Bool[Tensor, "N"], color: tuple[int, int, int]
) -> Float[Tensor, "N 3"]:
    """Grey outside the mask; inside tinted in this colour."""
    rgb = rgb.clamp(0, 1)
    grey = (0.35 + 0.5 * rgb.mean(1, keepdim=True)).expand(-1, 3)
    tinted = (1 - STRONG) * rgb + STRONG * torch.tensor(color).to(rgb) / 255
    return torch.where(inside[:, None], tinted, grey)
