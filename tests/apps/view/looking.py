"""A browser that looks at a live page, without a browser: where its camera is, and what it was sent."""

from pathlib import Path
from typing import Any

import numpy as np
import viser

from gs_reg.io.checkpoint import latest


class Scene:
    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def set_background_image(self, picture: np.ndarray, **_: Any) -> None:
        self.pictures.append(picture)


class Camera:
    """Looks along +z from a little before the origin; it moves at every look."""

    fov, image_width, image_height = 0.8, 160, 120
    wxyz = np.array([1.0, 0, 0, 0])

    def __init__(self) -> None:
        self.looks = 0

    @property
    def position(self) -> np.ndarray:
        self.looks += 1
        return np.array([0.001 * self.looks, 0, -2.0])


class Client:
    def __init__(self) -> None:
        self.scene, self.camera = Scene(), Camera()

    def flush(self) -> None:
        pass


def looked_at(monkeypatch) -> Client:
    """From here on every page has this one client."""
    client = Client()
    monkeypatch.setattr(viser.ViserServer, "get_clients", lambda _: {0: client})
    return client


def weights(run: Path) -> bytes:
    """Of the last checkpoint."""
    newest = latest(run / "checkpoints")
    assert newest is not None
    return (newest / "model.safetensors").read_bytes()
