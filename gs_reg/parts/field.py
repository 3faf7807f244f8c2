"""The 3D-GALP label field: from maps of parts in pictures to labels of Gaussians that vary with the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gs_reg.errors import InputError
from gs_reg.parts.adam import AdamConfig, solve_adam
from gs_reg.parts.closed_form import Ridge, solve_votes
from gs_reg.parts.evidence import Evidence, Report, gather, silent
from gs_reg.parts.graph import make_graph
from gs_reg.parts.joint import JointConfig, solve_joint
from gs_reg.parts.types import BACKGROUND, LabelField, PartMaps
from gs_reg.parts.view_weights import believed
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats


@dataclass(frozen=True)
class FieldConfig:
    solver: Literal["linear", "joint", "adam"] = "linear"
    """linear: each Gaussian by its own votes; joint: from there, all together; adam: the paper's gradient steps."""
    degree: int = 3
    """Of the labels' spherical harmonics, 0 to 4; 0 = labels that do not vary with the view."""
    hard: bool = True
    """Whether each pixel votes for its most likely label alone; not with adam."""
    view_rounds: int = 3
    """Times that views are weighed by how well they agree with all others; not with adam."""
    anchors: bool = True
    """Whether labels are tied to those of neighbours; not with linear."""
    soft: bool = True
    """Whether soft Gaussians are tied more, or with adam the softest and the surest alone."""
    ridge: Ridge = Ridge()
    joint: JointConfig = JointConfig()
    adam: AdamConfig = AdamConfig()
    seed: int = 0
    render: RenderConfig = RenderConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.degree <= 4:
            raise InputError(f"degree: expected 0 to 4, got {self.degree}")


def fit_field(
    splats: Splats,
    cameras: Cameras,
    maps: PartMaps,
    config: FieldConfig = FieldConfig(),
    report: Report | None = None,
) -> LabelField:
    """The labels that draw the maps best.

    Raises:
        InputError: splats that are not finite, maps of other views, or cameras that see nothing.
    """
    hard = config.hard and config.solver != "adam"
    return fit_evidence(gather(splats, cameras, maps, config.render, report or silent, hard=hard), config, report)


def fit_evidence(evidence: Evidence, config: FieldConfig = FieldConfig(), report: Report | None = None) -> LabelField:
    """The same from evidence that was gathered before, which serves any number of fits."""
    report, names = report or silent, (BACKGROUND, *evidence.maps.names)
    if config.solver == "adam":
        options = {"anchors": config.anchors, "soft": config.soft, "seed": config.seed, "report": report}
        return LabelField(names, solve_adam(evidence, config.degree, config.adam, **options), evidence.seen)
    weights = believed(evidence, config.view_rounds, config.ridge, report)
    sh = solve_votes(evidence, weights, config.degree, config.ridge)
    if config.solver == "joint":
        graph = make_graph(evidence.splats) if config.anchors and config.joint.smoothness > 0 else None
        sh = solve_joint(evidence, weights, sh, config.ridge, graph, config.joint, config.soft, report)
    return LabelField(names, sh, evidence.seen)
