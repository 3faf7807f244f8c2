"""Line charts for inline SVG that stretches to any width; labels are HTML, so that they keep their size on a phone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Name, last value as text, and the attribute `points` of an SVG polyline in a view box of 1000 x 1000."""
    x_ticks: tuple[tuple[float, str], ...]
    """Position in percent from the left, and label."""
    y_ticks: tuple[tuple[float, str], ...]
    """Position in percent from the bottom, and label."""
    log: bool


def training_charts(events: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Loss with its terms, and PSNR of the training view, over steps; from the lines of events.jsonl."""
    events = [event for event in events if "step" in event]
    steps = [event["step"] for event in events]

    def series(name: str, values: Sequence[object]) -> Series:
        pairs = [(s, v) for s, v in zip(steps, values, strict=True) if isinstance(v, int | float)]
        return Series(name, [s for s, _ in pairs], [v for _, v in pairs])

    names = list(dict.fromkeys(name for event in events for name in event.get("terms", {})))
    terms = [series(name, [event.get("terms", {}).get(name) for event in events]) for name in names]
    charts = [
        line_chart("loss", [series("total", [event.get("loss") for event in events]), *terms]),
        line_chart("PSNR of the training view (dB)", [series("PSNR", [event.get("psnr") for event in events])]),
    ]
    return [chart for chart in charts if chart]


def line_chart(title: str, series: Sequence[Series]) -> Chart | None:
    """A chart of all finite points; the y axis is logarithmic where positive values span more than a factor of 30.

    A long series is shortened to the means of consecutive points. None where there is nothing to draw.
    """
    kept = [s for s in (_downsampled(s) for s in series) if s.xs]
    if not kept:
        return None
    ys = [y for s in kept for y in s.ys]
    xs = [x for s in kept for x in s.xs]
    log = min(ys) > 0 and max(ys) / min(ys) > 30
    y_ticks = _log_ticks(min(ys), max(ys)) if log else nice_ticks(min(ys), max(ys))
    low, high = min(*ys, y_ticks[0]), max(*ys, y_ticks[-1])
    left, right = min(xs), max(max(xs), min(xs) + 1)

    def y_position(y: float) -> float:
        value, a, b = (math.log10(y), math.log10(low), math.log10(high)) if log else (y, low, high)
        return (value - a) / max(b - a, 1e-12)

    def x_position(x: float) -> float:
        return (x - left) / (right - left)

    lines = []
    for s in kept:
        points = " ".join(
            f"{1000 * x_position(x):.1f},{1000 - 1000 * y_position(y):.1f}" for x, y in zip(s.xs, s.ys, strict=True)
        )
        lines.append((s.name, _number(s.ys[-1]), points))
    x_ticks = [x for x in nice_ticks(left, right) if left <= x <= right]
    return Chart(
        title,
        tuple(lines),
        tuple((100 * x_position(x), _number(x)) for x in x_ticks),
        tuple((100 * y_position(y), _number(y)) for y in y_ticks),
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


def _downsampled(series: Series) -> Series:
    pairs = [(x, y) for x, y in zip(series.xs, series.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    size = -(-len(pairs) // MAX_POINTS)
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size)] if pairs else []
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return Series(series.name, [x for x, _ in means], [y for _, y in means])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
