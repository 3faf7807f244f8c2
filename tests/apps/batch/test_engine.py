"""The engine with jobs that do nothing: once each, retries by class, needs, cancel, disk, memory, other engines."""

import contextlib
import errno
import json
import multiprocessing
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gs_reg.apps import cli
from gs_reg.apps.batch import engine, lease, worker
from gs_reg.apps.batch.states import Status, read_status, write_status

from . import fakes


def test_jobs_run_once_in_the_order_of_their_needs(bench, capsys):
    bench.write({"id": "b", "needs": ["a"]}, {"id": "a"}, {"id": "c", "after": "{jobs.b.out}"})
    assert bench.run("--dry-run") == 0 and not bench.out.exists()
    assert bench.run() == 0
    times = [bench.status(name)["started"] for name in "abc"]
    assert times == sorted(times) and [bench.count(name, "done") for name in "abc"] == [1, 1, 1]
    capsys.readouterr()
    assert bench.run("--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["state"] for row in rows} == {"done"} and [bench.count(name, "started") for name in "abc"] == [1, 1, 1]
    assert bench.run("--force", "--only", "b") == 0
    assert [bench.count(name, "done") for name in "abc"] == [1, 2, 1]


def test_the_page_says_what_a_job_still_waits_for(bench):
    bench.write({"id": "a"}, {"id": "b", "needs": ["a"]}, {"id": "c", "needs": ["a", "b"]})
    assert bench.run("--only", "a") == 0
    page = (bench.out / "report.html").read_text()
    assert page.count("waits for") == page.count("waits for b<") == 1


def test_failures_are_tried_again_by_their_class(bench, capsys):
    bench.write(
        {"id": "bad", "code": 2, "always": True, "text": "gs-reg: photos: no such <folder>"},
        {"id": "missing", "code": 3, "always": True},
        {"id": "killed", "code": 137, "times": 2},
        {"id": "lost", "code": 137, "always": True},
        {"id": "memory", "code": 1, "times": 1, "text": "CUDA out of memory. Tried"},
        {"id": "unknown", "code": 1, "times": 1, "text": "gs-reg: a fault"},
        {"id": "waits", "needs": ["bad"]},
    )
    assert bench.run() == 1
    states = {name: bench.status(name) for name in ("bad", "missing", "killed", "lost", "memory", "unknown")}
    assert {name: (s["state"], s["attempt"]) for name, s in states.items()} == {
        "bad": ("failed", 1),
        "missing": ("failed", 1),
        "killed": ("done", 3),
        "lost": ("failed", 3),
        "memory": ("done", 2),
        "unknown": ("done", 2),
    }
    assert states["memory"]["degraded"] and not states["unknown"]["degraded"]
    assert states["bad"]["error"] == "bad input" and states["bad"]["reason"] == "photos: no such <folder>"
    page = (bench.out / "report.html").read_text()
    assert "photos: no such &lt;folder&gt;" in page and "no such <folder>" not in page and "waits for bad" in page
    assert ",bad input,photos: no such <folder>," in (bench.out / "report.csv").read_text()
    capsys.readouterr()
    assert bench.call("status") == 0
    said = capsys.readouterr().out
    assert "photos: no such <folder>" in said and "3 done" in said and "3 failed" in said and "1 pending" in said
    assert bench.call("retry", "--only", "missing") == 1 and bench.count("missing", "started") == 2
    assert bench.count("bad", "started") == 1
    assert bench.run("--only-failed") == 1 and bench.count("bad", "started") == 2


def test_a_changed_input_is_a_new_job_and_the_old_one_is_stale(bench):
    (bench.root / "x.ply").write_text("1")
    bench.write({"id": "a", "data": "x.ply"}, {"id": "b"}, {"id": "c", "after": "{jobs.a.out}"})
    assert bench.run() == 0
    before = [bench.folder(name) for name in "abc"]
    (bench.root / "x.ply").write_text("2")
    assert bench.run() == 0
    after = [bench.folder(name) for name in "abc"]
    assert before[0] != after[0] and before[1] == after[1] and before[2] != after[2]
    assert [read_status(folder).state for folder in before] == ["stale", "done", "stale"]
    (bench.root / "x.ply").write_text("1")
    assert bench.run() == 0
    assert [bench.folder(name) for name in "abc"] == before and bench.count("a", "done") == 1


def test_a_job_that_takes_too_long_is_ended_and_fails_as_such(bench):
    bench.write({"id": "a", "seconds": 60, "resources": {"minutes": 0.01}, "retry": {"lost": 0}})
    assert bench.run() == 1
    assert bench.status("a")["error"] == "time" and "0.01 minutes" in bench.status("a")["reason"]


CONTEXT = multiprocessing.get_context("forkserver")


def start(bench, *words) -> Any:
    """An engine in a process of its own, forked from one in which everything is imported."""
    CONTEXT.set_forkserver_preload(["tests.apps.batch.fakes", "gs_reg.apps.batch.run", "gs_reg.apps.batch.resume"])
    process = CONTEXT.Process(target=fakes.main, args=([str(word) for word in words], bench.root / "engine.log"))
    process.start()
    return process


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def begun(bench, count: int) -> bool:
    return len(list(bench.out.glob("jobs/*/begun"))) >= count


def no_child_is_left(bench) -> bool:
    pids = [int(line) for path in bench.out.glob("jobs/*/begun") for line in path.read_text().split()]
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_killed_engine_is_resumed_and_interrupts_save(bench):
    bench.write(*({"id": f"j{i}", "seconds": 1.5} for i in range(6)))
    run = ("run", bench.file, "--out", bench.out, "--workers", 2)
    killed = start(bench, *run)
    until(lambda: begun(bench, 2))
    killed.kill()
    killed.join()
    until(lambda: no_child_is_left(bench), 5)
    stopped = start(bench, *run)
    until(lambda: begun(bench, 4))
    stopped.terminate()
    stopped.join(30)
    assert stopped.exitcode == 143
    assert "continue with gs-reg batch resume" in (bench.root / "engine.log").read_text()
    assert no_child_is_left(bench) and "running" not in {bench.status(f"j{i}")["state"] for i in range(4)}
    assert bench.call("resume") == 0
    assert [bench.count(f"j{i}", "done") for i in range(6)] == [1] * 6


def test_two_engines_on_one_folder_never_run_a_job_twice(bench):
    bench.write(*({"id": f"j{i}", "seconds": 0.2} for i in range(12)))
    run = ("run", bench.file, "--out", bench.out, "--workers", 2)
    both = [start(bench, *run) for _ in range(2)]
    for process in both:
        process.join(240)
        assert process.exitcode == 0, (bench.root / "engine.log").read_text()
    for i in range(12):
        assert bench.count(f"j{i}", "started") == bench.count(f"j{i}", "done") == 1
        assert (bench.folder(f"j{i}") / "out" / "done").read_text() == "x"


@pytest.mark.parametrize("left", ["running", "failed"])
def test_a_job_that_another_engine_ends_in_the_last_moment_is_not_done_again(bench, monkeypatch, left):
    """Between the look at a job that is left and its lease; a moment that a busy machine makes long."""
    bench.write({"id": "a", "code": 1, "times": 0 if left == "running" else 1})

    def late(folder, *watch):
        monkeypatch.setattr(engine, "acquire", lease.acquire)
        assert read_status(folder).state == left
        write_status(folder, Status("done", 1, progress=1.0))
        return lease.acquire(folder, *watch)

    if left == "running":
        assert bench.run() == 0
        write_status(bench.folder("a"), Status("running", 1))
    monkeypatch.setattr(engine, "acquire", late)
    assert bench.run() == 0
    assert engine.acquire is lease.acquire and bench.count("a", "started") == 1
    assert bench.status("a")["state"] == "done"


def test_cancel_ends_what_runs_and_what_waits(bench):
    bench.write({"id": "a", "seconds": 60}, {"id": "b", "needs": ["a"]}, {"id": "c", "seconds": 0.1})
    thread = threading.Thread(target=bench.run)
    thread.start()
    until(lambda: begun(bench, 2))
    assert bench.call("cancel", "--only", "a", "b") == 0
    thread.join(30)
    assert [bench.status(name)["state"] for name in "abc"] == ["cancelled", "cancelled", "done"]


def seconds_of_a_bare_process(folder: Path, count: int) -> float:
    """Of the same programs, 2 at a time, without an engine; each."""
    lines = [fakes.words({}, folder, folder / str(i) / "out").fresh for i in range(count)]
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda line: subprocess.run(line, check=True), lines))
    return (time.perf_counter() - began) / count


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_many_jobs_take_no_more_memory_and_little_time_each(bench, monkeypatch, count):
    bench.write(*({"id": f"j{i}"} for i in range(count)))
    sizes: list[int] = []

    def measure(running) -> None:
        done = sum(status.state == "done" for status in running.states.values())
        if done >= count / 5 * (len(sizes) + 1):
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))

    monkeypatch.setattr("gs_reg.apps.batch.options.shown", lambda _: contextlib.nullcontext(measure))
    began, spent = time.perf_counter(), time.process_time()
    assert bench.run("-q") == 0
    each, wall = (time.process_time() - spent) / count, (time.perf_counter() - began) / count
    bare = seconds_of_a_bare_process(bench.root / "bare", count)
    print(
        f"{count} jobs, 2 at a time: {1000 * wall:.1f} ms each, {1000 * (wall - bare):.1f} beyond a bare process; "
        f"{1000 * each:.1f} ms of the engine's processor"
    )
    assert each < (0.05 if count == 500 else 0.1)  # begin and report are shared by fewer
    assert len(sizes) >= 4 and sizes[-1] - sizes[0] < 10e6, sizes


def test_a_full_disk_stops_the_batch_and_loses_nothing(bench, monkeypatch, capsys):
    bench.write(
        {"id": "a", "code": 2, "times": 1, "text": "gs-reg: a.ply: no space left on the disk; free some"}, {"id": "b"}
    )
    assert bench.run("--workers", "1") == 2
    assert "no space left on the disk: free some" in capsys.readouterr().err
    assert bench.status("a")["error"] == "disk full" and not (bench.out / "jobs" / "b").exists()
    assert bench.call("resume") == 0 and bench.count("a", "done") == bench.count("b", "done") == 1

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "status.json")

    bench.write({"id": "c"}, {"id": "d"})
    monkeypatch.setattr(worker, "write_status", full)
    assert bench.run() == 2
    monkeypatch.undo()


def test_little_disk_is_seen_ahead(bench, monkeypatch):
    bench.write({"id": "a"})
    monkeypatch.setattr(engine, "LEAST_FREE", 1e18)
    assert bench.run() == 2 and not list(bench.out.glob("jobs/*/out"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_one_line(bench, capsys):
    bench.write({"id": "a"})
    assert cli.main(["batch", "run", str(bench.file), "--out", "/sys/kernel/batch"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("gs-reg: /sys/kernel/batch: ") and "Traceback" not in "".join(said)


class TestLease:
    def test_one_of_many_gets_it(self, tmp_path):
        got: list = []
        threads = [threading.Thread(target=lambda: got.append(lease.acquire(tmp_path))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(one is not None for one in got) == 1
        next(one for one in got if one).release()
        assert lease.acquire(tmp_path) is not None and lease.acquire(tmp_path) is None

    def held_by_another_machine(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lease, "place", lambda: "elsewhere")
        held = lease.acquire(tmp_path)
        monkeypatch.setattr(lease, "place", lambda: "here")
        return held

    @pytest.mark.parametrize("clock", [0, 3600, -3600])
    def test_silence_is_measured_whatever_the_clock_was_set_to(self, tmp_path, monkeypatch, clock):
        held = self.held_by_another_machine(tmp_path, monkeypatch)
        now = time.time() - clock
        os.utime(held.path, (now, now))
        watch, seconds = lease.Watch(tmp_path), 0.0
        began = time.monotonic()
        monkeypatch.setattr(lease.time, "monotonic", lambda: began + seconds)
        assert not watch.silent()
        seconds = 29.0
        assert not watch.silent()
        held.renew()
        seconds = 31.0
        assert not watch.silent() and lease.acquire(tmp_path, watch) is None
        seconds = 31.0 + 89
        assert not watch.silent()
        seconds = 31.0 + 91
        assert watch.silent() and lease.acquire(tmp_path, watch) is not None
        assert not held.renew()

    def test_a_long_dead_one_is_taken_over_within_two_renewals(self, tmp_path, monkeypatch):
        held = self.held_by_another_machine(tmp_path, monkeypatch)
        os.utime(held.path, (1e9, 1e9))
        watch, began = lease.Watch(tmp_path), time.monotonic()
        assert not watch.silent()
        monkeypatch.setattr(lease.time, "monotonic", lambda: began + 31)
        assert watch.silent()

    def test_a_worker_that_lost_it_ends_its_child_and_writes_nothing(self, bench, monkeypatch):
        monkeypatch.setattr(worker, "RENEW_SECONDS", 0.1)
        monkeypatch.setattr(worker, "LOOK_SECONDS", 0.05)
        bench.write({"id": "a", "seconds": 60})
        thread = threading.Thread(target=bench.run)
        thread.start()
        until(lambda: begun(bench, 1))
        folder = bench.folder("a")
        newest = max(int(path.name) for path in (folder / "lease").iterdir())
        (folder / "lease" / str(newest + 1)).write_text("{}")
        until(lambda: no_child_is_left(bench), 10)
        assert bench.status("a")["state"] == "running"
        write_status(folder, Status("cancelled"))
        (folder / "lease" / str(newest + 1)).write_text(lease.RELEASED)
        thread.join(30)
        assert not thread.is_alive()


def test_a_broken_lock_file_is_refused(bench, capsys):
    bench.write({"id": "a"})
    assert bench.run() == 0
    text = (bench.out / "jobs.lock.json").read_text()
    for damaged in (text[:50], text.replace('"out": "jobs/', '"out": "../../'), text.replace('"fake"', '"rm"'), "[]"):
        (bench.out / "jobs.lock.json").write_text(damaged)
        assert bench.call("status") == 2
        assert "jobs.lock.json" in capsys.readouterr().err
