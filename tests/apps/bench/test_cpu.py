"""`gs-reg bench cpu` on the scene that needs no data, and the baselines and bounds that it compares with."""

import json

import pytest
import torch

from gs_reg._ops.baselines import Projected, bare_loops, pair_counts
from gs_reg.apps import cli
from gs_reg.apps.bench import cpu as bench_cpu
from gs_reg.apps.bench import stages as bench_stages
from gs_reg.apps.bench.memory import peak_memory
from gs_reg.apps.bench.scenes import expanded, make
from gs_reg.errors import InputError


def test_times_every_stage_and_writes_the_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    file = tmp_path / "cpu.json"
    words = ["bench", "cpu", "--scenes", "tiny", "--threads", "1", "2", "--repeats", "1", "--json", str(file)]
    assert cli.main(words) == 0
    written = json.loads(file.read_text())
    assert [(row["stage"], row["threads"]) for row in written["rows"]] == [
        (stage, threads) for threads in (1, 2) for stage in bench_stages.STAGES
    ]
    for row in written["rows"]:
        assert row["scene"] == "tiny" and row["isa"] in ("avx512", "avx2", "base")
        assert 0 < row["best_milliseconds"] <= row["milliseconds"] < 1e4
        assert (row["floor_milliseconds"] is None) == (row["stage"] in ("sort", "binning", "lift"))
        has_baseline = row["stage"] in ("sort", "forward", "backward", "rasterizer")
        assert (row["baseline_milliseconds"] is not None) == has_baseline
    (scene,) = written["scenes"]
    assert 0 < scene["contributing_pairs_per_pixel"] < scene["pairs_per_pixel_4x4"]
    assert 0 < scene["visible"] <= 5000 < scene["intersections"]
    assert set(scene["rates"]) == {"1", "2"}
    out = capsys.readouterr().out
    assert out.count("% of forward + backward") == 2
    assert "Scene tiny" in out and "projection backward" in out and "bare loops" in out and scene["digest"] in out


def test_refuses_to_time_what_differs(monkeypatch, capsys):
    monkeypatch.setattr(bench_cpu, "TOLERANCE", 1e-12)
    assert cli.main(["bench", "cpu", "--scenes", "tiny", "--threads", "1", "--repeats", "1"]) == 1
    assert "scalar algorithm and of ours differ" in capsys.readouterr().err


def test_the_scalar_algorithm_agrees_with_the_kernels_on_any_number_of_threads():
    step = bench_stages.make_step(make("tiny"))
    projected = step.project()
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        differences, _seconds = bench_stages.compare_with_scalar(step, projected)
        assert max(differences.values()) < 1e-3, differences
    torch.set_num_threads(before)


def test_counts_pairs_of_one_splat_by_hand():
    """A splat at a block's centre with alpha above the threshold on the four pixels around it, and nowhere else."""
    splats = Projected(
        means2d=torch.tensor([[6.0, 6.0]]),
        conics=torch.tensor([[8.0, 0.0, 8.0]]),  # sigma 2 at (0.5, 0.5), 10 at (1.5, 0.5)
        opacities=torch.tensor([0.5]),
        depths=torch.ones(1),
        features=torch.ones(1, 3),
        radii=torch.tensor([[3, 3]], dtype=torch.int32),
        width=16,
        height=10,
        cutoffs=(1 / 255, 0.999, 1e-4),
    )
    assert pair_counts(splats) == {"contributing": 4, "evaluated": 16, "saturated": 0}


def test_bare_loops_reach_believable_rates():
    rates = bare_loops()
    assert 1e7 < rates.backward_pairs < rates.forward_pairs < 1e12
    assert 1e8 < rates.flops < 1e13 and 1e8 < rates.bytes < 1e12


def test_memory_is_measured_in_a_process_of_its_own(real_data):
    found = peak_memory("A")  # on tiny, memory that the process already holds may be all it needs
    assert found is None or 0 < found["peak_bytes"] < 1 << 28


def test_scenes_by_name(monkeypatch, tmp_path):
    assert expanded(("A", "channels"))[:2] == ("A", "A/D=1")
    with pytest.raises(InputError, match="scene Q: expected one of A, B"):
        expanded(("Q",))
    monkeypatch.setenv("GS_REG_DATA", str(tmp_path))
    for name, missing in (("A", "test_garden.npz"), ("F", "poses_bounds.npy")):
        with pytest.raises(InputError, match=rf"{missing}: not found; set GS_REG_DATA"):
            make(name)


def test_scenes_are_the_same_every_time():
    assert make("tiny").digest == make("tiny").digest


@pytest.mark.usefixtures("real_data")
def test_real_scenes_have_their_sizes():
    garden, fern = make("A/D=8"), make("F")
    assert garden.features.shape == (100_000, 8) and fern.means.shape == (571_536, 3)
    visible = {s.name: int((bench_stages.make_step(s).project()[5] > 0).all(-1).sum()) for s in (garden, fern)}
    assert visible["A/D=8"] == pytest.approx(63_475, rel=0.01)
    assert visible["F"] == pytest.approx(562_506, rel=0.01)
