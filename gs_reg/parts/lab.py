"""Colours as people see them: distances in CIELAB are differences that look alike."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def lab(rgb: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B 3"]:
    """CIELAB (D65) of sRGB in [0, 1]."""
    c = np.clip(rgb, 0, 1)
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = c @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)
