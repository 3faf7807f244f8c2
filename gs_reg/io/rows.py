"""The rows of a Gaussian PLY as they lie on the disk: an edit rewrites some of them, every other byte is copied.

.splat, .spz and compressed PLY hold rounded numbers: they are first decoded to a standard PLY, and the promise is about
that PLY.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io import load_splats
from gs_reg.io.atomic import atomic_path
from gs_reg.io.digest import file_sha256
from gs_reg.io.ply import PlyHeader, read_element, read_header, save_ply, splats_of, with_meaning
from gs_reg.types import Splats

log = logging.getLogger(__name__)

_COUNT = re.compile(rb"(\n[ \t]*element[ \t]+vertex[ \t]+)\d+")


@dataclass(frozen=True)
class RowEdit:
    """What an edit makes of some rows of splats."""

    owned: Int[Tensor, "E"]
    """Rows that the edit may change or remove; all others are frozen."""
    splats: Splats
    """M rows that stand instead of them."""
    origin: Int[Tensor, "M"]
    """The owned row whose place each has; -1 = new. Owned rows that are not named are removed."""
    parent: Int[Tensor, "M"]
    """The row from which each has its further columns (labels, normals); -1 = none, and they are 0."""

    def places(self, count: int) -> Int[Tensor, "count"]:
        """For each row before the edit the row of `splats` that stands there: -1 = frozen, -2 = removed."""
        places = torch.full((count,), -1, dtype=torch.long)
        places[self.owned] = -2
        kept = (self.origin >= 0).nonzero()[:, 0]
        places[self.origin[kept]] = kept
        return places

    def applied_to(self, splats: Splats) -> Splats:
        """The splats after the edit in the order of the file: rows in their places, then the new ones."""
        places = self.places(len(splats))
        # one gather over both: the frozen rows, then those of the edit
        order = torch.where(places >= 0, places + len(splats), torch.arange(len(splats)))[places != -2]
        new = (self.origin < 0).nonzero()[:, 0] + len(splats)
        both = Splats.joined([replace(splats, extra={}), replace(self.splats, extra={})])
        extra = {name: self.column_after(column) for name, column in splats.extra.items()}
        return replace(both.rows(torch.cat([order, new])), extra=extra)

    def column_after(self, column: Shaped[Tensor, "count *S"]) -> Shaped[Tensor, "after *S"]:
        """A column of other data (labels) after the edit, in the order of the file; new rows have their parent's."""
        parents = self.parent[self.origin < 0]
        new = column[parents.clamp_min(0)]
        new[parents < 0] = 0
        return torch.cat([column[self.places(len(column)) != -2], new])


@dataclass(frozen=True, eq=False)
class RawRows:
    """A Gaussian PLY, cut where its vertices begin and end."""

    path: Path
    header: PlyHeader
    head: bytes
    """All bytes before the first vertex."""
    table: np.ndarray
    """The vertices, with all columns of the file."""
    tail: bytes
    """All bytes behind the last vertex."""
    splats: Splats
    """Of the rows that are finite."""
    rows: Int[Tensor, "N"]
    """The row of the table that each of the splats stands in."""

    def frozen(self, owned: Int[Tensor, "E"]) -> np.ndarray:
        """Rows of the table that an edit of these splats must not touch, those that are not finite among them."""
        keep = np.ones(len(self.table), bool)
        keep[self.rows[owned].numpy()] = False
        return keep.nonzero()[0]


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a file, and the proof that the frozen ones are what they were."""

    frozen: int
    changed: int
    """Rows of the edit that differ in some byte."""
    removed: int
    added: int
    frozen_sha256_before: str
    frozen_sha256_after: str
    """Of the same rows, read back from the file that was written."""

    @property
    def intact(self) -> bool:
        return self.frozen_sha256_before == self.frozen_sha256_after


def read_rows(path: str | Path, decoded: str | Path) -> RawRows:
    """The rows of a splat file; other formats than PLY are first decoded to a PLY at `decoded`.

    Raises:
        InputError: the file is broken or no splat file, or a column of splats is not of floats.
    """
    path = Path(path)
    plain = path.name.lower().endswith(".ply") and path.is_file() and not read_header(path).compressed
    if not plain:
        splats = load_splats(path)
        path = Path(decoded)
        save_ply(path, splats)
    header = read_header(path)
    table = read_element(path, header, "vertex")
    start = header.size
    for element in header.elements:
        if element.name == "vertex":
            break
        start += element.count * element.dtype.itemsize
    with path.open("rb") as file:
        head = file.read(start)
        file.seek(start + table.nbytes)
        tail = file.read()
    for name in _names(table):
        if name in (table.dtype.names or ()) and table.dtype[name].kind != "f":
            raise InputError(f"{path}: column '{name}': expected float or double, as edits are, got integers")
    splats, good = with_meaning(splats_of(table, path))
    return RawRows(path, header, head, table, tail, splats.rows(good), good.nonzero()[:, 0])


def write_edited(path: str | Path, source: RawRows, edit: RowEdit, undo: str | Path) -> RowCounts:
    """Writes the edited PLY, and at `undo` the bytes that give the source back (`original_part.npz`).

    Frozen rows are copied in their order. In rows of the edit only numbers that changed are written, and columns that
    are no splats' stay. New rows follow, with these columns of their parents.

    Raises:
        ValueError: the edit is of other splats.
    """
    if edit.splats.sh.shape[1:] != source.splats.sh.shape[1:]:
        raise ValueError(f"sh: expected {list(source.splats.sh.shape[1:])} a row, got {list(edit.splats.sh.shape[1:])}")
    rows = source.rows.numpy()
    places = edit.places(len(source.splats))
    kept, removed = (places >= 0).nonzero()[:, 0], (places == -2).nonzero()[:, 0]
    if len(removed) and source.tail:
        log.warning("%s: rows were removed: what stands behind the vertices may count them (faces)", path)
    table = source.table.copy()
    _rewrite(table, rows[kept.numpy()], edit.splats.rows(places[kept]), source.splats.rows(kept))
    keep = np.ones(len(table), bool)
    keep[rows[removed.numpy()]] = False
    added = _new_rows(source, edit)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            file.write(_counted(source.head, source.header, int(keep.sum()) + len(added)))
            for part in (table[keep], added):
                file.write(part.tobytes())
            file.write(source.tail)
        owned = rows[edit.owned.numpy()]
        bytes_changed = (_bytes(table[owned]) != _bytes(source.table[owned])).any(1)
        counts = RowCounts(
            *(len(table) - len(owned), int(bytes_changed.sum()), len(removed), len(added)),
            _digest(source.table[source.frozen(edit.owned)]),
            _digest(_frozen_of(temporary, source.frozen(edit.owned), keep)),
        )
        differs = owned[bytes_changed | ~keep[owned]]
        with atomic_path(undo) as archive, archive.open("wb") as file:
            np.savez_compressed(
                file,
                head=np.frombuffer(source.head, np.uint8),
                count=len(table),
                rows=differs,
                removed=~keep[differs],
                bytes=_bytes(source.table[differs]),
                source_sha256=file_sha256(source.path),
                edited_sha256=file_sha256(temporary),
            )
    return counts


def _names(table: np.ndarray) -> list[str]:
    """Columns of splats, in the order of `_values`."""
    rest = sum(name.startswith("f_rest_") for name in table.dtype.names or ())
    names = [*"xyz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(rest)), "opacity"]
    return names + [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]


def _values(splats: Splats) -> np.ndarray:
    high = splats.sh[:, 1:].transpose(1, 2).flatten(1)  # f_rest_* is channel-major
    parts = [splats.means, splats.sh[:, 0], high, splats.opacity_logits[:, None], splats.log_scales, splats.quats]
    return torch.cat(parts, 1).numpy()


def _rewrite(table: np.ndarray, rows: np.ndarray, after: Splats, before: Splats | None) -> None:
    """Writes the numbers that differ from those before; all of them where there is no before.

    A number that did not change keeps its bytes: in a double they say more than the float that was read.
    """
    new = _values(after)
    old = np.full_like(new, np.nan) if before is None else _values(before)
    for i, name in enumerate(_names(table)):
        differs = new[:, i] != old[:, i]
        table[name][rows[differs]] = new[differs, i]


def _new_rows(source: RawRows, edit: RowEdit) -> np.ndarray:
    new = edit.origin < 0
    parents = edit.parent[new]
    table = np.zeros(len(parents), source.table.dtype)
    known = (parents >= 0).numpy()
    table[known] = source.table[source.rows[parents[parents >= 0]].numpy()]
    _rewrite(table, np.arange(len(table)), edit.splats.rows(new), None)
    return table


def _counted(head: bytes, header: PlyHeader, count: int) -> bytes:
    """The head with another number of vertices."""
    text, data = head[: header.size], head[header.size :]
    return _COUNT.sub(lambda found: found[1] + str(count).encode(), text, count=1) + data


def _bytes(table: np.ndarray) -> np.ndarray:
    return np.frombuffer(table.tobytes(), np.uint8).reshape(len(table), table.dtype.itemsize)


def _digest(table: np.ndarray) -> str:
    return hashlib.sha256(table.tobytes()).hexdigest()


def _frozen_of(path: Path, frozen: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The frozen rows of an edited file: each lies as many rows earlier as were removed before it."""
    table = read_element(path, read_header(path), "vertex")
    return table[(np.cumsum(keep) - 1)[frozen]]


def undo_edit(edited: str | Path, undo: str | Path, out: str | Path) -> None:
    """Writes the source of an edit to `out`, byte for byte, from the edited PLY and its `original_part.npz`.

    Raises:
        InputError: the edited file is not what the edit wrote, or the archive is of another edit or broken.
    """
    edited = Path(edited)
    archive = _load_undo(Path(undo))
    if file_sha256(edited) != str(archive["edited_sha256"]):
        raise InputError(f"{edited}: expected the file that the edit of {undo} wrote; it has been changed since")
    header = read_header(edited)
    table = read_element(edited, header, "vertex")
    head = archive["head"].tobytes()
    begin = len(_counted(head, _header_of(head, header), len(table)))
    count, rows, removed = int(archive["count"]), archive["rows"], archive["removed"]
    whole = np.zeros(count, table.dtype)
    stays = np.ones(count, bool)
    stays[rows[removed]] = False
    whole[stays] = table[: int(stays.sum())]
    whole[rows] = np.frombuffer(archive["bytes"].tobytes(), table.dtype)
    with atomic_path(out) as temporary:
        with temporary.open("wb") as file:
            file.write(head + whole.tobytes())
            with edited.open("rb") as behind:
                behind.seek(begin + table.nbytes)
                file.write(behind.read())
        if file_sha256(temporary) != str(archive["source_sha256"]):
            raise InputError(f"{undo}: broken: what it gives back is not the file that was edited")


def _header_of(head: bytes, header: PlyHeader) -> PlyHeader:
    """The header with the size that it has in `head`: another number of vertices may have more digits."""
    return replace(header, size=head.index(b"\n", head.index(b"\nend_header") + 1) + 1)


def _load_undo(path: Path) -> dict[str, np.ndarray]:
    names = ("head", "count", "rows", "removed", "bytes", "source_sha256", "edited_sha256")
    with reading(path), np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in names}
