"""The curves of a fit, thinned out so that they stay small however long it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from viser import ViserServer

MOST = 400
"""Points of a curve."""
LOSS, TRAINING, WATCHED = "loss", "training view", "the photo below"


class Curve:
    """Means of as many values in a row as it takes to stay below MOST points."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._width, self._pending = 1, list[tuple[float, float]]()

    def add(self, step: int, value: float) -> None:
        self._pending.append((float(step), value))
        if len(self._pending) < self._width:
            return
        self.points.append(_mean(self._pending))
        self._pending.clear()
        if len(self.points) >= MOST:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points, self._width = [_mean(pair) for pair in pairs], 2 * self._width

    def clear(self) -> None:
        self.__init__()


def _mean(points: Any) -> tuple[float, float]:
    step, value = np.mean(list(points), axis=0)
    return float(step), float(value)


def aligned(*curves: Curve) -> tuple[Float[np.ndarray, "n"], ...]:
    """The steps of all curves, and for each curve its values there: NaN, which leaves a gap, where it has none.

    In between its own points a curve is interpolated, as lines would be drawn.
    """
    steps = np.unique([step for curve in curves for step, _ in curve.points])
    columns = []
    for curve in curves:
        if not curve.points:
            columns.append(np.full(len(steps), np.nan))
            continue
        own, values = np.array(curve.points).T
        columns.append(np.interp(steps, own, values, left=np.nan, right=np.nan))
    return steps, *columns


class Charts:
    """The loss, on a logarithmic scale, and PSNR, on a page."""

    def __init__(self, server: ViserServer) -> None:
        self.loss, self.training, self.watched = Curve(), Curve(), Curve()
        self._loss = _chart(server, "loss", {LOSS: "#6aa9ff"}, logarithmic=True)
        self._psnr = _chart(server, "PSNR in dB", {TRAINING: "#6aa9ff", WATCHED: "#ffb04a"})

    def draw(self) -> None:
        for chart, curves in ((self._loss, (self.loss,)), (self._psnr, (self.training, self.watched))):
            if curves[0].points:
                chart.data = aligned(*curves)


def _chart(server: ViserServer, title: str, series: dict[str, str], logarithmic: bool = False) -> Any:
    axis = {"stroke": "#a0a8b4", "grid": {"stroke": "#3a4048", "width": 1}, "size": 46}
    lines = [{"label": name, "stroke": color, "width": 1.5, "spanGaps": True} for name, color in series.items()]
    empty = np.zeros(1)
    return server.gui.add_uplot(
        (empty, *(np.ones(1) for _ in series)),
        ({"label": "step"}, *lines),  # pyright: ignore[reportArgumentType]
        title=title,
        scales={"x": {"time": False}, "y": {"distr": 3 if logarithmic else 1}},
        axes=({**axis, "size": 30}, axis),  # pyright: ignore[reportArgumentType]
        height=170,
    )
