"""Photos of a run: cameras as frustums, jumps to them, and the photo laid over what is drawn from there."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8

from gs_reg.types import Cameras

from ...look.report.images import read_rgb
from ..navigation import position, quaternion
from ..scene_page import ScenePage
from ..source import Photo

if TYPE_CHECKING:
    from viser import ClientHandle, GuiEvent

THUMBNAIL = 160
"""Width in pixels."""
MOST_PICTURES = 200
"""Frustums beyond these have no picture, which would have to be sent to each browser."""
TRAINING, HELD_OUT = (90, 160, 250), (250, 170, 60)
SIZE = 0.08
"""Of a frustum, as a share of the distance of the scene."""


def add_photo_panel(page: ScenePage) -> None:
    gui, guarded, photos = page.server.gui, page.status.guarded, page.shown.photos
    names = {_label(photo): number for number, photo in enumerate(photos)}
    cameras = gui.add_checkbox("show cameras", False, hint="Blue: training, orange: held out. Click one to go there")
    size = gui.add_slider("camera size", min=0.2, max=5.0, step=0.1, initial_value=1.0)
    choice = gui.add_dropdown("photo", tuple(names))
    steps = gui.add_button_group("go to", ("previous", "this", "next"))
    share = gui.add_slider(
        "photo | render", min=0.0, max=1.0, step=0.01, initial_value=0.0, hint="How much of the picture is the photo"
    )
    frustums: list[Any] = []

    def go(client: ClientHandle | None, number: int) -> None:
        if client is None:
            return
        page.go(client, photos[number].camera)
        for at, frustum in enumerate(frustums):  # from inside, its picture would hide the scene
            frustum.visible = cameras.value and at != number

    @cameras.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        if not frustums:
            frustums.extend(_frustum(page, photo, number) for number, photo in enumerate(photos))
            for number, frustum in enumerate(frustums):
                frustum.on_click(guarded(functools.partial(clicked, number)))
        for frustum in frustums:
            frustum.visible = cameras.value

    def clicked(number: int, event: Any) -> None:
        choice.value = _label(photos[number])
        go(event.client, number)

    @size.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        for frustum in frustums:
            frustum.scale = SIZE * page.shown.distance * size.value

    @choice.on_update
    @guarded
    def _(event: GuiEvent) -> None:
        go(event.client, names[choice.value])

    @steps.on_click
    @guarded
    def _(event: GuiEvent) -> None:
        move = {"previous": -1, "this": 0, "next": 1}[steps.value]
        number = (names[choice.value] + move) % len(photos)
        choice.value = _label(photos[number])
        go(event.client, number)

    @share.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.set_overlay(wipe(photos, share.value) if share.value > 0 else None)


def _label(photo: Photo) -> str:
    return photo.name if photo.training else f"{photo.name} (held out)"


def _frustum(page: ScenePage, photo: Photo, number: int) -> Any:
    camera = photo.camera
    picture = None
    if photo.picture is not None and number < MOST_PICTURES:
        from PIL import Image

        image = Image.fromarray(read_rgb(photo.picture))
        image.thumbnail((THUMBNAIL, 4 * THUMBNAIL), Image.Resampling.BOX)
        picture = np.asarray(image)
    return page.server.scene.add_camera_frustum(
        f"/cameras/{number}",
        fov=2 * math.atan(camera.height / 2 / float(camera.Ks[0, 1, 1])),
        aspect=camera.width / camera.height,
        scale=SIZE * page.shown.distance,
        thickness=1.5,
        thickness_units="screen",
        color=TRAINING if photo.training else HELD_OUT,
        image=picture,
        wxyz=quaternion(camera),
        position=position(camera),
    )


def wipe(
    photos: tuple[Photo, ...], share: float
) -> Callable[[Cameras, UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "H W 3"]]:
    """Lays the left part of a photo over a picture from its camera; from elsewhere the picture stays as it is."""

    def over(camera: Cameras, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
        photo = next((photo for photo in photos if photo.picture and same_pose(photo.camera, camera)), None)
        if photo is None:
            return picture
        assert photo.picture is not None
        return laid_over(_pixels(photo.picture), photo.camera, camera, picture, share)

    return over


def same_pose(a: Cameras, b: Cameras) -> bool:
    """To what a browser's camera rounds: 1e-3 of the unit of the page, and radians."""
    return bool(torch.allclose(a.viewmats[0].float(), b.viewmats[0].float(), rtol=0, atol=1e-3))


def laid_over(
    source: UInt8[np.ndarray, "h w 3"],
    taken: Cameras,
    camera: Cameras,
    picture: UInt8[np.ndarray, "H W 3"],
    share: float,
) -> UInt8[np.ndarray, "H W 3"]:
    """The left `share` of a photo, `taken` by this camera, over a picture of another size from its pose."""
    import cv2

    at, to = taken.resized(source.shape[1], source.shape[0]).Ks[0].double(), camera.Ks[0].double()
    scale = [float(to[i, i] / at[i, i]) for i in range(2)]
    if min(scale) < 1:  # averaged down first, as warping takes single pixels
        width, height = (max(round(side * s), 1) for side, s in zip(source.shape[1::-1], scale, strict=True))
        at = at * torch.tensor([[width / source.shape[1]], [height / source.shape[0]], [1.0]], dtype=at.dtype)
        source = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
        scale = [float(to[i, i] / at[i, i]) for i in range(2)]
    # pixel centres lie at +0.5 for us, at 0 for OpenCV
    shift = [float(to[i, 2] - scale[i] * at[i, 2]) + 0.5 * scale[i] - 0.5 for i in range(2)]
    warp = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    size = picture.shape[1], picture.shape[0]
    kept = np.zeros(source.shape[:2], np.uint8)
    kept[:, : round(share * source.shape[1])] = 255
    warped = cv2.warpAffine(source, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(kept, warp, size, flags=cv2.INTER_NEAREST)
    return np.where(mask[..., None] > 0, warped, picture)


@functools.lru_cache(maxsize=8)
def _pixels(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    return read_rgb(path)
