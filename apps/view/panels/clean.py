"""Crop and clean-up by the rules of `gs-reg clean`: what they remove disappears, and what is left can be saved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gs_reg.clean import CleanRules
from gs_reg.errors import InputError
from gs_reg.io import WRITABLE, format_of
from gs_reg.io.opening import some_of

from ...look.target import HTML, TARGETS, Writing, save
from ...runs.progress import plural
from ..cleaning import Box, kept_rows
from ..files import target
from ..scene_page import ScenePage
from ..wakeup import Worker

if TYPE_CHECKING:
    from viser import GuiApi, GuiEvent, GuiInputHandle, TransformControlsEvent

SMALLEST_SIDE = 0.01
"""Of the box, in the unit of the page."""
COLOR = (250, 170, 60)


class CleanPanel:
    def __init__(self, page: ScenePage) -> None:
        gui, guarded = page.server.gui, page.status.guarded
        self._page = page
        self._worker = Worker("clean", guarded(self._apply))
        self._add_crop()
        self._opacity = _limit(gui, "opacity from", 0.5, 0.005, "Fainter splats are taken away")
        hint = (
            "Splats below an opacity of 0.5 are taken away whose longest axis is above this share of the scene's "
            "radius; 0: none"
        )
        self._size = _limit(gui, "veils from", 2.0, 0.01, hint)
        hint = (
            "Splats are taken away whose 8 nearest are over so many of their own longest axes and of the usual "
            "distances away; 0: none"
        )
        self._isolated = _limit(gui, "isolated from", 50.0, 0.5, hint)
        usual = gui.add_button("usual limits", hint="Those of gs-reg clean")
        for slider in (self._opacity, self._size, self._isolated):
            slider.on_update(lambda _: self._worker.ask())
        self._name = gui.add_text("file", "cleaned")
        self._ending = gui.add_dropdown("format", TARGETS, initial_value=".ply")
        store = gui.add_button("save what is shown", hint=f"Into {page.shown.out}")
        usual.on_click(guarded(self._set_usual))
        store.on_click(guarded(self._save))
        self._worker.start()

    @property
    def rules(self) -> CleanRules:
        return CleanRules(self._opacity.value, self._size.value, self._isolated.value)

    def _set_usual(self, _: GuiEvent) -> None:
        rules = CleanRules()
        self._opacity.value, self._size.value, self._isolated.value = rules.min_opacity, rules.max_size, rules.isolated

    def _apply(self) -> None:
        """Called by one thread alone: neighbours of a million splats take seconds."""
        page = self._page
        inside = self._box.holds(page.splats.means) if self._box else None
        page.restrict("clean", kept_rows(page.splats, inside, self.rules))

    def _save(self, _: GuiEvent) -> None:
        """In the coordinates of the file, as `gs-reg convert` would write it."""
        page, ending = self._page, self._ending.value
        shown, rows = page.shown, page.rows().cpu()
        path = target(shown.out, f"{self._name.value.removesuffix(ending)}{ending}", (ending,))
        kept = replace(shown.opened, splats=shown.opened.splats.rows(rows))
        if not len(kept.splats):
            raise InputError("nothing is left to save")
        lines = [*save(path, kept, Writing(), shown.title)]
        if ending != HTML:  # which the terminal is told by save() itself
            lines += format_of(path, WRITABLE).lost(kept.splats.sh_degree, kept.render_mode, None)
        page.status.say("; ".join([f"wrote {path}: {plural(len(kept.splats), 'Gaussian')} of {len(rows):,}", *lines]))

    def _add_crop(self) -> None:
        page = self._page
        gui, guarded, scene = page.server.gui, page.status.guarded, page.server.scene
        box = Box.around(some_of(page.splats.means))
        on = gui.add_checkbox("crop box", False, hint="Drag its arrows and arcs in the scene")
        least = np.full(3, SMALLEST_SIDE)
        sides = gui.add_vector3("box size", np.maximum(box.sides, least), min=least, step=0.01)
        reach = max(box.sides)
        gizmo = scene.add_transform_controls("/crop", scale=0.25 * reach, position=np.array(box.middle), visible=False)
        frame = scene.add_box("/crop/box", COLOR, dimensions=sides.value, wireframe=True)
        self._box: Box | None = None

        def apply() -> None:
            gizmo.visible = on.value
            frame.dimensions = sides.value
            self._box = Box(gizmo.wxyz.tolist(), gizmo.position.tolist(), sides.value) if on.value else None
            self._worker.ask()

        on.on_update(guarded(lambda _: apply()))
        sides.on_update(guarded(lambda _: apply()))

        @gizmo.on_update
        @guarded
        def _(event: TransformControlsEvent) -> None:
            if event.phase == "end":  # not for each step: what is left is sent to the browser whole
                apply()


def _limit(gui: GuiApi, label: str, most: float, step: float, hint: str) -> GuiInputHandle[float]:
    """A slider from 0, where nothing is taken away."""
    return gui.add_slider(label, min=0.0, max=most, step=step, initial_value=0.0, hint=hint)
