import errno
import json
import math
import os

import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.io import checkpoint
from gs_reg.io.atomic import atomic_folder, atomic_path


def test_a_file_appears_complete(tmp_path):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("first")
        assert not (tmp_path / "new" / "a.txt").exists() and temporary.suffix == ".txt"
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("second")
    assert (tmp_path / "new" / "a.txt").read_text() == "second"
    assert os.listdir(tmp_path / "new") == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "new" / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_nothing_is_left_after_an_exception(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    with pytest.raises(KeyError), atomic_folder(tmp_path / "b") as temporary:
        (temporary / "x").write_text("half")
        raise KeyError
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"no space left.*a\.ply") as caught, atomic_path(tmp_path / "a.ply") as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_bytes(b"x" * 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.linspace(-1, 1, 12).reshape(4, 3)).square().sum().backward()
        optimizer.step()


def fresh():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    groups = [{"params": [model.weight], "name": "weight"}, {"params": [model.bias], "lr": 0.01}]
    return model, torch.optim.Adam(groups, lr=0.1, eps=1e-15)


def test_resumed_training_equals_unbroken_training(tmp_path):
    whole, whole_optimizer = fresh()
    train(whole, whole_optimizer, 7)
    model, optimizer = fresh()
    train(model, optimizer, 4)
    checkpoint.save(tmp_path, 4, model=model.state_dict(), optim=optimizer.state_dict(), state={"order": [3, 1, 2]})
    model, optimizer = torch.nn.Linear(3, 2), fresh()[1]
    optimizer = torch.optim.Adam([{"params": [model.weight], "name": "weight"}, {"params": [model.bias]}])
    saved = checkpoint.load(checkpoint.latest(tmp_path))
    model.load_state_dict(saved.model)
    optimizer.load_state_dict(saved.optim)
    train(model, optimizer, 3)
    assert saved.step == 4 and saved.state == {"order": [3, 1, 2]}
    assert torch.equal(model.weight, whole.weight) and torch.equal(model.bias, whole.bias)


def test_every_type_survives(tmp_path):
    shared = torch.arange(6.0)
    model = {"a": shared[:3], "b": {"c": [shared, shared.reshape(2, 3).T]}, "half": torch.ones(2, dtype=torch.bfloat16)}
    model |= {"empty": torch.zeros(0, 3), "flags": torch.tensor([True, False]), "scalar": torch.tensor(7)}
    state = {
        "float": 0.1,
        "inf": math.inf,
        "nan": math.nan,
        "none": None,
        "tuple": (0.9, 0.999),
        "text": "ü",
        "yes": True,
    }
    state |= {"ints": {0: "zero", "0": "text zero"}, "big": 2**63, "$odd": {"$tensor": "no"}, "nested": [[1], []]}
    path = checkpoint.save(tmp_path, 1, model=model, optim={"state": {0: {"step": torch.tensor(2.0)}}}, state=state)
    saved = checkpoint.load(path)
    assert math.isnan(saved.state.pop("nan")) and math.isnan(state.pop("nan"))
    assert saved.state == state and type(saved.state["yes"]) is bool
    assert torch.equal(saved.model["b"]["c"][1], shared.reshape(2, 3).T) and torch.equal(saved.model["a"], shared[:3])
    for name in ("half", "empty", "flags", "scalar"):
        assert torch.equal(saved.model[name], model[name]) and saved.model[name].dtype == model[name].dtype
    assert saved.optim == {"state": {0: {"step": torch.tensor(2.0)}}}


def test_old_ones_go(tmp_path):
    (tmp_path / ".step_000000001.999-dead").mkdir()
    for step in [100, 200, 300, 400, 500]:
        checkpoint.save(tmp_path, step, model={}, optim={}, state={}, keep_every=200)
    checkpoint.save(tmp_path, 500, model={"again": torch.ones(1)}, optim={}, state={}, keep_every=200)
    assert sorted(os.listdir(tmp_path)) == ["step_000000200", "step_000000400", "step_000000500"]
    assert checkpoint.load(checkpoint.latest(tmp_path)).model == {"again": torch.ones(1)}


def test_incomplete_ones_are_not_the_latest(tmp_path):
    assert checkpoint.latest(tmp_path / "none") is None
    good = checkpoint.save(tmp_path, 1, model={}, optim={}, state={})
    (tmp_path / "step_000000002").mkdir()
    assert checkpoint.latest(tmp_path) == good


def test_broken_files_and_values_are_named(tmp_path):
    with pytest.raises(TypeError, match=r"a\.1: expected tensors.*object"):
        checkpoint.save(tmp_path, 1, model={}, optim={}, state={"a": [0, object()]})
    with pytest.raises(TypeError, match=r"state\.rng is a tensor"):
        checkpoint.save(tmp_path, 1, model={}, optim={}, state={"rng": torch.get_rng_state()})
    with pytest.raises(ValueError, match=r"two tensors named 'a\.b'"):
        checkpoint.save(tmp_path, 1, model={"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)}, optim={}, state={})
    assert os.listdir(tmp_path) == []
    path = checkpoint.save(tmp_path, 1, model={"x": torch.ones(99)}, optim={}, state={})
    raw = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(raw[:-8])
    with pytest.raises(InputError, match=r"damaged: .* delete .*step_000000001, so that the one"):
        checkpoint.load(path)
    (path / "model.safetensors").write_bytes(raw[:-1] + b"\x40")  # still a number
    with pytest.raises(InputError, match=r"model\.safetensors: damaged: .* delete .*step_000000001, so that the one"):
        checkpoint.load(path)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"sha256": [1]}))
    with pytest.raises(InputError, match="sha256: expected a map, got list"):
        checkpoint.load(path)
    del state["sha256"]  # as earlier versions wrote
    (path / "state.json").write_text(json.dumps(state))
    assert float(checkpoint.load(path).model["x"][-1]) != 1
    (path / "state.json").write_text('{"schema": 99}')
    with pytest.raises(InputError, match="expected schema 1, got 99"):
        checkpoint.load(path)
