"""Crop and clean-up: what is taken away disappears at once, and what is left can be saved as a file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from gs_reg.io import SUFFIXES, save_splats
from gs_reg.io.opening import some_of

from ...runs.progress import plural
from ..cleaning import Box, strayness
from ..files import target
from ..scene_page import ScenePage

if TYPE_CHECKING:
    from viser import GuiEvent, TransformControlsEvent

SMALLEST_SIDE, ANY = 0.01, 1.0
"""Of the box, in the unit of the page; a size of splats that stands for all."""
COLOR = (250, 170, 60)


def add_clean_panel(page: ScenePage) -> None:
    gui, guarded, splats = page.server.gui, page.status.guarded, page.splats
    _add_crop(page)
    opacity = gui.add_slider("opacity from", min=0.0, max=0.5, step=0.005, initial_value=0.0)
    size = gui.add_slider(
        "size up to", min=0.005, max=ANY, step=0.005, initial_value=ANY, hint="Of the longest axis; 1 = about the scene"
    )
    astray = gui.add_slider(
        "astray up to", min=1.0, max=20.0, step=0.5, initial_value=20.0, hint="Times the usual distance of neighbours"
    )
    name = gui.add_text("file", "cleaned.ply", hint=f"Ends with {', '.join(SUFFIXES)}")
    save = gui.add_button("save what is shown", hint=f"Into {page.shown.out}")
    measured: list = []
    measuring = threading.Lock()

    @opacity.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.restrict("opacity", splats.opacities >= opacity.value if opacity.value > 0 else None)

    @size.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.restrict("size", splats.scales.amax(1) <= size.value if size.value < ANY else None)

    @astray.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        with measuring:
            if not measured:
                page.status.say("measuring how far neighbours are ...")
                measured.append(strayness(splats))
        page.restrict("astray", measured[0] <= astray.value if astray.value < astray.max else None)

    @save.on_click
    @guarded
    def _(_: GuiEvent) -> None:
        shown, rows = page.shown, page.rows().cpu()
        path = target(shown.out, name.value, SUFFIXES)
        save_splats(path, shown.stored.rows(rows), offset=shown.offset)
        page.status.say(f"wrote {path}: {plural(int(rows.sum()), 'Gaussian')} of {len(rows):,}")


def _add_crop(page: ScenePage) -> None:
    gui, guarded, scene = page.server.gui, page.status.guarded, page.server.scene
    box = Box.around(some_of(page.splats.means))
    on = gui.add_checkbox("crop box", False, hint="Drag its arrows and arcs in the scene")
    least = np.full(3, SMALLEST_SIDE)
    sides = gui.add_vector3("box size", np.maximum(box.sides, least), min=least, step=0.01)
    reach = max(box.sides)
    gizmo = scene.add_transform_controls("/crop", scale=0.25 * reach, position=np.array(box.middle), visible=False)
    frame = scene.add_box("/crop/box", COLOR, dimensions=sides.value, wireframe=True)

    def apply() -> None:
        gizmo.visible = on.value
        frame.dimensions = sides.value
        box = Box(gizmo.wxyz.tolist(), gizmo.position.tolist(), sides.value)
        page.restrict("crop", box.holds(page.splats.means) if on.value else None)

    on.on_update(guarded(lambda _: apply()))
    sides.on_update(guarded(lambda _: apply()))

    @gizmo.on_update
    @guarded
    def _(event: TransformControlsEvent) -> None:
        if event.phase == "end":  # not for each step: what is left is sent to the browser whole
            apply()
