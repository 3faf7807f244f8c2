"""An edited PLY: frozen rows are copied byte for byte, and the file before the edit comes back byte for byte."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.io import load_splats, rows, save_splats
from gs_reg.io.rows import RowEdit, read_rows, undo_edit, write_edited
from gs_reg.types import Splats

N = 40
PLAIN = [*"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(9)), "opacity"]
PLAIN += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def ply(path, names=PLAIN, types=None, order="little", comments=(), before=b"", elements=(), tail=b"", newline="\n"):
    """A PLY of N rows with random numbers; `types` are other types than float by name."""
    rng, types = np.random.default_rng(0), types or {}
    kinds = {"float": "f4", "double": "f8", "uchar": "u1", "int": "i4"}
    sign = {"little": "<", "big": ">"}[order]
    table = np.zeros(N, np.dtype([(name, sign + kinds[types.get(name, "float")]) for name in names]))
    for name in names:
        table[name] = rng.normal(size=N) if table.dtype[name].kind == "f" else rng.integers(0, 99, N)
    head = ["ply", f"format binary_{order}_endian 1.0", *(f"comment {text}" for text in comments), *elements]
    head += [f"element vertex {N}", *(f"property {types.get(name, 'float')} {name}" for name in names)]
    behind = ["element face 2", "property list uchar int vertex_indices"] if tail else []
    path.write_bytes(newline.join([*head, *behind, "end_header", ""]).encode() + before + table.tobytes() + tail)
    return path


SHUFFLED = [PLAIN[i] for i in np.random.default_rng(5).permutation(len(PLAIN))]
DIALECTS = {
    "inria": {},
    "no_normals": {"names": [name for name in PLAIN if name[0] != "n"]},
    "shuffled": {"names": SHUFFLED, "comments": ["Vertical Axis: z", "SplatRenderMode: mip", "naïve"]},
    "doubles": {"types": dict.fromkeys("xyz", "double") | {"opacity": "double", "scale_1": "double"}},
    "big_endian": {"order": "big"},
    "other_columns": {"names": ["label", *PLAIN, "segment"], "types": {"label": "uchar", "segment": "int"}},
    "earlier_element": {"elements": ["element origin 2", "property uchar a"], "before": b"\x0a\x07"},
    "faces": {"tail": (b"\x03" + np.arange(3, dtype="<i4").tobytes()) * 2},
    "crlf": {"newline": "\r\n"},
}
ROW = {name: dialect.get("names", PLAIN) for name, dialect in DIALECTS.items()}


def some_edit(splats: Splats, *, shift=0.0) -> RowEdit:
    """Rows 5 to 8 and 20 are owned: 6 is removed, 20 stays as it is, the others get other colours; two are new."""
    owned = torch.tensor([5, 6, 7, 8, 20])
    origin, parent = torch.tensor([5, 7, 8, 20, -1, -1]), torch.tensor([5, 7, 8, 20, 7, -1])
    after = splats.rows(torch.tensor([5, 7, 8, 20, 7, 8]))
    sh = after.sh.clone()
    sh[[0, 1, 2, 4]] += 0.25
    means = after.means.clone()
    means[4] += 1 + shift
    return RowEdit(owned, replace(after, sh=sh, means=means), origin, parent)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_frozen_rows_keep_their_bytes_and_undo_gives_the_file_back(tmp_path, dialect):
    path = ply(tmp_path / "scene.ply", **DIALECTS[dialect])
    source = read_rows(path, tmp_path / "decoded.ply")
    edit = some_edit(source.splats)
    counts = write_edited(tmp_path / "edited.ply", source, edit, tmp_path / "part.npz")
    assert counts.intact and (counts.frozen, counts.changed, counts.removed, counts.added) == (N - 5, 3, 1, 2)

    after = read_rows(tmp_path / "edited.ply", tmp_path / "decoded.ply")
    frozen = [i for i in range(N) if i not in (5, 6, 7, 8, 20)]
    shifted = [i - (i > 6) for i in frozen]
    assert after.table[shifted].tobytes() == source.table[frozen].tobytes()
    assert counts.frozen_sha256_after == hashlib.sha256(source.table[frozen].tobytes()).hexdigest()
    assert after.table[19].tobytes() == source.table[20].tobytes()  # owned, and not a number of it changed
    assert after.tail == source.tail and after.header.comments == source.header.comments
    splats = load_splats(tmp_path / "edited.ply")
    assert torch.equal(splats.sh[[5, 6, 7]], source.splats.sh[[5, 7, 8]] + 0.25)
    wanted = edit.applied_to(source.splats)
    assert all(torch.equal(getattr(splats, c), getattr(wanted, c)) for c in ("means", "quats", "sh", "opacity_logits"))
    others = [name for name in ROW[dialect] if name in ("label", "segment", "nx")]
    for name in others:  # columns that are no splats': kept, then from the parent, or 0
        assert (after.table[name][[5, 6, 7]] == source.table[name][[5, 7, 8]]).all()
        assert after.table[name][-2] == source.table[name][7] and after.table[name][-1] == 0
    if dialect == "doubles":  # a number that did not change keeps more digits than a float has
        assert (after.table["x"][5:8] == source.table["x"][[5, 7, 8]]).all()

    undo_edit(tmp_path / "edited.ply", tmp_path / "part.npz", tmp_path / "back.ply")
    assert (tmp_path / "back.ply").read_bytes() == path.read_bytes()


def test_labels_follow_their_rows():
    splats = Splats(*(torch.randn(N, *shape) for shape in ((3,), (4,), (3,), (), (4, 3))), {"label": torch.arange(N)})
    after = some_edit(splats).applied_to(splats)
    assert after.extra["label"].tolist() == [i for i in range(N) if i != 6] + [7, 0] and len(after) == N + 1


def test_rows_that_are_not_finite_stay_where_they_are(tmp_path):
    path = ply(tmp_path / "scene.ply")
    table = read_rows(path, path).table
    table["x"][2] = np.nan
    table["opacity"][[7, 30]] = np.inf
    head = path.read_bytes()[: -table.nbytes]
    path.write_bytes(head + table.tobytes())
    source = read_rows(path, path)
    assert len(source.splats) == N - 1 and source.rows[:4].tolist() == [0, 1, 3, 4]
    edit = some_edit(source.splats)  # row 6 of the splats is row 7 of the file, and so on
    counts = write_edited(tmp_path / "edited.ply", source, edit, tmp_path / "part.npz")
    after = read_rows(tmp_path / "edited.ply", path)
    assert counts.intact and counts.frozen == N - 5
    assert np.isnan(after.table["x"][2]) and np.isinf(after.table["opacity"][29])
    undo_edit(tmp_path / "edited.ply", tmp_path / "part.npz", tmp_path / "back.ply")
    assert (tmp_path / "back.ply").read_bytes() == path.read_bytes()


def test_an_infinite_number_that_the_edit_leaves_stays_infinite(tmp_path):
    path = ply(tmp_path / "scene.ply")
    table = read_rows(path, path).table
    table["opacity"][5] = np.inf
    path.write_bytes(path.read_bytes()[: -table.nbytes] + table.tobytes())
    source = read_rows(path, path)
    write_edited(tmp_path / "edited.ply", source, some_edit(source.splats), tmp_path / "part.npz")
    assert np.isinf(read_rows(tmp_path / "edited.ply", path).table["opacity"][5])


def test_a_model_that_changes_frozen_rows_is_seen(tmp_path, monkeypatch):
    """The digest is of the rows in the file that was written, not of those in memory."""
    source = read_rows(ply(tmp_path / "scene.ply"), tmp_path / "x.ply")

    def careless(table, places, after, before):
        table["f_dc_0"][0] += 1e-3

    monkeypatch.setattr(rows, "_rewrite", careless)
    edit = some_edit(source.splats)
    assert not write_edited(tmp_path / "edited.ply", source, edit, tmp_path / "part.npz").intact


@pytest.mark.parametrize("suffix", [".splat", ".spz", ".compressed.ply"])
def test_other_formats_are_decoded_to_a_ply_first(tmp_path, suffix):
    splats = read_rows(ply(tmp_path / "scene.ply"), tmp_path / "x.ply").splats
    save_splats(tmp_path / f"scene{suffix}", splats)
    source = read_rows(tmp_path / f"scene{suffix}", tmp_path / "decoded.ply")
    assert source.path == tmp_path / "decoded.ply"
    write_edited(tmp_path / "edited.ply", source, some_edit(source.splats), tmp_path / "part.npz")
    undo_edit(tmp_path / "edited.ply", tmp_path / "part.npz", tmp_path / "back.ply")
    assert (tmp_path / "back.ply").read_bytes() == (tmp_path / "decoded.ply").read_bytes()


def test_undo_refuses_what_is_not_its_own(tmp_path):
    source = read_rows(ply(tmp_path / "scene.ply"), tmp_path / "x.ply")
    edited, part = tmp_path / "edited.ply", tmp_path / "part.npz"
    write_edited(edited, source, some_edit(source.splats), part)
    data = edited.read_bytes()
    edited.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match="changed since"):
        undo_edit(edited, part, tmp_path / "back.ply")
    edited.write_bytes(data)
    write_edited(tmp_path / "other.ply", source, some_edit(source.splats, shift=1.0), tmp_path / "other.npz")
    with pytest.raises(InputError, match="changed since"):
        undo_edit(edited, tmp_path / "other.npz", tmp_path / "back.ply")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(InputError, match=r"part\.npz"):
        undo_edit(edited, part, tmp_path / "back.ply")
    with pytest.raises(InputError, match=r"none\.npz: No such file"):
        undo_edit(edited, tmp_path / "none.npz", tmp_path / "back.ply")
    assert not (tmp_path / "back.ply").exists()


def test_columns_of_integers_cannot_hold_an_edit(tmp_path):
    path = ply(tmp_path / "scene.ply", types={"opacity": "int"})
    with pytest.raises(InputError, match="column 'opacity': expected float or double"):
        read_rows(path, tmp_path / "x.ply")
    with pytest.raises(InputError, match=r"none\.ply: no such file"):
        read_rows(tmp_path / "none.ply", tmp_path / "x.ply")
