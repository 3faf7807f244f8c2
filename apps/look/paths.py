"""Camera paths for videos: through the given cameras, a spiral in front of a scene, or an orbit around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError
from gs_reg.types import Cameras

PathKind = Literal["auto", "interpolate", "spiral", "orbit"]


def camera_path(kind: PathKind, cameras: Cameras, count: int, *, focus_depth: float) -> Cameras:
    """`count` poses with the size and intrinsics of the cameras; spiral and orbit end where they start.

    `focus_depth` is the distance of the scene from the cameras in world units: the spiral looks at that depth. `auto`
    is the orbit for inward-facing cameras, else the spiral.

    Raises:
        InputError: no cameras or fewer than 2 poses asked for.
    """
    if len(cameras) == 0 or count < 2:
        raise InputError(f"camera path: expected at least 1 camera and 2 poses, got {len(cameras)} and {count}")
    if kind == "auto":
        kind = "orbit" if is_inward_facing(cameras, focus_depth) else "spiral"
    if kind == "interpolate":
        return interpolate(cameras, count)
    return orbit(cameras, count) if kind == "orbit" else spiral(cameras, count, focus_depth)


def with_one_size(cameras: Sequence[Cameras]) -> Cameras:
    """All cameras in one value, resized to the size of the first."""
    first = cameras[0]
    same = [c.resized(first.width, first.height) for c in cameras]
    return Cameras(torch.cat([c.viewmats for c in same]), torch.cat([c.Ks for c in same]), first.width, first.height)


def is_inward_facing(cameras: Cameras, focus_depth: float) -> bool:
    """Whether viewing directions differ by 30 degrees or more and the cameras look at a common point before them."""
    poses = _poses(cameras)
    forward = poses[:, :3, 2]
    spread = np.degrees(np.arccos(np.clip((forward @ forward.T).min(), -1, 1)))
    if spread < 30:
        return False
    to_focus = _focus_point(poses) - poses[:, :3, 3]
    return bool(((to_focus * forward).sum(1) > 0.1 * focus_depth).mean() > 0.8)


def interpolate(cameras: Cameras, count: int, *, reorder: bool = True) -> Cameras:
    """A smooth path through all cameras, in the given order or, with `reorder`, in that of the shortest path.

    Positions follow a monotone cubic, which does not overshoot, and rotations a spline of continuous angular velocity
    (slerp for two cameras). The speed is constant in the sum of distance and angle.
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.spatial.transform import Rotation, RotationSpline

    poses, Ks = _poses(cameras), cameras.Ks.double().cpu().numpy()
    if len(poses) == 1:
        return _cameras(np.repeat(poses, count, 0), cameras, np.repeat(Ks, count, 0))
    steps = _distances(poses)
    order = _shortest_path(steps) if reorder else list(range(len(poses)))
    poses, Ks = poses[order], Ks[order]
    times = np.concatenate([[0], np.cumsum([max(steps[a, b], 1e-6) for a, b in pairwise(order)])])
    at = np.linspace(0, times[-1], count)
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = RotationSpline(times, Rotation.from_matrix(poses[:, :3, :3]))(at).as_matrix()
    out[:, :3, 3] = PchipInterpolator(times, poses[:, :3, 3])(at)
    return _cameras(out, cameras, PchipInterpolator(times, Ks)(at))


def spiral(cameras: Cameras, count: int, focus_depth: float, *, turns: int = 2, reach: float = 0.8) -> Cameras:
    """A closed spiral around the mean camera, looking at the point `focus_depth` in front of that camera.

    Its half axes are `reach` times the largest offsets of the cameras from the mean, at least 2 % of the focus depth;
    along the viewing direction at most 20 %.
    """
    poses = _poses(cameras)
    mean = _mean_pose(poses)
    local = (poses[:, :3, 3] - mean[:3, 3]) @ mean[:3, :3]
    axes = np.maximum(np.abs(local).max(0) * reach, 0.02 * focus_depth)
    axes[2] = min(axes[2], 0.2 * focus_depth)
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    # The radius shrinks and grows once, so that the path fills the ellipse and closes.
    radius = 0.6 + 0.4 * np.cos(turn)
    offsets = np.stack([np.cos(turns * turn) * radius, np.sin(turns * turn) * radius, 0.5 * np.sin(turn)], 1) * axes
    centers = mean[:3, 3] + offsets @ mean[:3, :3].T
    target = mean[:3, 3] + focus_depth * mean[:3, 2]
    return _cameras(_look_at(centers, target, mean[:3, 1]), cameras)


def orbit(cameras: Cameras, count: int) -> Cameras:
    """Around the point that the cameras look at, at their mean distance and height.

    A full circle where the cameras surround that point, with no gap of 120 degrees or more. Else back and forth along
    the arc that they cover, as no photo shows the scene from elsewhere.
    """
    poses = _poses(cameras)
    target = _focus_point(poses)
    down = _down_direction(poses)
    offset = poses[:, :3, 3] - target
    height = offset @ down
    flat = offset - height[:, None] * down
    right = flat[0] / np.linalg.norm(flat[0])
    ahead = np.cross(down, right)
    angles, smoothed = _orbit_angles(np.arctan2(flat @ ahead, flat @ right), count)
    centers = right * np.cos(angles)[:, None] + ahead * np.sin(angles)[:, None]
    # On an arc the height follows the cameras, so that the ends of the path are close to photos.
    centers = centers * np.linalg.norm(flat, axis=1).mean() + smoothed(height)[:, None] * down
    return _cameras(_look_at(target + centers, target, down), cameras)


def _orbit_angles(angles: ndarray, count: int) -> tuple[ndarray, Callable[[ndarray], ndarray]]:
    """Angles of the poses, and a function that smooths one value per camera to one value per pose."""
    ordered = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    if gaps[widest] < np.radians(120):
        return np.linspace(0, 2 * np.pi, count, endpoint=False), lambda values: np.full(count, values.mean())
    start, length = ordered[(widest + 1) % len(ordered)], 2 * np.pi - gaps[widest]
    path = start + length * (0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, count, endpoint=False)))
    along = np.mod(angles - start + 1e-9, 2 * np.pi)
    width = max(length / max(len(angles) - 1, 1), 1e-3)

    def smooth(values: ndarray) -> ndarray:
        weights = np.exp(-0.5 * ((path - start)[:, None] - along) ** 2 / width**2) + 1e-12
        return weights @ values / weights.sum(1)

    return path, smooth


def _poses(cameras: Cameras) -> Float[ndarray, "C 4 4"]:
    return torch.linalg.inv(cameras.viewmats.double().cpu()).numpy()


def _cameras(poses: ndarray, like: Cameras, Ks: ndarray | None = None) -> Cameras:
    """Camera-to-world poses as cameras of the size, and by default the mean intrinsics, of others."""
    if Ks is None:
        Ks = np.repeat(like.Ks.double().mean(0, keepdim=True).cpu().numpy(), len(poses), 0)
    return Cameras(
        torch.linalg.inv(torch.from_numpy(poses)).to(like.viewmats),
        torch.from_numpy(Ks).to(like.Ks),
        like.width,
        like.height,
    )


def _mean_pose(poses: ndarray) -> ndarray:
    """Mean centre, and the rotation matrix nearest to the mean of the rotation matrices."""
    mean = np.eye(4)
    u, _, vt = np.linalg.svd(poses[:, :3, :3].sum(0))
    mean[:3, :3] = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    mean[:3, 3] = poses[:, :3, 3].mean(0)
    return mean


def _focus_point(poses: ndarray) -> ndarray:
    """The point nearest to all optical axes, in least squares.

    A small weight on the mean centre makes it unique for parallel axes.
    """
    forward, centers = poses[:, :3, 2], poses[:, :3, 3]
    across = np.eye(3) - forward[:, :, None] * forward[:, None]
    prior = 1e-6 * np.eye(3)
    return np.linalg.solve(across.sum(0) + prior, (across @ centers[:, :, None]).sum(0)[:, 0] + prior @ centers.mean(0))


def _down_direction(poses: ndarray) -> ndarray:
    """Normal of the plane in which the cameras lie, if they do; else the mean of the cameras' own down axes."""
    centers, down = poses[:, :3, 3], poses[:, :3, 1].mean(0)
    down = down / max(np.linalg.norm(down), 1e-12)
    _, sizes, axes = np.linalg.svd(centers - centers.mean(0))
    if len(centers) < 4 or sizes[2] > 0.3 * sizes[1] or abs(axes[2] @ down) < 0.8:
        return down
    return axes[2] * np.sign(axes[2] @ down)


def _look_at(centers: ndarray, target: ndarray, down: ndarray) -> ndarray:
    """Camera-to-world poses at the centres."""
    z = target - centers
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    x = np.cross(down, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    out = np.tile(np.eye(4), (len(centers), 1, 1))
    out[:, :3, :3] = np.stack([x, np.cross(z, x), z], axis=-1)
    out[:, :3, 3] = centers
    return out


def _distances(poses: ndarray) -> Float[ndarray, "C C"]:
    """Between each pair of cameras: distance in units of the mean distance, plus the angle in radians."""
    centers, rotations = poses[:, :3, 3], poses[:, :3, :3]
    length = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    trace = np.einsum("aij,bij->ab", rotations, rotations)
    angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    return length / max(length.mean(), 1e-12) + angle


def _shortest_path(steps: ndarray) -> list[int]:
    """The order of a short path through all cameras: the best nearest-neighbour path, improved by 2-opt."""

    def cost(path: list[int]) -> float:
        return float(steps[path[:-1], path[1:]].sum())

    paths = []
    for start in range(len(steps)):
        path, left = [start], set(range(len(steps))) - {start}
        while left:
            nearest = min(left, key=lambda i: steps[path[-1], i])
            path.append(nearest)
            left.remove(nearest)
        paths.append(path)
    best, improved = min(paths, key=cost), True
    while improved:
        improved = False
        for i in range(len(best) - 1):
            for j in range(i + 2, len(best) + 1):
                candidate = best[:i] + best[i:j][::-1] + best[j:]
                if cost(candidate) < cost(best) - 1e-12:
                    best, improved = candidate, True
    return best if best[0] <= best[-1] else best[::-1]
