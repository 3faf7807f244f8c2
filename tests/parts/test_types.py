"""Part maps: shares by hand, files that come back; decisions: names."""

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.parts.types import Decision, PartMaps


def test_shares_exclude_each_other():
    maps = torch.tensor([0.8, 0.4])[None, :, None, None].repeat(1, 1, 1, 2)
    shares = PartMaps(("a", "b"), maps, torch.ones(1, 2)).shares(torch.tensor([[[1.0, 0.49]]]))
    total = 0.04 + 0.64 + 0.16
    assert torch.allclose(shares[0, :, 0, 0], torch.tensor([0.04, 0.64, 0.16]) / total)
    assert shares[0, :, 0, 1].tolist() == [1, 0, 0]  # hardly anything is drawn there


def test_maps_come_back_in_8_bits(tmp_path):
    maps = PartMaps(("a", "b c"), torch.rand(3, 2, 4, 5), torch.rand(3, 2))
    maps.save(tmp_path / "maps.npz")
    again = PartMaps.load(tmp_path / "maps.npz")
    assert again.names == maps.names and torch.equal(again.weights, maps.weights)
    assert (again.maps - maps.maps).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(maps[1].maps, maps.maps[1:2]) and len(maps[1:]) == 2


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "maps.npz"
    with pytest.raises(InputError, match=r"maps\.npz: No such file"):
        PartMaps.load(path)
    path.write_text("no")
    with pytest.raises(InputError, match="expected part maps as npz"):
        PartMaps.load(path)
    np.savez(path, names=np.array(["a"]), maps=np.zeros((2, 3, 4, 4), np.uint8), weights=np.zeros((2, 1)))
    with pytest.raises(InputError, match="one map a part"):
        PartMaps.load(path)
    np.savez(path, names=np.array(["a"]), weights=np.zeros((2, 1)))
    with pytest.raises(InputError, match="maps"):
        PartMaps.load(path)


def test_a_part_is_found_by_its_name():
    decision = Decision(("background", "handle", "body"), torch.tensor([0, 2, 1, 2]), torch.rand(4, 3), torch.zeros(4))
    assert decision.part("body").tolist() == [False, True, False, True]
    with pytest.raises(InputError, match=r"part 'handel': expected one of handle, body; did you mean 'handle'\?"):
        decision.part("handel")
    with pytest.raises(InputError, match="background"):
        decision.part("background")
