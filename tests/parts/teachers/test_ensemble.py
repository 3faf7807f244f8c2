"""Ensembles: agreement by hand, a planted bad member, members that say nothing."""

import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers.ensemble import Ensemble, iou, weighted_mean
from gs_reg.parts.types import PartMaps

from .scene import PARTS, TwoParts


class Fixed:
    """Says always the same."""

    def __init__(self, maps: PartMaps):
        self.said, self.notes, self.closed = maps, {"a": 1}, False

    def prepare(self, prompt):
        self.prompt = prompt

    def maps(self, pictures, alphas, cameras):
        return self.said

    def close(self):
        self.closed = True


def maps_of(*rows: list[float], weights=None) -> PartMaps:
    """One view, pixels in a row."""
    maps = torch.tensor(rows)[None, :, None]
    return PartMaps(("a", "b")[: len(rows)], maps, torch.ones(1, len(rows)) if weights is None else weights)


def test_agreement_is_the_mean_iou_of_parts():
    a = maps_of([1.0, 1, 0, 0], [0.0, 0, 1, 0])
    b = maps_of([1.0, 0, 0, 0], [0.0, 0, 1, 1])
    assert iou(a, b) == pytest.approx(0.5) and iou(a, a) == 1
    silent = torch.tensor([[1.0, 0.0]])
    assert iou(a, PartMaps(b.names, b.maps, silent)) == pytest.approx(0.5)
    assert iou(a, PartMaps(b.names, b.maps, 0 * silent)) == 0


def test_the_mean_is_weighted_by_member_view_and_part():
    a, b = maps_of([1.0, 0.5]), maps_of([0.0, 0.5], weights=torch.tensor([[0.5]]))
    mean = weighted_mean([a, b], [0.6, 0.4])
    assert mean.maps.flatten().tolist() == pytest.approx([0.75, 0.5])
    assert mean.weights.item() == pytest.approx(0.8)
    silent = weighted_mean([a, b], [0.0, 1.0])
    assert silent.maps.flatten().tolist() == [0, 0.5]
    nothing = PartMaps(a.names, a.maps, torch.zeros(1, 1))
    assert weighted_mean([nothing, nothing], [1, 1]).maps.abs().max() == 0


def test_a_planted_bad_member_is_dropped(scene: TwoParts):
    truth = scene.maps
    noisy = PartMaps(PARTS, (truth.maps + 0.3 * torch.rand(truth.maps.shape)).clamp(0, 1), truth.weights)
    swapped = PartMaps(PARTS, truth.maps.flip(1), truth.weights)
    members = {"good": Fixed(truth), "noisy": Fixed(noisy), "bad": Fixed(swapped)}
    ensemble = Ensemble(members)
    ensemble.prepare(PartPrompt("x", PARTS))
    made = ensemble.maps(scene.pictures, scene.alphas, scene.cameras)
    report = ensemble.notes["iou"]
    assert report["bad"] < 0.2 < min(report["good"], report["noisy"]) and ensemble.notes["members"]["good"] == {"a": 1}
    without = weighted_mean([truth, noisy], [report["good"], report["noisy"]])
    assert torch.allclose(made.maps, without.maps, atol=1e-3)
    assert iou(made, truth) > 0.99
    ensemble.close()
    assert all(member.closed for member in members.values())


def test_teachers_that_do_not_agree_stop_the_job(scene: TwoParts):
    swapped = PartMaps(PARTS, scene.maps.maps.flip(1), scene.maps.weights)
    ensemble = Ensemble({"a": Fixed(scene.maps), "b": Fixed(swapped)})
    with pytest.raises(InputError, match=r"do not agree .*a 0\.00, b 0\.00"):
        ensemble.maps(scene.pictures, scene.alphas, scene.cameras)
    with pytest.raises(InputError, match="at least 2"):
        Ensemble({"a": Fixed(scene.maps)})
