"""The families of objects: each makes a random shape of solids with named parts. +y is up, the front looks along +z."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .solids import Array, Kind, Solid

PARTS: dict[str, tuple[str, ...]] = {
    "mug": ("rim", "handle", "body"),
    "lamp": ("stem", "base", "shade"),
    "chair": ("legs", "seat", "back rest"),
    "bottle": ("screw cap", "neck", "label", "body"),
    "robot": ("antenna", "head", "arms", "legs", "torso"),
    "face": ("eyes", "nose", "mouth", "hair", "skin"),
    "car": ("headlights", "wheels", "windows", "body"),
    "house": ("chimney", "door", "roof", "walls"),
    "plant": ("stem", "pot", "leaves"),
    "dispenser": ("collar", "pump head", "container"),
    "rocket": ("porthole", "nose cone", "fins", "fuselage"),
    "teapot": ("lid", "spout", "handle", "body"),
}
"""Names of the parts of each family, small ones first."""

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Object:
    """A shape of a family inside the unit ball, without colours. Part ids count from 1 in the order of PARTS."""

    family: str
    seed: int
    solids: tuple[Solid, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS[self.family]


def make_object(family: str, seed: int) -> Object:
    """The shape of a family that belongs to a seed."""
    build = Builder(PARTS[family], np.random.default_rng([seed, list(PARTS).index(family)]))
    _BUILD[family](build, build.uniform)
    corners = np.concatenate([solid.corners() for solid in build.solids])
    middle = (corners.min(0) + corners.max(0)) / 2
    rng = np.random.default_rng(0)
    reach = max(np.linalg.norm(solid.sample(400, rng)[0] - middle, axis=-1).max() for solid in build.solids)
    return Object(family, seed, tuple(solid.moved(1 / reach, middle) for solid in build.solids))


class Builder:
    """Collects solids under the names of their parts."""

    def __init__(self, parts: tuple[str, ...], rng: np.random.Generator):
        self.parts, self.rng = parts, rng
        self.solids: list[Solid] = []

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _add(self, kind: Kind, part: str, matrix: Array, center: Array, ratio: float = 1.0) -> None:
        self.solids.append(Solid(kind, self.parts.index(part) + 1, matrix, np.asarray(center, float), ratio))

    def ball(self, part: str, center: Point, radii: Point, tilt: float = 0.0, yaw: float = 0.0) -> None:
        """Tilted about z, then turned about y, in radians."""
        self._add("ball", part, _turn(tilt, yaw) @ np.diag(radii), np.array(center))

    def box(self, part: str, center: Point, half: Point, tilt: float = 0.0, yaw: float = 0.0) -> None:
        self._add("box", part, _turn(tilt, yaw) @ np.diag(half), np.array(center))

    def tube(self, part: str, start: Point, end: Point, radius: float, end_radius: float | None = None) -> None:
        a, b = np.array(start, float), np.array(end, float)
        end_radius = radius if end_radius is None else end_radius
        length = np.linalg.norm(b - a)
        matrix = _frame((b - a) / length) * np.array([radius, length / 2, radius])
        self._add("frustum", part, matrix, (a + b) / 2, end_radius / radius)

    def ring(self, part: str, center: Point, axis: Point, radii: tuple[float, float], tube: float) -> None:
        """`radii`: of the middle of the tube along the two directions across the axis."""
        wide = max(radii)
        matrix = _frame(np.array(axis, float)) * np.array([radii[0], wide, radii[1]])
        self._add("ring", part, matrix, np.array(center), tube / wide)


def _turn(tilt: float, yaw: float) -> Float[Array, "3 3"]:
    c, s = np.cos(tilt), np.sin(tilt)
    cy, sy = np.cos(yaw), np.sin(yaw)
    return np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _frame(axis: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """A rotation that takes y to the unit vector `axis`."""
    other = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 0, 1.0])
    x = other - axis * (other @ axis)
    x /= np.linalg.norm(x)
    return np.stack([x, axis, np.cross(x, axis)], -1)


Uniform = Callable[[float, float], float]


def _mug(b: Builder, u: Uniform) -> None:
    r, h, top = u(0.5, 0.72), u(0.5, 0.8), u(0.88, 1.15)
    b.tube("body", (0, -h, 0), (0, h, 0), r, r * top)
    b.ring("rim", (0, h, 0), (0, 1, 0), (r * top, r * top), u(0.09, 0.14))
    wide = u(0.3, 0.4)
    b.ring("handle", (r * (1 + top) / 2 + 0.1, 0, 0), (0, 0, 1), (wide, wide * u(1.0, 1.3)), u(0.09, 0.13))


def _lamp(b: Builder, u: Uniform) -> None:
    bottom, top = u(-0.9, -0.7), u(0.05, 0.25)
    base = u(0.35, 0.5)
    b.tube("base", (0, bottom, 0), (0, bottom + u(0.12, 0.22), 0), base, base * u(0.5, 1.0))
    b.tube("stem", (0, bottom, 0), (0, top + 0.1, 0), u(0.06, 0.1))
    wide = u(0.5, 0.7)
    b.tube("shade", (0, top, 0), (0, top + u(0.55, 0.75), 0), wide, wide * u(0.4, 0.8))


def _chair(b: Builder, u: Uniform) -> None:
    w, d, low, thick, leg = u(0.42, 0.56), u(0.42, 0.52), u(-0.85, -0.65), u(0.06, 0.11), u(0.06, 0.1)
    for x in (-1, 1):
        for z in (-1, 1):
            spread = u(1.0, 1.02)
            b.tube(
                "legs", (x * (w - leg) * spread, low, z * (d - leg)), (x * (w - leg), 0, z * (d - leg)), leg * 0.8, leg
            )
    b.box("seat", (0, 0, 0), (w, thick, d))
    high = u(0.35, 0.48)
    b.box("back rest", (0, thick + high, -d + 0.07), (w * u(0.85, 1.0), high, u(0.06, 0.1)))


def _bottle(b: Builder, u: Uniform) -> None:
    r, h, neck = u(0.32, 0.46), u(0.45, 0.65), u(0.13, 0.19)
    b.tube("body", (0, -h, 0), (0, h * 0.6, 0), r)
    b.tube("body", (0, h * 0.6, 0), (0, h * 0.6 + 0.18, 0), r, neck)
    y = h * 0.6 + 0.18
    long = u(0.22, 0.35)
    b.tube("neck", (0, y - 0.02, 0), (0, y + long, 0), neck, neck * u(0.8, 1.0))
    b.tube("screw cap", (0, y + long, 0), (0, y + long + u(0.16, 0.26), 0), neck * u(1.15, 1.45))
    low, high = -h * u(0.5, 0.75), h * u(0.1, 0.35)
    b.tube("label", (0, low, 0), (0, high, 0), r * 1.03)


def _robot(b: Builder, u: Uniform) -> None:
    w, h, d = u(0.26, 0.36), u(0.26, 0.36), u(0.18, 0.26)
    b.box("torso", (0, 0, 0), (w, h, d))
    head = u(0.19, 0.26)
    b.box("head", (0, h + 0.05 + head * 0.8, 0), (head * u(0.9, 1.2), head * 0.8, head * 0.9))
    top = h + 0.05 + head * 1.6
    b.tube("antenna", (0, top, 0), (0, top + u(0.12, 0.2), 0), 0.05)
    b.ball("antenna", (0, top + 0.22, 0), (0.1, 0.1, 0.1))
    leg, arm = u(0.1, 0.14), u(0.08, 0.12)
    for x in (-1, 1):
        b.tube("legs", (x * w * 0.55, -h - u(0.4, 0.55), 0), (x * w * 0.55, -h, 0), leg)
        lift = u(-0.3, 0.25)
        end = (x * (w + arm + 0.3), h * 0.6 - 0.35 + lift, 0.0)
        b.tube("arms", (x * (w + arm * 0.5), h * 0.6, 0), end, arm)
        b.ball("arms", end, (arm * 1.25, arm * 1.25, arm * 1.25))


def _face(b: Builder, u: Uniform) -> None:
    w, h, d = u(0.58, 0.7), u(0.72, 0.85), u(0.62, 0.72)
    b.ball("skin", (0, 0, 0), (w, h, d))
    b.ball("hair", (0, h * u(0.22, 0.32), -d * u(0.22, 0.32)), (w * u(1.08, 1.22), h * u(0.88, 0.98), d * 1.06))
    size, apart, y = u(0.12, 0.17), w * u(0.4, 0.5), h * u(0.0, 0.1)
    for x in (-1, 1):
        b.ball("eyes", (x * apart, y, _front(x * apart / w, y / h) * d), (size, size * u(0.75, 1.0), size * 0.6))
    y = -h * u(0.2, 0.28)
    b.ball("nose", (0, y, _front(0, y / h) * d + 0.05), (u(0.1, 0.15), u(0.14, 0.2), u(0.14, 0.22)))
    y = -h * u(0.55, 0.63)
    b.ball("mouth", (0, y, _front(0, y / h) * d), (u(0.2, 0.3), u(0.08, 0.11), 0.1))


def _front(x: float, y: float) -> float:
    """z on the unit ball."""
    return float(np.sqrt(max(0.0, 1 - x * x - y * y)))


def _car(b: Builder, u: Uniform) -> None:
    half, w, h = u(0.8, 0.95), u(0.36, 0.44), u(0.15, 0.2)
    b.box("body", (0, 0, 0), (w, h, half))
    cab, back, high = half * u(0.42, 0.55), -u(0.0, 0.2), u(0.18, 0.24)
    b.box("windows", (0, h + high, back), (w * 0.86, high, cab))
    b.box("body", (0, h + 2 * high, back), (w * 0.9, 0.05, cab * 1.04))
    for x in (-1, 1):
        for z in (-1, 1):
            b.box("body", (x * w * 0.84, h + high, back + z * cab * 0.97), (0.05, high, 0.05))
    r = u(0.18, 0.24)
    for x in (-1, 1):
        b.ball("headlights", (x * w * 0.6, 0.03, half), (0.12, 0.1, 0.08))
        for z in (-0.6, 0.6):
            b.tube("wheels", (x * (w - 0.1), -h, z * half), (x * (w + 0.06), -h, z * half), r)


def _house(b: Builder, u: Uniform) -> None:
    w, h, d = u(0.45, 0.6), u(0.35, 0.48), u(0.42, 0.58)
    b.box("walls", (0, 0, 0), (w, h, d))
    rise = u(0.35, 0.5)
    wide = max(w, d) * 1.25
    b.tube("roof", (0, h, 0), (0, h + rise, 0), wide, wide * u(0.05, 0.35))
    b.box("door", (w * u(-0.4, 0.4), -h * 0.4, d), (u(0.13, 0.18), h * 0.6, 0.05))
    b.box("chimney", (w * u(-0.6, 0.6), h + rise * 0.75, -d * u(0.1, 0.5)), (0.11, u(0.28, 0.38), 0.11))


def _plant(b: Builder, u: Uniform) -> None:
    r, h = u(0.3, 0.42), u(0.22, 0.32)
    b.tube("pot", (0, -h, 0), (0, h, 0), r * u(0.65, 0.85), r)
    tall = u(0.5, 0.7)
    b.tube("stem", (0, h, 0), (0, h + tall, 0), u(0.055, 0.085))
    count, start = int(b.rng.integers(4, 7)), u(0, 6.28)
    for i in range(count):
        turn, long = start + i * 2 * np.pi / count, u(0.26, 0.36)
        reach, y = long * 0.9, h + tall * u(0.4, 1.0)
        center = (reach * np.cos(turn), y, -reach * np.sin(turn))
        b.ball("leaves", center, (long, 0.07, long * u(0.4, 0.6)), tilt=u(0.1, 0.7), yaw=turn)


def _dispenser(b: Builder, u: Uniform) -> None:
    r, h = u(0.34, 0.46), u(0.42, 0.58)
    if u(0, 1) < 0.5:
        b.tube("container", (0, -h, 0), (0, h, 0), r, r * u(0.75, 1.0))
    else:
        b.box("container", (0, 0, 0), (r * 0.9, h, r * u(0.6, 0.9)))
    tall = u(0.14, 0.22)
    b.tube("collar", (0, h, 0), (0, h + tall, 0), r * u(0.42, 0.6))
    y = h + tall
    b.tube("pump head", (0, y, 0), (0, y + 0.2, 0), u(0.08, 0.11))
    b.tube("pump head", (0, y + 0.14, 0), (0, y + u(0.26, 0.32), 0), u(0.15, 0.2))
    b.tube("pump head", (0, y + 0.2, 0), (0, y + u(0.12, 0.2), u(0.4, 0.5)), 0.08, 0.06)


def _rocket(b: Builder, u: Uniform) -> None:
    r, h = u(0.26, 0.34), u(0.5, 0.65)
    b.tube("fuselage", (0, -h, 0), (0, h * 0.55, 0), r * u(0.8, 1.0), r)
    b.tube("nose cone", (0, h * 0.55, 0), (0, h * 0.55 + u(0.4, 0.55), 0), r * 1.02, r * u(0.05, 0.25))
    b.ball("porthole", (0, h * u(0.1, 0.3), r * 0.9), (0.15, 0.15, 0.1))
    count, start = int(b.rng.integers(3, 5)), u(0, 6.28)
    for i in range(count):
        turn = start + i * 2 * np.pi / count
        reach = r + u(0.1, 0.15)
        b.box("fins", (reach * np.cos(turn), -h * 0.85, -reach * np.sin(turn)), (0.22, u(0.2, 0.28), 0.05), -0.35, turn)


def _teapot(b: Builder, u: Uniform) -> None:
    w, h = u(0.5, 0.6), u(0.4, 0.52)
    b.ball("body", (0, 0, 0), (w, h, w))
    b.ball("lid", (0, h * 0.84, 0), (w * u(0.5, 0.62), 0.14, w * u(0.5, 0.62)))
    b.ball("lid", (0, h * 0.84 + 0.18, 0), (0.1, 0.1, 0.1))
    b.tube("spout", (w * 0.7, -h * 0.15, 0), (w + u(0.28, 0.4), h * u(0.5, 0.8), 0), u(0.14, 0.18), 0.08)
    wide = u(0.24, 0.32)
    b.ring("handle", (-w - 0.05, 0.03, 0), (0, 0, 1), (wide, wide * u(0.9, 1.2)), u(0.07, 0.1))


_BUILD: dict[str, Callable[[Builder, Uniform], None]] = {
    "mug": _mug,
    "lamp": _lamp,
    "chair": _chair,
    "bottle": _bottle,
    "robot": _robot,
    "face": _face,
    "car": _car,
    "house": _house,
    "plant": _plant,
    "dispenser": _dispenser,
    "rocket": _rocket,
    "teapot": _teapot,
}
