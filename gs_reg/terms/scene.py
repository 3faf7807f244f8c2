"""The loss terms of scenes; the name of a field is its flag, its key in the log and its key in `Step.values`."""

from __future__ import annotations

from dataclasses import dataclass

from gs_reg.terms.anchor import DepthAnchor
from gs_reg.terms.correspondence import FlowConsistency
from gs_reg.terms.photometric import L1, MultiLevelL1, Ssim
from gs_reg.terms.smoothness import DisparityTV, LayeredTV


@dataclass(frozen=True)
class SceneTerms:
    l1: L1 = L1()
    pyramid: MultiLevelL1 = MultiLevelL1()
    ssim: Ssim = Ssim()
    smooth: DisparityTV = DisparityTV()
    layered: LayeredTV = LayeredTV()
    flow: FlowConsistency = FlowConsistency()
    anchor: DepthAnchor = DepthAnchor()
