"""The named scenes. World axes as a level camera's: x right, y down, z forward; units are like metres."""

from __future__ import annotations

from pathlib import Path

from .mesh import load_mesh, torus
from .scene import Rig, Surface, SyntheticScene, build
from .shapes import Box, Plane, Shape, Sphere
from .texture import Texture


def _surface(rig: Rig, name: str, shape: Shape, base: tuple[float, float, float], contrast: float = 1.0) -> Surface:
    seed = rig.seed * 1009 + sum(map(ord, name))
    return Surface(name, shape, Texture(base, octaves=rig.octaves, contrast=contrast, seed=seed))


def plane(rig: Rig = Rig()) -> SyntheticScene:
    """P: one textured plane, slanted about both axes."""
    wall = Plane(point=(0.0, 0.0, 4.0), normal=(0.35, -0.25, -1.0))
    return build(rig, [_surface(rig, "plane", wall, (0.55, 0.5, 0.42))], target=(0.0, 0.0, 4.0))


def two_planes(rig: Rig = Rig()) -> SyntheticScene:
    """Q: a far plane, its left half hidden by a near one with a vertical edge through the middle."""
    far = Plane(point=(0.0, 0.0, 5.0), normal=(-0.15, 0.1, -1.0))
    near = Plane(point=(-10.0, 0.0, 3.0), normal=(0.0, 0.0, -1.0), extent=(10.0, 10.0))
    surfaces = [_surface(rig, "far", far, (0.4, 0.5, 0.62)), _surface(rig, "near", near, (0.66, 0.48, 0.32))]
    return build(rig, surfaces, target=(0.0, 0.0, 4.0))


def box_and_sphere(rig: Rig = Rig()) -> SyntheticScene:
    """B: a room, a turned box and a sphere that hide parts of it and of each other."""
    surfaces = [
        _surface(rig, "room", Box((0.0, -0.4, 2.0), (3.4, 1.7, 4.0)), (0.55, 0.52, 0.46)),
        _surface(rig, "box", Box((-0.65, 0.65, 4.1), (0.6, 0.65, 0.5), yaw=0.6), (0.3, 0.45, 0.68)),
        _surface(rig, "sphere", Sphere((0.45, 0.7, 3.3), 0.55), (0.72, 0.4, 0.3)),
    ]
    return build(rig, surfaces, target=(0.0, 0.2, 4.0))


def room(rig: Rig = Rig(), mesh: Path | None = None) -> SyntheticScene:
    """The demo: table, boxes, ball and a ring (or the given mesh, fitted to its place) in a room."""
    ring = torus() if mesh is None else load_mesh(mesh)
    surfaces = [
        _surface(rig, "room", Box((0.0, -0.4, 2.0), (3.2, 1.7, 3.6)), (0.6, 0.56, 0.5), contrast=0.8),
        _surface(rig, "picture", Plane((0.9, -0.75, 5.56), (0.0, 0.0, -1.0), (0.75, 0.5)), (0.35, 0.3, 0.55), 1.6),
        _surface(rig, "cupboard", Box((-1.75, 0.2, 4.9), (0.55, 1.1, 0.45), yaw=-0.3), (0.3, 0.5, 0.38)),
        _surface(rig, "table", Box((0.25, 0.62, 3.7), (1.05, 0.06, 0.6), yaw=0.25), (0.62, 0.44, 0.26)),
        _surface(rig, "leg", Box((0.25, 0.99, 3.7), (0.14, 0.31, 0.14), yaw=0.25), (0.5, 0.36, 0.22)),
        _surface(rig, "ball", Sphere((-0.3, 0.25, 3.55), 0.31), (0.75, 0.32, 0.26)),
        _surface(rig, "ring", ring.placed((0.7, 0.18, 3.75), 0.76, yaw=0.7), (0.28, 0.42, 0.72)),
    ]
    return build(rig, surfaces, target=(0.0, 0.1, 4.0))
