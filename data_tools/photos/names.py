"""A photo's name as the name of a file: of what a run writes for it, and of what the user brings for it."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gs_reg.errors import InputError

ENDINGS = ("_photo", "_depth", "_trained", "_views", "_unseen")
"""What a run writes behind a photo's name, for several files of one photo in one folder."""
LONGEST = 180
"""Bytes of a name that is not cut: file systems allow 255, and endings and temporary files take some."""


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """A file name without its ending for each photo of a run, by the photo's name.

    No two are alike on any file system, with any of ENDINGS behind them, and the order of the names does not matter.
    It is the photo's name without folders and ending where those are unique; else with its folders, joined by "_"; else
    with the ending too; else, as `a/b.png` beside `a_b.png`, with a digest. Either of these is taken for all photos.
    """
    names = tuple(names)
    below = {name: "/".join(parts) for name, parts in _below_common_folder(names).items()}
    schemes: tuple[Callable[[str], str], ...] = (lambda n: PurePosixPath(n).stem, without_ending, str)
    for scheme in schemes:
        stems = {name: _safe(scheme(below[name])) for name in names}
        if len({_folded(stem) for stem in stems.values()}) == len(stems):
            return stems
    return {name: _with_digest(_safe(below[name]), name) for name in names}


def without_ending(name: str) -> str:
    """`a/b.c.png` -> `a/b.c`; a name that is only an ending stays."""
    path = PurePosixPath(name)
    return str(path.parent / path.stem)


def tails(name: str) -> list[str]:
    """The name, whole and less one folder after another."""
    parts = PurePosixPath(name).parts
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _below_common_folder(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    parts = {name: PurePosixPath(name).parts for name in names}
    folders = {p[:-1] for p in parts.values()}
    first, last = min(folders, default=()), max(folders, default=())
    common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return {name: p[common:] for name, p in parts.items()}


def _safe(name: str) -> str:
    """A name that is no path, not hidden, does not end as those of other files do, and is not too long."""
    stem = re.sub(r"[/\\\x00-\x1f]", "_", name)
    stem = f"_{stem}" if stem[:1] in ("", ".") else stem
    stem = f"{stem}_" if stem.lower().endswith(ENDINGS) else stem
    return _with_digest(stem, name) if len(os.fsencode(stem)) > LONGEST else stem


def _with_digest(stem: str, name: str) -> str:
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    kept = os.fsencode(stem)[: LONGEST - len(digest) - 1].decode(errors="ignore")
    return f"{kept}-{digest}"


def _folded(stem: str) -> str:
    """The same for names that some file system takes for one: of other case, or of composed and bare accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


class PhotoFiles:
    """The user's files of photos, by the photos' whole names: those below their folder.

    Of `cam0/1.jpg` are `cam0/1.npy`, `cam0/1.jpg.npy`, and, where no other photo could be meant, `1.npy` and
    `1.jpg.npy`; also `cam0_1.npy`, as a run of these photos would call it.
    """

    def __init__(self, names: Mapping[str, str]):
        """`names` are the whole names of all photos of the data set, by those in use."""
        self._whole = dict(names)
        self._stems = {self._whole[name]: stem for name, stem in file_stems(self._whole).items()}
        self._by_whole: dict[str, list[str]] = defaultdict(list)
        self._by_part: dict[str, list[str]] = defaultdict(list)
        for name in self._whole.values():
            whole, parts = self._keys(name)
            for key in dict.fromkeys(whole):
                self._by_whole[key].append(name)
            for key in parts:
                self._by_part[key].append(name)

    def find(self, name: str, folder: Path, endings: Sequence[str]) -> list[Path]:
        """The files of a photo in the folder, of the first of its names that has any; none = no file.

        Raises:
            InputError: a file that may be of two photos alike.
        """
        asked = self._whole.get(name, name)
        for key in self._all_keys(asked):
            found = [path for ending in endings if (path := folder / f"{key}{ending}").is_file()]
            meant = self._meant(key) or [asked]
            if not found or asked not in meant:
                continue
            if len(meant) > 1:
                raise _ambiguous(found[0], meant, [self._own_key(photo) for photo in meant])
            return found
        return []

    def find_pair(self, a: str, b: str, folder: Path, ending: str) -> Path | None:
        """The file A__B of two photos: of their whole names, of their ends, or with B beside A.

        Raises:
            InputError: a file that may be of two pairs alike.
        """
        a, b = (self._whole.get(name, name) for name in (a, b))
        for key in self._pair_keys(a, b):
            path = folder / f"{key}{ending}"
            pairs = self._meant_pairs(key) or {(a, b)}
            if not path.is_file() or (a, b) not in pairs:
                continue
            if len(pairs) > 1:
                meant = [f"{x} and {y}" for x, y in sorted(pairs)]
                raise _ambiguous(path, meant, [f"{self._own_key(x)}__{self._own_key(y)}" for x, y in sorted(pairs)])
            return path
        return None

    def _pair_keys(self, a: str, b: str) -> list[str]:
        """The names that a file of two photos may have, the whole ones first."""
        keys = []
        for left, right in zip(*_padded(tails(a), tails(b)), strict=True):
            together = PurePosixPath(left).parent == PurePosixPath(right).parent
            for second in (right, PurePosixPath(right).name) if together else (right,):
                keys += [f"{without_ending(left)}__{without_ending(second)}", f"{left}__{second}"]
        return list(dict.fromkeys([*keys, f"{self._stems.get(a, a)}__{self._stems.get(b, b)}"]))

    def _keys(self, name: str) -> tuple[list[str], list[str]]:
        """Names of the whole, and those of its end alone or of a run's file."""
        whole = [without_ending(name), name]
        parts = [key for tail in tails(name)[1:] for key in (without_ending(tail), tail)]
        return whole, [key for key in dict.fromkeys([*parts, self._stems.get(name, name)]) if key not in whole]

    def _all_keys(self, name: str) -> list[str]:
        whole, parts = self._keys(name)
        return [*whole, *parts]

    def _meant(self, key: str) -> list[str]:
        """The photos that a key may mean: those that are called so, else those whose name ends so."""
        return self._by_whole.get(key) or self._by_part.get(key, [])

    def _meant_pairs(self, key: str) -> set[tuple[str, str]]:
        """The pairs that A__B may mean, wherever in it the two names meet."""
        pairs = set()
        for split in re.finditer("(?=__)", key):
            left, right = key[: split.start()], key[split.start() + 2 :]
            for a in self._meant(left):
                beside = str(PurePosixPath(a).parent / right)
                folder = self._by_whole.get(beside) if "/" in left else None
                pairs |= {(a, b) for b in folder or self._meant(right) if a != b}
        return pairs

    def _own_key(self, name: str) -> str:
        """The name without its ending, or with it where another photo is called the same."""
        key = without_ending(name)
        return key if len(self._by_whole.get(key, ())) <= 1 else name


def _padded(a: list[str], b: list[str]) -> tuple[list[str], list[str]]:
    """Both as long as the longer, the last one repeated."""
    return a + a[-1:] * (len(b) - len(a)), b + b[-1:] * (len(a) - len(b))


def _ambiguous(path: Path, meant: Sequence[str], keys: Sequence[str]) -> InputError:
    more = " ..." if len(meant) > 3 else ""
    files = ", ".join(f"{key}{path.suffix}" for key in keys[:3])
    return InputError(f"{path}: of {', or of '.join(meant[:3])}{more}? Name each one's own: {files}{more}")
