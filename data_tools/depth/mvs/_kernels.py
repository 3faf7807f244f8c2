"""Compiled loops of the plane sweep. They hold no lock, so that two views can be swept on two threads.

Constants are spelled as np.float32 and np.int16: with Python's own, numba would compute in 64 bits, at half the speed
and with other roundings.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

CANNOT_TELL, ON, BEHIND, IN_FRONT = 0, 1, 2, 3
"""A point against another view's surface, as `plane_visibility` tells it."""


def _jit(function: Callable[..., None]) -> Callable[..., None]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache that can be written: compile anew in every process
        return numba.njit(nogil=True)(function)


@_jit
def warp_plane(source, mask, h, out):
    """Warps a photo by the homography `h`, bilinearly, in whole grey levels; -1 = not seen.

    Pixel (x, y) of `out` samples `source` at h @ (x + 0.5, y + 0.5, 1).
    """
    height, width = out.shape
    rows, columns = source.shape
    half = np.float32(0.5)
    for y in range(height):
        for x in range(width):
            px, py = x + half, y + half
            z = h[2, 0] * px + h[2, 1] * py + h[2, 2]
            out[y, x] = -1
            if z <= np.float32(1e-9):
                continue
            u = (h[0, 0] * px + h[0, 1] * py + h[0, 2]) / z - half
            v = (h[1, 0] * px + h[1, 1] * py + h[1, 2]) / z - half
            if not (u >= 0 and v >= 0 and u <= columns - 1 and v <= rows - 1):
                continue
            i, j = min(int(u), columns - 2), min(int(v), rows - 2)  # the last row and column have no next one
            if not mask[j, i]:
                continue
            a, b = u - i, v - j
            top = source[j, i] + (source[j, i + 1] - source[j, i]) * a
            bottom = source[j + 1, i] + (source[j + 1, i + 1] - source[j + 1, i]) * a
            out[y, x] = np.int16(top + (bottom - top) * b + half)


@_jit
def support_weights(image, radius, color_scale, out):
    """Adaptive support weights (Yoon and Kweon 2006): out[y, n, x] of neighbour n by colour and distance, sum 1 over n.

    `image` is padded by `radius`. x is the last axis, so that the loops over it are vectorised.
    """
    height, count, width = out.shape
    reach = np.float32(radius)
    for y in range(height):
        n = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dx == 0 and dy == 0:
                    continue
                far = np.sqrt(np.float32(dx * dx + dy * dy)) / reach
                for x in range(width):
                    e = 0
                    for c in range(3):
                        e += abs(image[y + radius + dy, x + radius + dx, c] - image[y + radius, x + radius, c])
                    out[y, n, x] = np.exp(-np.float32(e) / color_scale - far)
                n += 1
        for x in range(width):
            total = np.float32(0)
            for n in range(count):
                total += out[y, n, x]
            for n in range(count):
                out[y, n, x] /= total


@_jit
def matching_cost(ref, warped, weights, radius, limit, center_limit, center_share, out):
    """Photo-consistency cost, 0 (alike) to 1 (unlike); -1 where `warped` is unseen. Images are padded by `radius`.

    Weighted mean over the window of the truncated difference between ref and warped, both taken relative to the
    window's centre, so that brightness does not matter; and a small share of the plain difference at the centre, which
    flat areas have nothing else to be told apart by. Unseen pixels (-1) inside a window count as near black.
    """
    height, width = out.shape
    acc = np.empty(width, np.float32)
    for y in range(height):
        r0 = ref[y + radius, radius : radius + width]
        w0 = warped[y + radius, radius : radius + width]
        acc[:] = 0
        n = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dx == 0 and dy == 0:
                    continue
                r1 = ref[y + radius + dy, radius + dx : radius + dx + width]
                w1 = warped[y + radius + dy, radius + dx : radius + dx + width]
                weight = weights[y, n]
                for x in range(width):
                    e = np.float32(abs(np.int16(np.int16(r1[x] - r0[x]) - np.int16(w1[x] - w0[x]))))
                    acc[x] += weight[x] * (e if e < limit else limit)
                n += 1
        for x in range(width):
            e = np.float32(abs(np.int16(r0[x] - w0[x])))
            e = e if e < center_limit else center_limit
            cost = (1 - center_share) * acc[x] / limit + center_share * e / center_limit
            out[y, x] = np.float32(-1.0) if w0[x] < 0 else cost


@_jit
def mean_of_better_half(costs, unseen, gain, out):
    """Mean cost over the better half of the views that see the pixel, as a byte: in the others it may be occluded.

    `costs` below 0 are unseen; where no view sees the pixel the cost is `unseen`.
    """
    count, height, width = costs.shape
    row = np.empty(count, np.float32)
    for y in range(height):
        for x in range(width):
            n = 0
            for j in range(count):
                c = costs[j, y, x]
                if c < 0:
                    continue
                k = n
                while k > 0 and row[k - 1] > c:  # insertion sort: there are few views
                    row[k] = row[k - 1]
                    k -= 1
                row[k] = c
                n += 1
            mean = unseen
            if n > 0:
                half = (n + 1) // 2
                mean = np.float32(0)
                for k in range(half):
                    mean += row[k]
                mean /= half
            mean *= gain
            out[y, x] = np.uint8(mean if mean < 255 else 255)


@_jit
def plane_visibility(inverse_depth, h, w, tolerance, out):
    """The plane 1/z = w against another view's surface: cannot tell, on it, behind it (occluded) or in front of it."""
    height, width = out.shape
    rows, columns = inverse_depth.shape
    half = np.float32(0.5)
    for y in range(height):
        for x in range(width):
            px, py = x + half, y + half
            z = h[2, 0] * px + h[2, 1] * py + h[2, 2]
            out[y, x] = CANNOT_TELL
            if z <= np.float32(1e-9):
                continue
            u = (h[0, 0] * px + h[0, 1] * py + h[0, 2]) / z
            v = (h[1, 0] * px + h[1, 1] * py + h[1, 2]) / z
            if not (u >= 0 and v >= 0 and u < columns and v < rows):
                continue
            gap = w / z - inverse_depth[int(v), int(u)]
            out[y, x] = ON if abs(gap) <= tolerance else (IN_FRONT if gap > 0 else BEHIND)


@_jit
def sgm_pass(cost, grey, total, p1, p2, backward):
    """Adds four of the eight path costs of semi-global matching to `total`: from the left and from above, or mirrored.

    L(p, d) = C(p, d) + min(L(q, d), L(q, d +- 1) + p1, min L(q) + p2[|I_p - I_q|]) - min L(q), with q the pixel before
    p on the path. The subtraction keeps L below 255 + max(p2), far from int16's end.
    """
    height, width, depth = cost.shape
    top = np.int16(16000)  # more than any cost; a column of it on either side of the planes spares tests at the ends
    before = np.full((4, width + 2, depth + 2), top, np.int16)  # path 0 comes from this row, 1 to 3 from the row above
    now = np.full((4, width + 2, depth + 2), top, np.int16)
    low = np.zeros((4, width + 2), np.int16)
    low_now = np.zeros((4, width + 2), np.int16)
    step = -1 if backward else 1
    for yy in range(height):
        y = height - 1 - yy if backward else yy
        for xx in range(width):
            x = width - 1 - xx if backward else xx
            c, t = cost[y, x], total[y, x]
            for path in range(4):
                px, py = (x - step, y) if path == 0 else (x + step * (path - 2), y - step)
                prev = now[0, xx] if path == 0 else before[path, xx + path - 1]
                m = low_now[0, xx] if path == 0 else low[path, xx + path - 1]
                cur = now[path, xx + 1]
                best = top
                if px < 0 or px >= width or py < 0 or py >= height:
                    for d in range(depth):
                        v = np.int16(c[d])
                        cur[d + 1] = v
                        t[d] += np.uint16(v)
                        best = v if v < best else best
                else:
                    jump = np.int16(m + p2[min(255, abs(grey[y, x] - grey[py, px]))])
                    for d in range(depth):
                        a = prev[d + 1]
                        b = np.int16(prev[d] + p1)
                        e = np.int16(prev[d + 2] + p1)
                        a = b if b < a else a
                        a = e if e < a else a
                        a = jump if jump < a else a
                        v = np.int16(np.int16(c[d]) + np.int16(a - m))
                        cur[d + 1] = v
                        t[d] += np.uint16(v)
                        best = v if v < best else best
                low_now[path, xx + 1] = best
        before, now = now, before
        low, low_now = low_now, low


@_jit
def winner_takes_all(total, out):
    """The plane of least cost, the first of equal ones, with a parabola through its neighbours for the fraction."""
    height, width, depth = total.shape
    for y in range(height):
        for x in range(width):
            t = total[y, x]
            k = 0
            for d in range(1, depth):
                if t[d] < t[k]:
                    k = d
            offset = np.float32(0.0)
            if 0 < k < depth - 1:
                left, middle, right = np.float32(t[k - 1]), np.float32(t[k]), np.float32(t[k + 1])
                bend = left - 2 * middle + right
                if bend > 0:
                    offset = (left - right) / (2 * bend)
            out[y, x] = k + offset
