"""Line charts as inline SVG that stretches to any width; labels are HTML, so that they keep their size on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_POINTS = 240


@dataclass(frozen=True)
class Series:
    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Chart:
    title: str
    lines: tuple[tuple[str, str, str], ...]
    """Name, last value as text, and the points attribute of a polyline, in a box of 1000 x 1000."""
    x_ticks: tuple[tuple[float, str], ...]
    """Place in percent from the left, and text."""
    y_ticks: tuple[tuple[float, str], ...]
    """Place in percent from the bottom, and text."""
    log: bool


def line_chart(title: str, series: Sequence[Series]) -> Chart | None:
    """A chart of all finite points; the y axis is logarithmic where positive values span more than a factor of 30.

    Long series are thinned to the means of stretches. None where there is nothing to draw.
    """
    thin = [s for s in (_thinned(s) for s in series) if s.xs]
    if not thin:
        return None
    ys = [y for s in thin for y in s.ys]
    xs = [x for s in thin for x in s.xs]
    log = min(ys) > 0 and max(ys) / min(ys) > 30
    y_ticks = _log_ticks(min(ys), max(ys)) if log else nice_ticks(min(ys), max(ys))
    low, high = min(*ys, y_ticks[0]), max(*ys, y_ticks[-1])
    left, right = min(xs), max(max(xs), min(xs) + 1)

    def place_y(y: float) -> float:
        value, a, b = (math.log10(y), math.log10(low), math.log10(high)) if log else (y, low, high)
        return (value - a) / max(b - a, 1e-12)

    def place_x(x: float) -> float:
        return (x - left) / (right - left)

    lines = []
    for s in thin:
        points = " ".join(
            f"{1000 * place_x(x):.1f},{1000 - 1000 * place_y(y):.1f}" for x, y in zip(s.xs, s.ys, strict=True)
        )
        lines.append((s.name, _short(s.ys[-1]), points))
    x_ticks = [x for x in nice_ticks(left, right) if left <= x <= right]
    return Chart(
        title,
        tuple(lines),
        tuple((100 * place_x(x), _short(x)) for x in x_ticks),
        tuple((100 * place_y(y), _short(y)) for y in y_ticks),
        log,
    )


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers that enclose the range."""
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    step = max(1, (last - first) // 4)
    return [10.0**i for i in range(first, last + step, step)]


def _thinned(series: Series) -> Series:
    pairs = [(x, y) for x, y in zip(series.xs, series.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    size = -(-len(pairs) // MAX_POINTS)
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size)] if pairs else []
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return Series(series.name, [x for x, _ in means], [y for _, y in means])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
