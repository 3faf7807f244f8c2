"""Tables of ARKit coefficients, as Live Link Face and like apps record them."""

from __future__ import annotations

import csv
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gs_reg.driving.gaze import with_gaze
from gs_reg.driving.types import SNAP, Drive, check_count, check_rate, filled, head_rotation
from gs_reg.errors import InputError, reading
from gs_reg.priors import ARKIT, HeadPose

log = logging.getLogger(__name__)

Angles = Literal["radians", "degrees"]

SECONDS = ("time", "seconds", "timestamp")
HEAD = ("headyaw", "headpitch", "headroll")
EYES = ("lefteyeyaw", "lefteyepitch", "righteyeyaw", "righteyepitch")
IGNORED = ("frame", "frameindex", "blendshapecount", "lefteyeroll", "righteyeroll")
LARGEST = 2.0
"""A coefficient beyond it is a percentage or something else; recorders go a little beyond 1."""
LARGEST_ANGLE = {"radians": 2 * math.pi, "degrees": 360.0}
LISTED = 3
"""Names of columns that a line in the log gives; their number stands beside them."""
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_COLUMNS = {_plain(name): i for i, name in enumerate(ARKIT)}
_COLUMNS |= {_plain(re.sub("Left$", "L", re.sub("Right$", "R", name))): i for i, name in enumerate(ARKIT)}


@dataclass(frozen=True)
class Table:
    """What a file says, before it is resampled."""

    drive: Drive
    channels: tuple[str, ...]
    """ARKit names that the file has a column for."""
    has_eyes: bool
    """Whether it tells where the eyes look, by coefficients or angles."""


def read_csv(path: str | Path, fps: float | None = None, source_fps: float = 60.0, angles: Angles = "radians") -> Drive:
    """The drive in a table with a header. Names may have any letter case, underscores, and L or R for a side.

    Columns that are missing count as 0; the log names some of them, and of those that are not known. Times are those
    of a column in seconds or of a timecode, whose frames are of `source_fps`; without either, rows are `source_fps` a
    second. The head's angles, positive to the subject's left, downwards and counter-clockwise, and those of the eyes,
    positive to the subject's left and upwards, are in `angles`. Rows without any coefficient are frames without a face.

    Raises:
        InputError: no ARKit column, a row with more cells than the header, a cell that is no number, times that do
            not increase, or another unit.
    """
    table = read_table(path, source_fps, angles)
    return table.drive if fps is None else table.drive.resampled(fps)


def read_table(path: str | Path, source_fps: float = 60.0, angles: Angles = "radians") -> Table:
    """As read_csv, with word on which columns there are."""
    path = Path(path)
    with reading(path):
        header, rows = _cells(path)
    columns, unknown = _known_columns(header, path)
    arkit_columns = {name: i for name, i in columns.items() if name in _COLUMNS}
    seen = torch.tensor([any(row[i].strip() for i in arkit_columns.values()) for row in rows])
    if not bool(seen.any()):
        raise InputError(f"{path}: expected at least one row with coefficients, got {len(rows)} rows without")
    values = np.zeros((len(rows), 52), np.float32)
    for name, i in arkit_columns.items():
        values[:, _COLUMNS[name]] = _numbers(rows, i, header[i], seen, path)
    _check_sizes(values, path)
    yaw_pitch_roll = _angles(rows, columns, HEAD, header, seen, angles, path)
    pose = HeadPose.identity(len(rows))
    pose = HeadPose(head_rotation(*yaw_pitch_roll.unbind(1)).float(), pose.translation, pose.scale)
    arkit = torch.from_numpy(values)
    has_eyes = any("eyeLook" in ARKIT[_COLUMNS[name]] for name in arkit_columns)
    if not has_eyes and any(name in columns for name in EYES):
        looks = _angles(rows, columns, EYES, header, seen, angles, path)
        arkit, has_eyes = with_gaze(arkit, looks.reshape(-1, 2, 2).float()), True
    rows_seen = seen.nonzero()[:, 0]
    drive = filled(arkit[rows_seen], pose[rows_seen], seen, source_fps)
    times = _times(rows, columns, source_fps, path)
    if times is not None:
        drive = _even(drive, times, path)
    _log_columns(columns, unknown, path)
    return Table(drive, tuple(ARKIT[_COLUMNS[name]] for name in arkit_columns), has_eyes)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    text = path.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    if len(lines) < 2:
        raise InputError(f"{path}: expected a header and at least one row, got {len(lines)} lines")
    delimiter = max(",;\t", key=lines[0].count)
    header, *rows = csv.reader(lines, delimiter=delimiter)
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    for t, row in enumerate(rows):
        if any(cell.strip() for cell in row[len(header) :]):
            raise InputError(f"{path}: row {t + 1}: expected {len(header)} cells, as in the header, got {len(row)}")
    # recorders leave out the cells of a frame without a face
    return header, [row + [""] * (len(header) - len(row)) for row in rows]


def _known_columns(header: list[str], path: Path) -> tuple[dict[str, int], list[str]]:
    """Places of the columns that are read, and names of those that are not known."""
    columns: dict[str, int] = {}
    unknown = []
    for i, name in enumerate(header):
        plain = _plain(name)
        if plain in columns:
            raise InputError(f"{path}: expected each column once, got {name.strip()!a} twice")
        if plain in _COLUMNS or plain in (*SECONDS, "timecode", *HEAD, *EYES):
            columns[plain] = i
        elif plain and plain not in IGNORED:
            unknown.append(name.strip())
    if not any(name in _COLUMNS for name in columns):
        raise InputError(f"{path}: expected columns of ARKit names such as jawOpen, got {', '.join(header[:5])[:80]!a}")
    return columns, unknown


def _log_columns(columns: dict[str, int], unknown: list[str], path: Path) -> None:
    given = {_COLUMNS[name] for name in columns if name in _COLUMNS}
    missing = [name for i, name in enumerate(ARKIT) if i not in given]
    if unknown:
        log.warning("%s: columns that are not known and not used: %s", path, _listed(unknown))
    if missing:
        log.warning("%s: missing columns count as 0: %s", path, _listed(missing))


def _listed(names: list[str]) -> str:
    """The number of names and the first of them."""
    more = ", ..." if len(names) > LISTED else ""
    return f"{len(names)} ({', '.join(names[:LISTED])}{more})"


def _numbers(rows: list[list[str]], i: int, name: str, seen: torch.Tensor, path: Path) -> np.ndarray:
    out = np.zeros(len(rows))
    for t, row in enumerate(rows):
        if not seen[t]:
            continue
        try:
            out[t] = float(row[i])
        except ValueError:
            out[t] = math.nan
        if not math.isfinite(out[t]):
            raise InputError(f"{path}: row {t + 1}, column {name.strip()}: expected a number, got {row[i][:20]!a}")
    return out


def _check_sizes(values: np.ndarray, path: Path) -> None:
    t, i = np.unravel_index(np.abs(values).argmax(), values.shape)
    if abs(values[t, i]) > LARGEST:
        raise InputError(f"{path}: row {t + 1}: expected coefficients from 0 to 1, got {ARKIT[i]} = {values[t, i]:g}")


def _angles(
    rows: list[list[str]],
    columns: dict[str, int],
    names: tuple[str, ...],
    header: list[str],
    seen: torch.Tensor,
    angles: Angles,
    path: Path,
) -> torch.Tensor:
    """The named columns in radians, 0 where the file has none."""
    out = np.zeros((len(rows), len(names)))
    for k, name in enumerate(names):
        if name in columns:
            out[:, k] = _numbers(rows, columns[name], header[columns[name]], seen, path)
    t, k = np.unravel_index(np.abs(out).argmax(), out.shape)
    if abs(out[t, k]) > LARGEST_ANGLE[angles]:
        remedy = ": if the angles are degrees, give --degrees or write radians" if angles == "radians" else ""
        raise InputError(
            f"{path}: row {t + 1}, column {header[columns[names[k]]].strip()}: expected {angles} of at most "
            f"{LARGEST_ANGLE[angles]:.4g}, got {out[t, k]:g}{remedy}"
        )
    return torch.from_numpy(np.radians(out) if angles == "degrees" else out)


def _times(rows: list[list[str]], columns: dict[str, int], fps: float, path: Path) -> np.ndarray | None:
    """Seconds from the first row, where the file has them."""
    seconds = next((name for name in SECONDS if name in columns), None)
    if seconds is None and "timecode" not in columns:
        return None
    times = np.zeros(len(rows))
    for t, row in enumerate(rows):
        cell = row[columns[seconds or "timecode"]].strip()
        try:
            times[t] = float(cell) if seconds else _of_timecode(cell, fps)
        except ValueError as error:
            raise InputError(
                f"{path}: row {t + 1}: expected {'seconds' if seconds else 'a timecode HH:MM:SS:FF'}, got {cell[:20]!a}"
            ) from error
        if not math.isfinite(times[t]) or (t and times[t] <= times[t - 1]):
            raise InputError(f"{path}: row {t + 1}: expected a time after that of the row before, got {cell[:20]!a}")
    return times - times[0]


def _of_timecode(cell: str, fps: float) -> float:
    match = _TIMECODE.fullmatch(cell)
    if match is None:
        raise ValueError(cell)
    hours, minutes, seconds, frames = (float(part) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds + frames / fps


def _even(drive: Drive, times: np.ndarray, path: Path) -> Drive:
    """Rows at uneven times as frames at the rate of the rows' middle distance."""
    if len(times) < 2:
        return drive
    fps = 1 / float(np.median(np.diff(times)))
    check_rate(fps, f"{path}: times in seconds")
    check_count(float(times[-1]), fps, f"{path}: times in seconds")
    even = np.arange(int(times[-1] * fps + SNAP) + 1) / fps
    positions = np.interp(even, times, np.arange(len(times)))
    return drive.at(torch.from_numpy(positions), fps)
