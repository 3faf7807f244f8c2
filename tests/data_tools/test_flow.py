"""Optical flow behind one interface: without weights, from a random network of the true class, from files."""

import dataclasses

import numpy as np
import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.flow import FlowConfig, flow_source
from gs_reg.data_tools.flow.visibility import matched, seen_mask
from gs_reg.data_tools.synthetic import Rig, flow
from gs_reg.errors import InputError, MissingPart
from gs_reg.geometry import pixel_centers
from gs_reg.types import Views

W, H = 192, 144


@pytest.fixture(scope="module")
def scene():
    return synthetic.two_planes(Rig(W, H, baseline=0.6, octaves=4, held_out=1, samples=2))


def halved(view: Views) -> Views:
    small = torch.nn.functional.avg_pool2d(view.images.movedim(-1, 1), 2).movedim(1, -1)
    return Views(view.cameras.resized(W // 2, H // 2), small, view.names)


def test_dis_flow_between_photos_of_other_sizes(scene):
    """A photo of half the size: the flow ends in its pixels."""
    there, visible = flow(scene, 0, 1)
    centers = pixel_centers(W, H, there)
    for other, ratio in ((scene.views[1], 1.0), (halved(scene.views[1]), 0.5)):
        error = (flow_source()(scene.views[0], other) - ((centers + there) * ratio - centers)).norm(dim=-1)
        assert error[visible].median() < 0.2


@pytest.fixture(scope="module")
def raft_weights(tmp_path_factory):
    pytest.importorskip("torchvision")
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft_small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


def test_random_raft_answers_at_any_size(scene, raft_weights):
    """T23: sides that are no multiple of 8 and below 128; the pixels of the other photo are its own."""
    source = flow_source(FlowConfig("raft", raft_weights))
    assert "raft_small" in source.about["what"] and len(source.about["sha256"]) == 64
    view = scene.views[0]
    odd = Views(view.cameras.resized(101, 75), view.images[:, :75, :101], ("odd",))
    for a, b in ((view, scene.views[1]), (odd, odd), (view, halved(scene.views[1]))):
        there = source(a, b)
        assert there.shape == (*a.images.shape[1:3], 2) and torch.isfinite(there).all()
    assert torch.equal(source(view, view), source(view, view))


def test_raft_is_fed_as_it_was_trained(scene, raft_weights, monkeypatch):
    """[-1, 1], sides multiples of 8 of at least 128, and the padding is cut off where it was put on."""
    source, seen = flow_source(FlowConfig("raft", raft_weights)), []

    def net(a, b, num_flow_updates):
        seen.append(a)
        y, x = torch.meshgrid(torch.arange(a.shape[2]), torch.arange(a.shape[3]), indexing="ij")
        return [torch.stack([x, y])[None].float()]

    monkeypatch.setattr(source, "_net", net)
    white = Views(scene.views[0].cameras.resized(101, 131), torch.ones(1, 131, 101, 3), ("white",))
    black = dataclasses.replace(white, images=torch.zeros(1, 131, 101, 3))
    flow_white = source(white, black)
    assert seen[0].shape == (1, 3, 136, 128) and (seen[0] == 1).all()
    assert flow_white[0, 0].tolist() == [13, 2] and flow_white[-1, -1].tolist() == [113, 132]
    source(black, white)
    assert (seen[1] == -1).all()


def test_raft_without_weights_says_how_to_get_them(tmp_path):
    with pytest.raises(MissingPart, match=r"no --flow.path: no weights file; download raft_large.*pytorch.org"):
        flow_source(FlowConfig("raft"))
    with pytest.raises(MissingPart, match=r"away.pth: no weights file"):
        flow_source(FlowConfig("raft", tmp_path / "away.pth"))


def test_raft_refuses_other_weights(tmp_path):
    pytest.importorskip("torchvision")
    path = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"other.pth: fits neither raft_large nor raft_small"):
        flow_source(FlowConfig("raft", path))
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"other.pth: no weights that torch can read"):
        flow_source(FlowConfig("raft", path))


def stored(folder, scene, pairs):
    for i, j in pairs:
        there, visible = flow(scene, i, j)
        names = scene.views[i].names[0], scene.views[j].names[0]
        np.save(folder / f"{names[0]}__{names[1]}.npy", torch.cat([there, visible[..., None].float()], -1).numpy())


def test_flow_files(scene, tmp_path):
    """Exact flow through files gives the exact mask; the third channel and NaN are pixels without a match."""
    stored(tmp_path, scene, [(0, 1), (1, 0)])
    source = flow_source(FlowConfig("files", tmp_path))
    there, visible = flow(scene, 0, 1)
    read = source(scene.views[0], scene.views[1])
    assert torch.equal(read[visible], there[visible]) and read[~visible].isnan().all()
    mask = matched(scene.views[0], scene.views[1], source)
    assert mask[visible].float().mean() > 0.95 and not mask[~visible].any()
    seen = seen_mask(scene.views[0], [scene.views[1]], source)
    assert seen[visible].float().mean() > 0.95 and seen[~visible].float().mean() < 0.05
    holed = there.numpy().copy()
    holed[:10] = np.nan
    np.save(tmp_path / "train_00__train_01.npy", holed)
    read = source(scene.views[0], scene.views[1])
    assert read[:10].isnan().all() and torch.equal(read[10:], there[10:])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, r"train_00__train_01.npy: no such flow file; expected FOLDER/A__B.npy"),
        (b"text", r"not an array that can be read .*numpy.save"),
        (
            np.zeros((H, W + 1, 2)),
            rf"expected \[{H}, {W}, 2 or 3\] numbers, as train_00 is in use, got \[{H}, 193, 2\]",
        ),
        (np.zeros((H, W)), rf"expected \[{H}, {W}, 2 or 3\]"),
        (np.full((H, W, 2), "x"), r"got .*<U1"),
        (np.full((H, W, 2), np.nan), "no pixel with a match"),
        (np.zeros((H, W, 3)), "no pixel with a match"),
        (np.array([{"a": 1}], dtype=object), "not an array that can be read"),
    ],
)
def test_bad_flow_files(scene, tmp_path, made, message):
    path = tmp_path / "train_00__train_01.npy"
    if isinstance(made, bytes):
        path.write_bytes(made)
    elif made is not None:
        np.save(path, made, allow_pickle=True)
    with pytest.raises(InputError, match=message) as hit:
        flow_source(FlowConfig("files", tmp_path))(scene.views[0], scene.views[1])
    assert "\n" not in str(hit.value)


def test_bad_flow_flags(tmp_path):
    with pytest.raises(InputError, match=r"no --flow.path: no folder of flow files"):
        flow_source(FlowConfig("files"))
    with pytest.raises(InputError, match=r"away: no folder of flow files"):
        flow_source(FlowConfig("files", tmp_path / "away"))
    with pytest.raises(InputError, match=r"DIS flow takes none; say --flow.source raft or files"):
        flow_source(FlowConfig("dis", tmp_path))


def test_flow_far_beyond_the_picture_is_refused(scene, tmp_path):
    stored(tmp_path, scene, [(0, 1)])
    (path,) = tmp_path.glob("*.npy")
    values = np.load(path)
    values[3, 4] = (1e9, 0, 1)  # Middlebury's mark for unknown
    np.save(path, values)
    source = flow_source(FlowConfig("files", tmp_path))
    with pytest.raises(InputError, match=r"\.npy: flow of 1e\+09 pixels, far beyond the picture: mark .* NaN"):
        source(scene.views[0], scene.views[1])
