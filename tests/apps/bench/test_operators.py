"""`gs-reg bench ops` at small sizes."""

import json

from gs_reg.apps import cli
from gs_reg.apps.bench import operators as bench_ops


def test_each_operator_is_timed_beside_a_library():
    rows = bench_ops.rows(repeats=1, share=0.01)
    assert [row["kept"] for row in rows].count("ours") == 7 and len(rows) == 8
    for row in rows:
        assert 0 < row["library_ms"] < 1e4
        if row["kept"] == "library":
            assert row["ours_ms"] is None
        else:
            assert row["ours_ms"] is not None and 0 < row["ours_ms"] < 1e4


def test_writes_the_rows(monkeypatch, tmp_path, capsys):
    small = bench_ops.rows(1, 0.01)
    monkeypatch.setattr(bench_ops, "rows", lambda repeats: small)
    assert cli.main(["bench", "ops", "--json", str(tmp_path / "ops.json")]) == 0
    assert json.loads((tmp_path / "ops.json").read_text())["rows"] == small
    assert "Adam" in capsys.readouterr().out
