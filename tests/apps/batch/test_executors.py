"""The same batch on Ray and through submitit, with a worker that is killed."""

import contextlib
import os
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from gs_reg.apps import cli
from gs_reg.apps.batch.executors.on_ray import same_handlers
from gs_reg.apps.batch.states import read_status

from .test_engine import start, until

PLACES = [
    pytest.param(("--executor", "ray"), id="ray"),
    pytest.param(("--executor", "slurm", "--address", "local"), id="slurm"),
]


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(one for words in children for child in words for one in family(int(child)))]


def listening(engine: int) -> list[str]:
    """Addresses, in hexadecimal, on which the engine and what it started take connections; at least one."""
    sockets = set()
    for pid in family(engine):
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(handle).removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    found = [words[1].partition(":")[0][-8:] for words in lines if words[3] == "0A" and words[9] in sockets]
    assert found
    return found


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_worker_is_made_good(bench, place):
    if find_spec("ray" if "ray" in place else "submitit") is None:
        pytest.skip("the extra is not installed")
    bench.write(
        {"id": "long", "seconds": 4},
        {"id": "after", "needs": ["long"]},
        {"id": "bad", "code": 2, "always": True, "text": "gs-reg: x: wrong"},
        {"id": "again", "code": 1, "times": 1},
        resources={"memory_gb": 0.1},
    )
    # Ray stays in the process that began it, with threads and a handler of crashes: not in that of the tests
    engine = start(bench, "run", bench.file, "--out", bench.out, "--workers", "2", *place)
    until(lambda: list(bench.out.glob("jobs/long-*/begun")), 120)
    assert "ray" not in place or {host for host in listening(engine.pid) if host != "0100007F"} == set()
    worker = read_status(bench.folder("long")).pid
    assert worker not in (engine.pid, os.getpid())
    (child,) = map(int, (bench.folder("long") / "begun").read_text().split())
    os.kill(worker, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}").exists(), 10)
    engine.join(180)
    assert engine.exitcode == 1
    states = {name: bench.status(name) for name in ("long", "after", "bad", "again")}
    assert {name: (s["state"], s["attempt"]) for name, s in states.items()} == {
        "long": ("done", 2),
        "after": ("done", 1),
        "bad": ("failed", 1),
        "again": ("done", 2),
    }
    assert states["long"]["failures"] == ["lost"] and states["bad"]["reason"] == "x: wrong"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("1.2.3.4:99999", "expected HOST:PORT"),
        ("1.2.3.4", "expected HOST:PORT"),
        ("ray://[::1", "expected HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("ray://127.0.0.1:1", "no Ray cluster answers there"),
    ],
)
def test_no_cluster_at_an_address(tmp_path, capsys, address, said):
    (tmp_path / "a.ply").touch()
    (tmp_path / "jobs.yaml").write_text("kind: export\njobs: [{id: a, source: a.ply}]\n")
    words = ["batch", "run", str(tmp_path / "jobs.yaml"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--executor", "ray", "--address", address]) == 2
    assert f"gs-reg: --address {address}: {said}" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_handlers_that_ray_sets_are_not_kept():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), same_handlers():
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_preempted_job_of_slurm_is_queued_again(bench):
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    bench.write({"id": "a", "seconds": 6}, resources={"memory_gb": 0.1})
    thread = threading.Thread(target=bench.run, args=("--executor", "slurm", "--address", "local"))
    thread.start()
    until(lambda: list(bench.out.glob("jobs/a-*/begun")), 120)
    os.kill(read_status(bench.folder("a")).pid, signal.SIGUSR2)
    thread.join(120)
    status = read_status(bench.folder("a"))
    assert (status.state, status.attempt, status.failures) == ("done", 2, ())
