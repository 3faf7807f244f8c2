"""The measure of the bench's edits, its ablation and its tables."""

import csv
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps.edit.bench.ablation import ROWS, ablated
from gs_reg.apps.edit.bench.edits import STRIPED, Edit, measured
from gs_reg.apps.edit.bench.making import Table
from gs_reg.apps.edit.bench.objects import BenchObject
from gs_reg.apps.edit.config import Config
from gs_reg.apps.edit.export import EDITED
from gs_reg.apps.runs.folder import Run
from gs_reg.data_tools.synthetic.objects.colors import NAMES, Paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.io import save_splats

BEFORE = Paint(tuple(NAMES.index(color) for color in ("green", "yellow", "pink", "brown", "teal")), (0,) * 5)


def painted(look, count=8000):
    item = make_object("face", 5)
    return item, splats_of(item, look, count)


def outcome(tmp_path, edit, after):
    item, splats = painted(BEFORE)
    before = BenchObject(item, BEFORE, replace(splats, extra={}), splats.extra["part"])
    save_splats(tmp_path / EDITED, replace(after, extra={}))
    run = Run(tmp_path)
    run.write_json("result.json", {"seconds": 6.0, "model_calls": {"slamp": 4}})
    run.write_json("locality.json", {"intact": True})
    return measured(edit, before, run)


@pytest.mark.parametrize("kind", ["colour", "finish"])
def test_the_true_outcome_is_right_also_where_shade_makes_cyan_look_teal(tmp_path, kind):
    item = make_object("face", 5)
    row, edit = item.parts.index("skin"), Edit("face", kind, "skin", "cyan")
    wanted = BEFORE.changed(row, NAMES.index("cyan"), STRIPED if kind == "finish" else 0)
    good = outcome(tmp_path, edit, painted(wanted)[1])
    assert good.right and good.oracle_psnr > 14 and good.calls == 4, good
    teal = outcome(tmp_path, edit, painted(wanted.changed(row, NAMES.index("blue")))[1])
    assert not teal.right and teal.color_views < 0.2, teal


def test_a_part_that_did_not_grow_is_no_grown_part(tmp_path):
    row = make_object("face", 5).parts.index("skin")
    _, after = painted(BEFORE.changed(row, NAMES.index("cyan")))
    same = outcome(tmp_path, Edit("face", "shape", "skin", "cyan"), after)
    assert same.color_views >= 0.85 and same.growth < 1.1 and not same.right
    part = (after.extra["part"] == row + 1)[:, None]
    larger = replace(after, means=torch.where(part, 1.15 * after.means, after.means))
    assert outcome(tmp_path, Edit("face", "shape", "skin", "cyan"), larger).growth > 1.1


def test_rows_of_the_ablation_have_one_thing_more_each():
    rows = [ablated(Config.of_preset("fast"), row) for row in ROWS]
    assert [row.terms.l1.weight > 0 for row in rows] == [False, True, True, True]
    assert [row.guidance.weight > 0 for row in rows] == [True, False, True, True]
    assert [row.neutral for row in rows] == ["none", "none", "none", "grey"]


def test_a_table_is_whole_after_every_row(tmp_path):
    table = Table(tmp_path / "new" / "table.csv")
    for number in range(3):
        table.add({"source": "stand-in", "n": number})
        with table.path.open() as file:
            assert [row["n"] for row in csv.DictReader(file)] == [str(n) for n in range(number + 1)]
