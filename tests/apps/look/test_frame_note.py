"""scene.json beside exports: from the numbers of each file back to the coordinates of the given cameras."""

import json
import struct

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.look.opened import open_source
from gs_reg.apps.look.scene_file import read_scene
from gs_reg.apps.runs.folder import Run
from gs_reg.errors import InputError
from gs_reg.geometry import transform_cameras
from gs_reg.io import load_splats, save_splats
from gs_reg.metrics import psnr
from gs_reg.render import RenderConfig, render
from tests.apps.view.scenes import write_run
from tests.io.splat_files import random_splats

FAR = (4e6, -1e6, 500.0)


def gs_reg(*words) -> int:
    return cli.main([*map(str, words), "-q"])


def numbers(path) -> np.ndarray:
    """Positions as they stand in the file."""
    if path.suffix == ".spz":
        return load_splats(path, spz_frame="raw").means.double().numpy()
    if path.suffix == ".glb":
        raw = path.read_bytes()
        (size,) = struct.unpack("<I", raw[12:16])
        document = json.loads(raw[20 : 20 + size])
        primitive = document["meshes"][0]["primitives"][0]
        accessor = document["accessors"][primitive["attributes"]["POSITION"]]
        view = document["bufferViews"][accessor["bufferView"]]
        begin = 28 + size + view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        return np.frombuffer(raw, "<f4", 3 * accessor["count"], begin).reshape(-1, 3).astype(float)
    return load_splats(path).means.double().numpy()


@pytest.mark.parametrize("offset", [None, FAR])
def test_every_export_of_a_run_says_its_frame(tmp_path, offset):
    run = write_run(tmp_path / "run", offset=offset)
    scene = json.loads((run / "scene.json").read_text())
    (run / "scene.json").write_text(json.dumps(scene | {"units": "metres"}))
    truth = load_splats(run / "splats.ply").means.double().numpy() + (offset or 0)
    out = tmp_path / "out"
    cases = [(name, frame) for name in ("a.ply", "a.spz", "a.glb", "a.splat") for frame in ("local", "normalised")]
    cases.append(("i.ply", "input"))
    for number, (name, frame) in enumerate(cases):
        path = out / f"{number}{name}"
        assert gs_reg("export", run, "--to", path, "--frame", frame) == 0
        entry = json.loads((out / "scene.json").read_text())["files"][path.name]
        matrix = np.array(entry["input_from_file"])
        found = numbers(path) @ matrix[:3, :3].T + matrix[:3, 3]
        assert np.abs(found - truth).max() < (0.5 if frame == "input" and offset else 2e-4)
        assert entry["units"] == "metres"
        assert entry["frame"] == ("local" if offset and frame == "local" else "input" if frame == "local" else frame)
        # the first camera's own up, about which the others are even
        stored = read_scene(Run(run))
        camera = transform_cameras(stored.source_from_world, stored.cameras["a.png"].to(dtype=torch.float64))
        up = matrix[:3, :3] @ entry["up"]
        assert up @ -camera.viewmats[0, 1, :3].numpy() / np.linalg.norm(up) > 0.95
    names = set(json.loads((out / "scene.json").read_text())["files"])
    assert names == {f"{number}{name}" for number, (name, _) in enumerate(cases)}
    (out / "0a.ply").unlink()
    assert gs_reg("convert", run, out / "1a.ply", "--overwrite") == 0
    assert "0a.ply" not in json.loads((out / "scene.json").read_text())["files"]


@pytest.mark.parametrize("offset", [None, FAR])
@pytest.mark.parametrize("name", ["a.ply", "a.spz", "a.glb", "a.splat", "m.ply", "m.glb"])
def test_gravity_is_y_up_in_the_numbers_of_every_format(tmp_path, name, offset):
    run, path = write_run(tmp_path / "run", offset=offset), tmp_path / "out" / name
    mesh = ("--format", "mesh", "--mesh.min-faces", "1") if name[0] == "m" else ()
    assert gs_reg("export", run, "--to", path, "--frame", "gravity", *mesh) == 0
    entry = json.loads((tmp_path / "out" / "scene.json").read_text())["files"][name]
    assert entry["frame"] == "gravity"
    np.testing.assert_allclose(entry["up"], [0, 1, 0], atol=1e-6)
    matrix = np.array(entry["input_from_file"])
    np.testing.assert_allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-12)
    stored = read_scene(Run(run))
    first = transform_cameras(stored.source_from_world, stored.cameras[stored.train[0]].to(dtype=torch.float64))
    forward = matrix[:3, :3].T @ first.viewmats[0, 2, :3].numpy()
    assert abs(forward[0]) < 1e-6 and forward[2] < 0
    if not mesh:
        truth = load_splats(run / "splats.ply").means.double().numpy() + (offset or 0)
        assert np.abs(numbers(path) @ matrix[:3, :3].T + matrix[:3, 3] - truth).max() < 2e-4


def test_a_run_in_gravity_looks_the_same_from_its_cameras(tmp_path):
    run = write_run(tmp_path / "run")
    pictures = []
    for frame in ("local", "gravity"):
        opened = open_source(run, frame)
        camera = opened.cameras["a.png"].to(dtype=torch.float32)
        pictures.append(render(opened.splats, camera, config=RenderConfig(near=opened.near)).colors)
    assert psnr(*pictures) > 50  # an edge falls on either side of a pixel
    save_splats(tmp_path / "a.ply", random_splats(20))
    with pytest.raises(InputError, match="a file has no cameras, which tell where up is"):
        open_source(tmp_path / "a.ply", "gravity")


def test_files_that_tell_nothing(tmp_path):
    """`convert` litters no folder where nothing is known; `export` says that nothing is."""
    save_splats(tmp_path / "a.ply", random_splats(20))
    save_splats(tmp_path / "far.ply", random_splats(20), offset=FAR)
    assert gs_reg("convert", tmp_path / "a.ply", tmp_path / "b.spz") == 0
    assert not (tmp_path / "scene.json").exists()
    assert gs_reg("convert", tmp_path / "far.ply", tmp_path / "far.spz") == 0
    assert gs_reg("export", tmp_path / "a.ply", "--to", tmp_path / "c.ply") == 0
    files = json.loads((tmp_path / "scene.json").read_text())["files"]
    assert [row[3] for row in files["far.spz"]["input_from_file"]] == [*FAR, 1.0]
    assert files["c.ply"] == {
        "frame": "input",
        "up": None,
        "units": "unknown",
        "input_from_file": np.eye(4).tolist(),
    }


@pytest.mark.parametrize("content", ['{"cameras": {}}', "[1]", "no JSON", '{"schema": 1, "files": 3}'])
def test_a_scene_json_of_others_is_left_alone(tmp_path, capsys, content):
    save_splats(tmp_path / "a.ply", random_splats(20))
    (tmp_path / "scene.json").write_text(content)
    assert cli.main(["export", str(tmp_path / "a.ply"), "--to", str(tmp_path / "b.ply")]) == 0
    assert (tmp_path / "scene.json").read_text() == content
    assert "was left as it is: the frame of b.ply is not noted" in capsys.readouterr().err
