"""Checkpoints of nerfstudio, read without nerfstudio."""

import json
import zipfile

import numpy as np
import pytest
import torch

from gs_reg import load_splats
from gs_reg.apps import cli
from gs_reg.apps.ns_plugin import bridge
from gs_reg.errors import InputError, MissingPart
from gs_reg.io import read_tags
from gs_reg.io.frames import transform_splats
from gs_reg.sh import rgb_to_sh


def columns(count: int = 5, rest: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    widths = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (1,), "features_dc": (3,)}
    widths |= {"features_rest": (rest, 3)}
    return {name: torch.randn(count, *width, generator=generator) for name, width in widths.items()}


def write(folder, state, **more):
    file = folder / "nerfstudio_models" / "step-000000007.ckpt"
    file.parent.mkdir(exist_ok=True)
    pipeline = {f"_model.{name}": value for name, value in state.items()}
    torch.save({"step": 7, "pipeline": pipeline, **more}, file)
    return file


def prefixed(state):
    return {f"gauss_params.{name}": value for name, value in state.items()}


def test_splats_come_back_in_the_frame_of_the_given_cameras(tmp_path):
    state = columns()
    file = write(tmp_path, prefixed(state))
    turn = torch.tensor([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]], dtype=torch.float64)
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps({"transform": turn.tolist(), "scale": 0.5}))
    for path in (file, tmp_path, tmp_path / "nerfstudio_models"):
        found = bridge.read_nerfstudio(path)
        assert found.step == 7
        torch.testing.assert_close(found.splats.sh[:, 1:], state["features_rest"])
        torch.testing.assert_close(found.splats.opacity_logits, state["opacities"][:, 0])
        source = transform_splats(found.source_from_world, found.splats)
        # nerfstudio: world = scale * (transform applied to the source)
        world = 0.5 * (source.means.double() @ turn[:, :3].T + turn[:, 3])
        torch.testing.assert_close(world.float(), state["means"])
        torch.testing.assert_close(source.scales, 2 * state["scales"].exp())


def test_dropout_lowers_the_opacities_as_the_model_draws_them(tmp_path):
    state = columns()
    write(tmp_path, {**prefixed(state), "dropped_share": torch.tensor(0.25)})
    found = bridge.read_nerfstudio(tmp_path).splats
    torch.testing.assert_close(found.opacities, 0.75 * state["opacities"][:, 0].sigmoid())


def test_colours_of_degree_0_are_logits_in_splatfacto_alone(tmp_path):
    state = columns(rest=0)
    write(tmp_path, state)  # as old versions named them
    found = bridge.read_nerfstudio(tmp_path).splats
    torch.testing.assert_close(found.sh[:, 0], rgb_to_sh(state["features_dc"].sigmoid()))
    write(tmp_path, {**prefixed(state), "dropped_share": torch.tensor(0.0)})
    torch.testing.assert_close(bridge.read_nerfstudio(tmp_path).splats.sh[:, 0], state["features_dc"])


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numbers_of_numpy_are_read_and_rewritten_as_plain_ones(tmp_path, module):
    rates = {"means": {"param_groups": [{"lr": np.float64(0.25)}]}}
    file = write(tmp_path, prefixed(columns()), optimizers=rates)
    with zipfile.ZipFile(file) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(file, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data.replace(b"numpy._core.multiarray", module))
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        torch.load(file, weights_only=True)
    bridge.rewrite_checkpoint(file, tmp_path / "new.ckpt")
    plain = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert plain["optimizers"]["means"]["param_groups"][0]["lr"] == 0.25
    torch.testing.assert_close(plain["pipeline"]["_model.gauss_params.means"], columns()["means"])


class Danger:
    pass


def test_other_pickled_objects_need_trust(tmp_path):
    file = write(tmp_path, prefixed(columns()), danger=Danger())
    with pytest.raises(InputError, match=r"pickled objects.*--trust"):
        bridge.read_nerfstudio(file)
    assert len(bridge.read_nerfstudio(file, trust=True).splats) == 5


def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint of nerfstudio: expected step-\*\.ckpt"):
        bridge.read_nerfstudio(tmp_path)
    with pytest.raises(InputError, match="expected Gaussians, got no means"):
        bridge.read_nerfstudio(write(tmp_path, {"field.weight": torch.zeros(3)}))
    (broken := tmp_path / "step-000000001.ckpt").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"step-000000001\.ckpt"):
        bridge.read_nerfstudio(broken)
    write(tmp_path, prefixed(columns()))
    (tmp_path / "dataparser_transforms.json").write_text("{}")
    with pytest.raises(InputError, match=r"dataparser_transforms\.json: .*transform"):
        bridge.read_nerfstudio(tmp_path / "nerfstudio_models")


def test_writing_needs_nerfstudio(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPart, match=r"nerfstudio is not installed.*docs/nerfstudio\.md"):
        bridge.write_nerfstudio(tmp_path, tmp_path / "out")


def gs_reg(*words) -> int:
    return cli.main([*map(str, words), "-q"])


def test_convert_reads_a_run_of_nerfstudio(tmp_path):
    write(tmp_path, prefixed(columns()))
    half = {"transform": torch.eye(4)[:3].tolist(), "scale": 0.5}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(half))
    assert gs_reg("convert", tmp_path, tmp_path / "a.ply") == 0
    assert gs_reg("convert", tmp_path / "nerfstudio_models", tmp_path / "b.ply", "--frame", "normalised") == 0
    torch.testing.assert_close(load_splats(tmp_path / "a.ply").means, 2 * columns()["means"])
    assert torch.equal(load_splats(tmp_path / "b.ply").means, columns()["means"])
    assert read_tags(tmp_path / "a.ply").render_mode == "default"
    (tmp_path / "config.yml").write_text("!!python/object:x\nmodel:\n  rasterize_mode: antialiased\n")
    assert gs_reg("convert", tmp_path / "config.yml", tmp_path / "c.ply") == 0
    assert read_tags(tmp_path / "c.ply").render_mode == "mip"


def test_convert_rewrites_checkpoints(tmp_path, capsys):
    file = write(tmp_path, prefixed(columns()), danger=Danger())
    assert gs_reg("convert", file, tmp_path / "new.ckpt") == 2
    assert "pass --trust only if you made the file" in capsys.readouterr().err
    file = write(tmp_path, prefixed(columns()), rate=np.float64(0.5))
    assert gs_reg("convert", file, tmp_path / "new.ckpt") == 0
    assert torch.load(tmp_path / "new.ckpt", weights_only=True)["rate"] == 0.5
    assert gs_reg("convert", file, tmp_path / "new.ckpt") == 2
    assert "new.ckpt: exists" in capsys.readouterr().err
    assert gs_reg("convert", tmp_path / "a.ply", tmp_path / "b.ply", "--trust") == 2
    assert "--trust is for checkpoints of nerfstudio" in capsys.readouterr().err


def test_convert_to_nerfstudio_needs_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert gs_reg("convert", tmp_path, "--to", "nerfstudio") == 3
    assert "docs/nerfstudio.md" in capsys.readouterr().err
