"""Compiled loops of the mesh renderer. They hold no lock, so that two photos can be drawn on two threads."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

COVERED = np.float32(0.3)
"""Share of a striped face."""
DULL = 1e-3
"""Highlights below this are left out."""
SLACK = np.float32(1e-4)
"""Of barycentric coordinates: without it, rounding opens cracks between neighbours."""


def _jit(function: Callable[..., None]) -> Callable[..., None]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache that can be written: compile anew in every process
        return numba.njit(nogil=True)(function)


@_jit
def rasterize(points, faces, stripes, inverse_depth, ids):
    """The nearest triangle at each sample. `points` are x, y in samples and camera-space z, which must be positive.

    Where `stripes` of a face's corners are not 0, the face has holes: it is there where the fraction is below COVERED.
    """
    height, width = ids.shape
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == zero or min(az, bz, cz) <= zero:
            continue
        left = max(math.ceil(min(ax, bx, cx) - half), 0)
        right = min(math.floor(max(ax, bx, cx) - half), width - 1)
        top = max(math.ceil(min(ay, by, cy) - half), 0)
        bottom = min(math.floor(max(ay, by, cy) - half), height - 1)
        scale, ia, ib, ic = one / area, one / az, one / bz, one / cz
        striped = stripes[f, 0] != zero
        for y in range(top, bottom + 1):
            py = np.float32(y) + half
            for x in range(left, right + 1):
                px = np.float32(x) + half
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * scale
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * scale
                w = one - u - v
                if u < -SLACK or v < -SLACK or w < -SLACK:
                    continue
                near = u * ia + v * ib + w * ic
                if near <= inverse_depth[y, x]:
                    continue
                if striped:
                    s = u * stripes[f, 0] + v * stripes[f, 1] + w * stripes[f, 2]
                    if s - math.floor(s) > COVERED:
                        continue
                inverse_depth[y, x] = near
                ids[y, x] = f


@_jit
def interpolate(points, faces, ids, corners, out):
    """Perspective-correct values of `corners` [F, 3, C] at the samples of `ids`; 0 where nothing is."""
    height, width = ids.shape
    half, one = np.float32(0.5), np.float32(1)
    for y in range(height):
        for x in range(width):
            f = ids[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            px, py = np.float32(x) + half, np.float32(y) + half
            u = (points[b, 0] - px) * (points[c, 1] - py) - (points[b, 1] - py) * (points[c, 0] - px)
            v = (points[c, 0] - px) * (points[a, 1] - py) - (points[c, 1] - py) * (points[a, 0] - px)
            w = (points[a, 0] - px) * (points[b, 1] - py) - (points[a, 1] - py) * (points[b, 0] - px)
            u, v, w = u / points[a, 2], v / points[b, 2], w / points[c, 2]
            total = one / (u + v + w)
            for k in range(out.shape[2]):
                out[y, x, k] = (u * corners[f, 0, k] + v * corners[f, 1, k] + w * corners[f, 2, k]) * total


@_jit
def texel(atlas, u, v, out):
    """Bilinear, in [0, 1]; v = 0 is the first row."""
    rows, columns = atlas.shape[0], atlas.shape[1]
    x = min(max(u * columns - np.float32(0.5), np.float32(0)), np.float32(columns) - np.float32(1.001))
    y = min(max(v * rows - np.float32(0.5), np.float32(0)), np.float32(rows) - np.float32(1.001))
    i, j = int(x), int(y)
    a, b = x - i, y - j
    for k in range(out.shape[0]):
        top = atlas[j, i, k] * (1 - a) + atlas[j, i + 1, k] * a
        bottom = atlas[j + 1, i, k] * (1 - a) + atlas[j + 1, i + 1, k] * a
        out[k] = (top * (1 - b) + bottom * b) * np.float32(1 / 255)


@_jit
def eye_color(x, y, z, radius, out):
    """Iris, pupil and sclera by the angle from the optical axis +z, at a point of a unit sphere."""
    angle = math.degrees(math.acos(min(max(z, -1.0), 1.0)))
    turn = math.atan2(y, x)
    iris, pupil = math.degrees(math.asin(0.0060 / radius)), math.degrees(math.asin(0.0023 / radius))
    rim = min(max((angle - 30) / 40, 0.0), 1.0)
    vein = max(0.0, math.sin(9 * turn + 5 * math.sin(0.12 * angle)) - 0.86) * rim
    white = 1 - 0.25 * rim * rim * (3 - 2 * rim)
    fiber = 1 + 0.25 * math.sin(37 * turn + 2 * math.sin(11 * turn))
    inside = 1 - min(max((angle - iris + 1) / 2, 0.0), 1.0)
    dark = 1 - min(max((angle - pupil + 0.7) / 1.4, 0.0), 1.0)
    ring = 0.7 * math.exp(-(((angle - iris) / 1.2) ** 2))
    for k in range(3):
        sclera = (0.92, 0.90, 0.88)[k] * white * (1 - (0.0, 1.6, 1.5)[k] * vein)
        c = sclera + inside * ((0.30, 0.20, 0.11)[k] * fiber - sclera)
        c = c * (1 - ring)
        out[k] = np.float32(c + dark * (0.02 - c))


@_jit
def shade(points, faces, ids, values, corners, face_values, atlas, eyes, lights, materials, camera, rgb, alpha):
    """Colours of pixels: the mean of the samples x samples that hit, and the share that did.

    `values` [V, 12]: world position 3, normal 3, rest position 3, wrinkle, blush, occlusion. `corners` [F, 3, 4]: uv,
    and uv of the sliding layer. `face_values` [F, 2]: material, tint. `materials` [M, 6]: kind, colour 3, gloss,
    exponent; kind 0 = the atlas, 1 = an eyeball, 2 = the colour, 3 = teeth. `eyes` [2, 4]: centre and radius of the
    left and the right one, at rest. `lights` [L, 4]: unit direction and strength. `atlas`: rgb, pigment of the sliding
    layer, lines.
    """
    height, width = alpha.shape
    samples = ids.shape[0] // height
    half = np.float32(0.5)
    value, color, layer = np.empty(12, np.float32), np.empty(5, np.float32), np.empty(5, np.float32)
    uv = np.empty(4, np.float32)
    for row in range(height):
        for column in range(width):
            red, green, blue, hits = 0.0, 0.0, 0.0, 0
            for sub in range(samples * samples):
                y, x = row * samples + sub // samples, column * samples + sub % samples
                f = ids[y, x]
                if f < 0:
                    continue
                hits += 1
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                px, py = np.float32(x) + half, np.float32(y) + half
                u = (points[b, 0] - px) * (points[c, 1] - py) - (points[b, 1] - py) * (points[c, 0] - px)
                v = (points[c, 0] - px) * (points[a, 1] - py) - (points[c, 1] - py) * (points[a, 0] - px)
                w = (points[a, 0] - px) * (points[b, 1] - py) - (points[a, 1] - py) * (points[b, 0] - px)
                u, v, w = u / points[a, 2], v / points[b, 2], w / points[c, 2]
                total = u + v + w
                u, v, w = u / total, v / total, w / total
                for k in range(12):
                    value[k] = u * values[a, k] + v * values[b, k] + w * values[c, k]
                material, tint = int(face_values[f, 0]), face_values[f, 1]
                kind = materials[material, 0]
                if kind == 0:
                    for k in range(4):
                        uv[k] = u * corners[f, 0, k] + v * corners[f, 1, k] + w * corners[f, 2, k]
                    texel(atlas, uv[0], uv[1], color)
                    texel(atlas, uv[2], uv[3], layer)
                    pigment, blush = layer[3], value[10]
                    crease = value[9] * (0.12 + 0.5 * color[4])
                    color[0] *= (1 - 0.32 * pigment) * (1 - 0.75 * crease) * (1 + 0.02 * blush)
                    color[1] *= (1 - 0.50 * pigment) * (1 - 0.90 * crease) * (1 - 0.15 * blush)
                    color[2] *= (1 - 0.56 * pigment) * (1 - 0.95 * crease) * (1 - 0.12 * blush)
                elif kind == 1:
                    side = 0 if value[6] > 0 else 1
                    ex, ey, ez = value[6] - eyes[side, 0], value[7] - eyes[side, 1], value[8] - eyes[side, 2]
                    length = math.sqrt(ex * ex + ey * ey + ez * ez) + 1e-9
                    eye_color(ex / length, ey / length, ez / length, eyes[side, 3], color)
                else:
                    gap = 0.0
                    if kind == 3:
                        off = abs(value[9] - math.floor(value[9] + 0.5))
                        gap = 0.55 * math.exp(-((off / 0.07) ** 2))
                    for k in range(3):
                        color[k] = materials[material, 1 + k] * tint * (1 - gap)
                nx, ny, nz = value[3], value[4], value[5]
                length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                vx, vy, vz = camera[0] - value[0], camera[1] - value[1], camera[2] - value[2]
                far = math.sqrt(vx * vx + vy * vy + vz * vz) + 1e-9
                vx, vy, vz = vx / far, vy / far, vz / far
                if nx * vx + ny * vy + nz * vz < 0:
                    length = -length
                nx, ny, nz = nx / length, ny / length, nz / length
                light, gloss = 0.22, 0.0
                dull = DULL ** (1 / materials[material, 5])
                for i in range(lights.shape[0]):
                    lx, ly, lz, strength = lights[i, 0], lights[i, 1], lights[i, 2], lights[i, 3]
                    light += strength * max(nx * lx + ny * ly + nz * lz, 0.0)
                    hx, hy, hz = lx + vx, ly + vy, lz + vz
                    facing = (nx * hx + ny * hy + nz * hz) / (math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
                    if facing > dull:
                        gloss += strength * materials[material, 4] * facing ** materials[material, 5]
                light, gloss = light * (1 - value[11]), gloss * (1 - value[11])
                red += min(color[0] * light + gloss, 1.0)
                green += min(color[1] * light + gloss, 1.0)
                blue += min(color[2] * light + gloss, 1.0)
            alpha[row, column] = np.uint8(hits * 255.0 / (samples * samples) + 0.5)
            if hits > 0:
                rgb[row, column, 0] = np.uint8(red / hits * 255 + 0.5)
                rgb[row, column, 1] = np.uint8(green / hits * 255 + 0.5)
                rgb[row, column, 2] = np.uint8(blue / hits * 255 + 0.5)
