"""Which photos are trained on and which are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from gs_reg.errors import InputError

from .photos.names import tails, without_ending

FEW = 10
"""Fewer photos than this, and none is held out unless asked."""


def split(
    photos: Sequence[str] | Mapping[str, str],
    views: int | None = None,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    test_every: int | None = None,
    declared: tuple[Sequence[str], Sequence[str]] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to train on and to hold out, disjoint, in the order of `photos`: names, sorted, and the whole ones of each.

    Held out: `test`; else every `test_every`-th from the first on; else the split `declared` by the source; else every
    8th where there are ten photos or more. Trained on: `train`, else `views` of the others, else all others.

    Raises:
        InputError: an unknown name, an overlap, fewer than 2 photos to train on, or more asked than there are.
    """
    if train and views is not None:
        raise InputError("--views and --train are both given: name the training photos, or say how many to pick")
    if test_every is not None and test_every < 0:
        raise InputError(f"--test-every: expected 0 (none) or more, got {test_every}")
    names = tuple(photos)
    chosen = {name: pick(name, photos) for name in (*train, *test)}
    trained, held_out = {chosen[name] for name in train}, {chosen[name] for name in test}
    for name in sorted(trained & held_out):
        raise InputError(f"{name} is in both --train and --test: a photo that is trained on cannot judge")
    pool = set(names)
    if not test:
        held_out = set(names[::test_every]) if test_every else set()
        if test_every is None and declared is not None:
            held_out, pool = set(declared[1]), {*declared[0], *declared[1]}
        elif test_every is None and len(names) >= FEW:
            held_out = set(names[::8])
        held_out -= trained
    rest = [name for name in names if name in pool and name not in held_out]
    if not train:
        trained = set(rest if views is None else evenly(rest, views))
    if len(trained) < 2:
        raise InputError(
            f"{len(trained)} training photo of {len(names)}: one photo has no parallax, at least 2 are needed "
            "(give more photos, or hold fewer out)"
        )
    return tuple(n for n in names if n in trained), tuple(n for n in names if n in held_out)


def evenly(pool: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` of the pool at even distances, ends included; ties go to the even position, as in Python's round.

    Raises:
        InputError: fewer than 2, or more than there are.
    """
    if not 2 <= count <= len(pool):
        raise InputError(f"--views: expected 2 to {len(pool)} (the photos that are not held out), got {count}")
    return tuple(pool[round(Fraction(i * (len(pool) - 1), count - 1))] for i in range(count))


def pick(asked: str, photos: Sequence[str] | Mapping[str, str]) -> str:
    """The photo that is meant by a name, with or without folders and ending, else by an index in sorted order.

    `photos` are names, or the names in use with the whole ones, which have folders.
    """
    whole = photos if isinstance(photos, Mapping) else {name: name for name in photos}
    by_whole = {full: name for name, full in whole.items()}
    found = [by_whole[full] for full in called(asked, tuple(by_whole))]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise InputError(f"photo {asked!r} is ambiguous: {', '.join(found)}")
    names = tuple(whole)
    if asked.isdigit() and str(int(asked)) == asked and int(asked) < len(names):
        return names[int(asked)]
    raise InputError(
        f"no photo {asked!r}: expected a name such as {names[0]!r}, a stem, or an index from 0 to {len(names) - 1}"
    )


def called(asked: str, names: Sequence[str]) -> list[str]:
    """Those of the whole names that a user may mean: this one, else those that end so, with or without an ending."""
    asked = asked.replace("\\", "/").removeprefix("./")
    if asked in names:
        return [asked]
    for name_of in (str, without_ending):
        if asked in map(name_of, names):
            return [name for name in names if name_of(name) == asked]
        if found := [name for name in names if asked in map(name_of, tails(name))]:
            return found
    return []
