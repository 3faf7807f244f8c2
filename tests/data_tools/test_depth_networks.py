"""Networks of the `transformers` library: tiny random ones of the true classes, through the same interface (T23)."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.sources import DepthSourceConfig, depth_source
from gs_reg.data_tools.depth.sources.network import NetworkMaps
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError, MissingPart

transformers = pytest.importorskip("transformers")

BACKBONE = {
    "model_type": "dinov2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "out_features": ["stage1", "stage2"],
    "reshape_hidden_states": False,
    "image_size": 56,
    "patch_size": 14,
}


def save_network(folder, kind: str = "relative", card: str | None = "---\nlicense: apache-2.0\n---\n"):
    """A Depth Anything of a few thousand random weights, with its image processor."""
    torch.manual_seed(0)
    config = transformers.DepthAnythingConfig(
        backbone_config=BACKBONE,
        reassemble_hidden_size=32,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    transformers.DPTImageProcessor(size=size, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(folder)
    if card:
        (folder / "README.md").write_text(card)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def scene():
    return synthetic.box_and_sphere(Rig(96, 72, octaves=4, held_out=0, samples=1, cameras=2))


def flags(path, **more) -> DepthSourceConfig:
    return DepthSourceConfig(source="transformers", path=str(path), **more)


def test_maps_have_the_size_of_the_photo_and_say_what_they_are(network, scene):
    maps = NetworkMaps(str(network))
    assert maps.kind == "disparity"
    assert maps.about["what"] == f"DepthAnythingForDepthEstimation in {network}"
    assert maps.about["gives"].startswith("disparity, relative") and maps.about["licence"] == "apache-2.0"
    assert len(maps.about["sha256"]) == 64
    for view in scene.training_scene().views:
        values = maps(view)
        assert values.shape == (72, 96) and torch.isfinite(values).all()
        assert torch.equal(values, maps(view))


def test_kind_comes_from_the_class_and_can_be_said(network, tmp_path):
    metric = NetworkMaps(str(save_network(tmp_path, "metric", card=None)))
    assert metric.kind == "depth" and metric.about["gives"].startswith("depth, metres of its own")
    assert metric.about["licence"].startswith("not stated")
    assert NetworkMaps(str(network), "depth").kind == "depth"
    with pytest.raises(InputError, match="a network's metre is not the cameras' unit"):
        NetworkMaps(str(network), "metric")


def told(network, folder, scale: float, shift: float):
    """The network with its last layer scaled and shifted: what it says changes in a known way."""
    folder.mkdir()
    for path in network.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["head.conv3.weight"] = weights["head.conv3.weight"] * scale
    weights["head.conv3.bias"] = weights["head.conv3.bias"] * scale + shift
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_whole_chain_with_a_random_network(network, scene, tmp_path, monkeypatch):
    """A network that knows the truth completes our depth; the flag for its kind is respected."""
    views = scene.training_scene().views
    truth = {view.names[0]: view.depths[0] for view in scene.train}
    assert torch.isfinite(NetworkMaps(str(told(network, tmp_path / "told", 3.0, 5.0)))(views[0])).all()
    monkeypatch.setattr(NetworkMaps, "__call__", lambda self, view: 4 / truth[view.names[0]] + 1)
    found = depth_source(flags(network))(views)
    assert all((m.depth / truth[v.names[0]] - 1).abs().median() < 0.02 for m, v in zip(found.maps, views, strict=True))
    assert found.details["fits"]["train_00"]["scale"] == pytest.approx(0.25, rel=0.05)
    with pytest.raises(InputError, match=r"runs against .* --depth.kind disparity"):
        depth_source(flags(network, kind="depth"))(views)


def test_auto_takes_a_network_that_can_be_used_else_ours_and_says_so(network, tmp_path):
    def auto(path):
        return depth_source(DepthSourceConfig(path=str(path))).about

    assert auto(network)["source"] == "transformers"
    for path, reason in ((tmp_path, "no config.json"), (tmp_path / "away", "neither a folder nor a hub id")):
        about = auto(path)
        assert about["source"] == "ours" and about["why"].startswith("auto: ") and reason in about["why"]


def test_absent_weights_say_how_to_get_them(tmp_path, monkeypatch):
    """Nothing is fetched without asking: the hub's client is told to look at this machine alone."""
    with pytest.raises(MissingPart, match=r"no --depth.path; download a depth-estimation model .*hf download"):
        depth_source(DepthSourceConfig(source="transformers"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    asked = []

    def refuse(name, local_files_only, **_):
        asked.append(local_files_only)
        raise OSError("no way out")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(MissingPart, match=r"some/model: not on this machine, and nothing is downloaded without asking"):
        depth_source(flags("some/model"))
    with pytest.raises(MissingPart, match=r"some/model: the download failed \(OSError\); download"):
        depth_source(flags("some/model", download=True))
    assert asked == [True, False]


def test_absent_library(monkeypatch, network):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPart, match=r"the library is missing .*gs-reg\[networks\]"):
        depth_source(flags(network))
    about = depth_source(DepthSourceConfig(path=str(network))).about
    assert about["source"] == "ours" and "gs-reg[networks]" in about["why"]


def test_folders_that_hold_no_such_model(network, tmp_path):
    with pytest.raises(InputError, match=r"no config.json, so no model .* --depth.source files"):
        NetworkMaps(str(tmp_path))
    with pytest.raises(InputError, match=r"neither a folder nor a hub id OWNER/NAME"):
        NetworkMaps(str(tmp_path / "away"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match=r"no depth-estimation model that can be loaded") as hit:
        NetworkMaps(str(tmp_path))
    assert "\n" not in str(hit.value)
    (tmp_path / "config.json").write_bytes((network / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"no depth-estimation model that can be loaded"):
        NetworkMaps(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken off")
    with pytest.raises(InputError, match=r"no depth-estimation model that can be loaded"):
        NetworkMaps(str(tmp_path))


def test_code_beside_the_weights_is_never_run(network, tmp_path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    config = json.loads((network / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoModelForDepthEstimation": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="no depth-estimation model that can be loaded"):
        NetworkMaps(str(folder))
    assert not (tmp_path / "ran").exists()


def test_network_that_gives_nothing(network, scene, tmp_path):
    folder = told(network, tmp_path / "nan", float("nan"), 0.0)
    with pytest.raises(InputError, match=r"train_00: the network gives no finite value"):
        NetworkMaps(str(folder))(scene.training_scene().views[0])
    assert np.isnan(load_file(folder / "model.safetensors")["head.conv3.bias"].numpy()).all()
