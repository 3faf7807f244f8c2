"""The published split, ties included, and every way to ask for another."""

import pytest

from gs_reg.data_tools.split import evenly, pick, split
from gs_reg.errors import InputError

COUNTS = (2, 3, 4, 6, 9)
TABLE = {
    ("fern", 20): "1,19 1,10,19 1,6,13,19 1,4,7,12,15,19 1,3,5,7,10,12,14,17,19",
    ("flower", 34): "1,33 1,17,33 1,11,22,33 1,7,13,20,26,33 1,5,9,12,17,21,25,28,33",
    ("fortress", 42): "1,41 1,21,41 1,14,27,41 1,9,17,25,33,41 1,5,11,15,21,26,30,36,41",
    ("horns", 62): "1,61 1,30,61 1,21,41,61 1,13,25,37,49,61 1,9,15,23,30,38,46,53,61",
    ("leaves", 26): "1,25 1,12,25 1,9,17,25 1,5,10,15,20,25 1,4,6,10,12,15,19,21,25",
    ("orchids", 25): "1,23 1,12,23 1,9,15,23 1,5,10,14,19,23 1,3,6,10,12,14,18,21,23",
    ("room", 41): "1,39 1,20,39 1,13,27,39 1,9,17,23,31,39 1,5,10,15,20,25,30,35,39",
    ("trex", 55): "1,54 1,28,54 1,19,36,54 1,11,22,33,44,54 1,7,14,21,28,34,41,47,54",
}
CELLS = [
    (scene, photos, count, [int(i) for i in cell.split(",")])
    for (scene, photos), row in TABLE.items()
    for count, cell in zip(COUNTS, row.split(), strict=True)
]


def photos(count: int) -> list[str]:
    return [f"image{i:03d}.png" for i in range(count)]


@pytest.mark.parametrize(("scene", "count", "views", "expected"), CELLS)
def test_published_split(scene, count, views, expected):
    names = photos(count)
    train, test = split(names, views)
    assert train == tuple(names[i] for i in expected)
    assert test == tuple(names[::8])
    assert not set(train) & set(test)


@pytest.mark.parametrize("count", range(2, 40))
@pytest.mark.parametrize("test_every", [None, 0, 2, 8])
def test_train_and_test_never_meet_and_lose_nothing(count, test_every):
    names = photos(count)
    try:
        train, test = split(names, test_every=test_every)
    except InputError:
        assert test_every and count < 4
        return
    assert sorted((*train, *test)) == names
    held_out = {None: 8 if count >= 10 else 0}.get(test_every, test_every)
    assert test == (tuple(names[::held_out]) if held_out else ())
    assert train == tuple(sorted(train)) and test == tuple(sorted(test))


def test_ties_go_to_the_even_position():
    pool = photos(6)
    assert evenly(pool, 3) == (pool[0], pool[2], pool[5])  # 2.5
    pool = photos(8)
    assert evenly(pool, 3) == (pool[0], pool[4], pool[7])  # 3.5


def test_photos_by_name_stem_and_index():
    names = ["10", "a.b.jpg", "b.jpg", "c.png"]
    assert [pick(asked, names) for asked in ("b.jpg", "b", "a.b", "3", "10", "1")] == [
        *("b.jpg", "b.jpg", "a.b.jpg", "c.png", "10", "a.b.jpg")
    ]
    for wrong in ("4", "-1", "01", "d", ""):
        with pytest.raises(InputError, match="expected a name such as '10', a stem, or an index from 0 to 3"):
            pick(wrong, names)
    with pytest.raises(InputError, match=r"ambiguous: a\.jpg, a\.png"):
        pick("a", ["a.jpg", "a.png"])


def test_train_and_test_by_name():
    names = photos(12)
    train, test = split(names, train=["5", "image002", "image007.png"])
    assert train == (names[2], names[5], names[7]) and test == (names[0], names[8])
    train, _ = split(names, train=["0", "8"])
    assert train == (names[0], names[8]), "a photo that is asked for is not held out"
    train, test = split(names, views=3, test=["1", "11"])
    assert test == (names[1], names[11]) and train == (names[0], names[5], names[10])
    train, test = split(names, test=["3"])
    assert test == (names[3],) and len(train) == 11
    _, test = split(names, train=["0", "8"], test_every=8)
    assert test == ()


def test_split_of_the_source_is_kept_unless_another_is_asked_for():
    names = photos(20)
    declared = ((names[3], names[4], names[5]), (names[1],))
    assert split(names, declared=declared) == declared
    assert split(names, 2, declared=declared) == ((names[3], names[5]), (names[1],))
    assert split(names, test_every=8, declared=declared)[1] == tuple(names[::8])
    assert split(names, test=["0"], declared=declared)[1] == (names[0],)
    assert split(names, test_every=0, declared=declared)[0] == tuple(names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(views=1), "expected 2 to 17"),
        (dict(views=18), "expected 2 to 17"),
        (dict(train=["1"]), "1 training photo of 20"),
        (dict(train=["1", "nobody"]), "no photo 'nobody'"),
        (dict(train=["1", "2"], test=["image002"]), "in both --train and --test"),
        (dict(train=["1", "2"], views=2), "name the training photos, or say how many"),
        (dict(test=photos(19)), "at least 2 are needed"),
        (dict(test_every=1), "at least 2 are needed"),
        (dict(test_every=-3), "--test-every: expected 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        split(photos(20), **options)
    with pytest.raises(InputError, match="no parallax"):
        split(photos(1))
