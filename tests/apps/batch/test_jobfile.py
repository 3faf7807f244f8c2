"""Job files: expanded, checked before anything starts; complaints say file, line and key."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from gs_reg.apps.batch.edit_form import as_flags
from gs_reg.apps.batch.jobfile import read_jobs
from gs_reg.apps.batch.lockfile import lock_jobs
from gs_reg.apps.batch.paths import Digests
from gs_reg.apps.batch.shared import with_shared_parts
from gs_reg.errors import InputError

EDITS = """
schema: 1
kind: edit
defaults:
  preset: fast
  teacher: {kind: "masks:masks"}
  editor: {kind: "folder:oracle"}
  object: a man
  parts: [{name: eyes, tau: 0.1}, {name: hair}]
  edit: {shape: true}
matrix:
  scene: [man.ply, woman.ply]
  edit.part: [eyes, hair]
  edit.prompt: ["{part} made of gold", "green {part}"]
"""


@pytest.fixture
def edits(tmp_path):
    for name in ("masks", "oracle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "view_000.png").touch()
    for name in ("man.ply", "woman.ply"):
        (tmp_path / name).write_text(name)
    (tmp_path / "jobs.yaml").write_text(EDITS)
    return tmp_path / "jobs.yaml"


def test_the_nested_form_of_edits_is_their_flags(edits):
    jobs = read_jobs(edits)
    assert len(jobs) == 8 and jobs[1].name == "matrix-man_ply-eyes-green_part"
    settings = jobs[3].settings
    assert (
        settings["data"] == str(edits.parent / "man.ply") and settings["part"] == "hair" and settings["shape"] is True
    )
    assert settings["edit"] == "green hair" and settings["parts"] == "eyes:0.1,hair"
    assert settings["teacher"] == f"masks:{edits.parent / 'masks'}"


def test_the_model_of_a_network_that_finds_parts_is_no_pipeline():
    nested = {"scene": "x.ply", "teacher": {"kind": "clipseg", "model": "clip"}, "edit": {"prompt": "red"}}
    assert as_flags(nested) == {"data": "x.ply", "teacher": "clipseg", "teacher_model": ["clip"], "edit": "red"}
    nested["teacher"] = {"kind": "sd3", "model": "pipeline"}
    assert as_flags(nested) == {"data": "x.ply", "teacher": "sd3", "model": "pipeline", "edit": "red"}


def test_edits_of_a_scene_share_their_parts(edits):
    jobs = lock_jobs(with_shared_parts(read_jobs(edits)), Digests())
    parts = [job for job in jobs if job.kind == "parts"]
    assert [job.name for job in parts] == ["man-parts", "woman-parts"] and len(jobs) == 10
    for job in jobs:
        if job.kind == "edit":
            scene = parts["woman" in job.name]
            assert job.needs == (scene.id,) and job.settings["labels"] == f"{{jobs.{scene.id}.out}}"


def test_an_id_follows_from_settings_and_from_what_inputs_contain(edits):
    before = {job.name: job.id for job in lock_jobs(read_jobs(edits), Digests())}
    (edits.parent / "man.ply").write_text("another")
    after = {job.name: job.id for job in lock_jobs(read_jobs(edits), Digests())}
    assert {name for name in before if before[name] != after[name]} == {name for name in before if "-man" in name}
    moved = edits.parent / "elsewhere"
    moved.mkdir()
    for path in [path for path in edits.parent.iterdir() if path != moved]:
        path.rename(moved / path.name)
    assert {job.name: job.id for job in lock_jobs(read_jobs(moved / "jobs.yaml"), Digests())} == after


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jbos: []", r"jobs.yaml:1: jbos: unknown key; did you mean 'jobs'"),
        ("jobs:\n- {id: a}", r":2: .*kind: expected one of reconstruct, .* got None"),
        ("kind: edti", r":1: kind: kind: expected one of .* did you mean 'edit'"),
        ("kind: export\njobs:\n- id: a\n  to: x.ply", r":3: a: .*source: expected the path"),
        ("kind: export\njobs:\n- id: ../a\n  source: x", r":3: jobs\[0\].id: id: expected letters"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  to: ../../x.ply", r":5: a: to: expected the name of a file"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  to: /x.ply", r":5: a: to: expected the name of a file"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  overwrite: true", r":5: .*overwrite: the batch gives this"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  program: rm", r":5: a: unknown key 'program'"),
        ("kind: export\njobs:\n- id: a\n  source: x\n- id: a\n  source: y", r":5: a: a is the name of two jobs"),
        ("kind: export\njobs:\n- id: a\n  source: '{jobs.b.out}'", r":3: a: \{jobs.b.out\} is no job; there is a"),
        ("kind: export\njobs:\n- id: a\n  source: '{x}'", r":3: .*\{x\}: stands for nothing"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  needs: [c]", r":3: a: needs: no job 'c'"),
        (
            "kind: export\njobs:\n- {id: a, source: x, needs: [b]}\n- {id: b, source: x, needs: [a]}",
            "cannot wait in a circle",
        ),
        ("jobs: &x [*x]", "nested too deeply"),
        (
            "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(9)),
            "at most 300,000",
        ),
        ("kind: export\njobs:\n- id: a\n  id: b", r":4: 'id': given twice"),
        ("kind: !!python/object/apply:os.system [x]", r":1: expected plain values, got .*os.system"),
        ("kind: reconstruct\njobs:\n- id: a\n  data: x\n  train:\n    step: 3", r":6: a: train: unknown key 'step'"),
        ("kind: reconstruct\njobs:\n- id: a\n  data: x\n  seed: -1", r":5: a: seed: expected"),
        ("kind: reconstruct\nresources: {gpus: -1}\njobs: []", r":2: resources.gpus: expected"),
        ("kind: reconstruct\nseeds: [x]\njobs: [{id: a, data: x}]", r":2: seeds: expected a list of whole numbers"),
        ("kind: export\nmatrix: {source: [a], to: 3}", r":2: matrix.to: expected a list"),
        ("kind: export\nmatrix: {source: [%s], seed: [%s]}" % (("a," * 400,) * 2), "at most 100,000 jobs"),
        ("kind: export\njobs:\n- id: a\n  source: empty", r":4: a: source: .*empty: not the folder of a run"),
        ("kind: export\njobs:\n- id: a\n  source: jobs.yaml", r":4: a: source: .*expected a splat file ending with"),
        ("kind: eval\njobs:\n- id: a\n  run: empty", r":4: a: run: .*empty: not the folder of a run"),
        ("kind: export\njobs:\n- id: a\n  source: gone.ply", r":4: a: source: gone.ply: no such file or folder"),
        ("kind: reconstruct\njobs:\n- id: a\n  data: x\n  depth.path: d", r":5: a: depth.path: d: no such file or"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  to: a.xyz", r":5: a: .*a.xyz: expected a name ending with one"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  format: mesh\n  to: a.spz", r":6: a: .*the name of a mesh"),
        ("kind: render\njobs:\n- id: a\n  run: x\n  to: a.gif", r":5: a: .*expected a name of a video"),
        (
            "jobs:\n- {id: a, kind: reconstruct, data: x}\n- {id: b, kind: export, source: '{jobs.a.out}', to: a.xyz}",
            r":3: b: .*a.xyz: expected a name ending with one",
        ),
        ("kind: edit\njobs:\n- id: a\n  scene: x\n  edit: {prompt: red, shpae: true}", r":5: a: .*unknown key 'shpae'"),
        ("kind: edit\njobs:\n- id: a\n  scene: x\n  edit: {prompt: red, shpae: true}", r"did you mean 'shape'"),
        ("kind: export\njobs:\n- id: a\n  source: x\n  seeds: [0, 1]", r":5: .*seeds: export has no seed"),
        ("jobs: []", "expected a list of jobs, or a matrix"),
        ("a: [", r":1: not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, text, complaint):
    path = tmp_path / "jobs.yaml"
    path.write_text(text)
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()  # of a run
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=complaint):
        lock_jobs(read_jobs(path), Digests())


def test_a_folder_is_no_job_file(tmp_path):
    with pytest.raises(InputError, match="expected a YAML file, got a folder; `gs-reg batch resume`"):
        read_jobs(tmp_path)


def test_seeds_matrices_and_needs(tmp_path):
    path, photos = tmp_path / "jobs.yaml", tmp_path / "photos"
    photos.mkdir()
    (photos / "config.yaml").touch()
    path.write_text(
        "defaults: {reconstruct: {preset: ci}}\nseeds: [3, 4]\njobs:\n"
        "- {id: fern, kind: reconstruct, data: photos, matrix: {read.views: [2, 3]}}\n"
        "- {id: page, kind: export, source: '{jobs.fern-views2-seed3.out}', to: page.html, needs: [fern]}\n"
    )
    jobs = {job.name: job for job in read_jobs(path)}
    assert list(jobs) == ["fern-views2-seed3", "fern-views2-seed4", "fern-views3-seed3", "fern-views3-seed4", "page"]
    assert jobs["fern-views3-seed4"].settings == {"preset": "ci", "data": str(photos), "read": {"views": 3}, "seed": 4}
    assert set(jobs["page"].needs) == set(jobs) - {"page"}
    assert len(read_jobs(Path(__file__).parents[3] / "docs" / "examples" / "batch.yaml")) == 4
    path.write_text(
        "kind: reconstruct\njobs: [{id: a, data: photos, depth: {source: transformers, path: some/network}}]"
    )
    assert read_jobs(path)[0].settings["depth"]["path"] == "some/network"
    later = "kind: export\njobs:\n- {id: a, source: photos}\n- {id: b, source: a.spz, needs: [a]}\n"
    path.write_text(later)  # what a job needs may write what it reads
    assert read_jobs(path)[1].settings["source"] == "a.spz"


def test_the_script_s_edits_are_a_batch(tmp_path):
    pytest.importorskip("diffusers", reason="the extra edit is not installed")
    script = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "batch_edits.py"))
    assert script["write"](tmp_path, ["mug"], []) == 4
    parts, *edits = with_shared_parts(read_jobs(tmp_path / "jobs.yaml"))
    assert parts.kind == "parts" and {edit.needs for edit in edits} == {(parts.name,)}
    names = ("mug-handle-purple", "mug-handle-blue", "mug-body-green", "mug-body-purple")  # the handle is green
    assert tuple(edit.name for edit in edits) == names
    picture, mask = np.full((2, 2, 3), 100, np.uint8), np.array([[True, False], [False, False]])
    made = script["tinted"](picture, mask, "green")
    assert made[0, 0].tolist() == [45, 150, 50] and (made[~mask] == 100).all()
