"""The stages of a reconstruction: "rays" trains Gaussians on the rays of the photos, "free" plain splats after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gs_reg.data_tools.photos.masks import MaskMode
from gs_reg.densify import DensifyConfig, density_control
from gs_reg.dropout import Dropout
from gs_reg.errors import InputError
from gs_reg.models.coherent import Coherent, layer_maps
from gs_reg.models.free import Free
from gs_reg.models.pixel_aligned import PixelAligned
from gs_reg.stages import Stage
from gs_reg.state import Model
from gs_reg.terms import check_needs, cost_of
from gs_reg.terms.scene import SceneTerms
from gs_reg.types import Splats, Views

from .config import Config
from .flags import TrainConfig
from .shots import Shots


@dataclass(frozen=True)
class StagePlan:
    """The flags of a stage."""

    name: str
    flag: str
    """Prefix of its flags."""
    model: type[Coherent] | type[PixelAligned] | type[Free]
    sh_degree: int
    terms: SceneTerms
    train: TrainConfig
    densify: DensifyConfig = DensifyConfig()

    def final_splats(self, model: Model) -> Splats:
        """The splats at the end of the stage, at dropout's expected opacity; no gradients."""
        with torch.no_grad():
            return Dropout(self.train.dropout).with_expected_opacity(model.canonical())


def _plans(config: Config) -> tuple[StagePlan, StagePlan]:
    """The stages "rays" and "free"."""
    c = config
    on_rays = Coherent if c.coherent.on else PixelAligned
    rays = StagePlan("rays", "", on_rays, c.model.sh_degree, c.terms, c.train)
    return rays, StagePlan("free", "free.", Free, c.free.model.sh_degree, c.free.terms, c.free.train, c.free.densify)


def plan_stages(config: Config) -> tuple[StagePlan, ...]:
    """The stages of a config; these do not depend on the photos."""
    c, (rays, free) = config, _plans(config)
    first = free if c.start == "random" else rays
    if c.stop_after == "init":
        return (replace(first, train=replace(first.train, steps=0)),)
    return (rays, free) if first is rays and c.free.train.steps > 0 else (first,)


def check_terms(config: Config) -> None:
    """Checks that models and views have what the loss terms of their stages need.

    Raises:
        InputError: names the flag.
    """
    if config.coherent.on and config.start == "random":
        raise InputError("--coherent.on with --start random: it starts from depth; drop one of the two")
    for plan in _plans(config):
        views = {"images", "layers"} if plan.model is Coherent else {"images"}
        try:
            check_needs(plan.terms, plan.model, views, f"{plan.flag}terms")
        except InputError as error:
            raise InputError(f"{error}; {_remedy(plan, config)}") from None


def _remedy(plan: StagePlan, config: Config) -> str:
    if plan.model is Free:
        return "only Gaussians on the rays of the photos have that: use it with --terms, or leave it out"
    return "leave it out" if config.coherent.on else "add --coherent.on, or start from --preset paper"


def stages_of(config: Config, views: Sequence[Views], mode: MaskMode, first: Model | None = None) -> list[Stage]:
    """The stages on these photos; `first` is the initial model of the first one, None for resuming."""

    def begin(plan: StagePlan, before: StagePlan | None, model: Model | None) -> Model:
        if before is None or model is None:
            assert first is not None
            return first
        # free Gaussians start from the splats as exported, so dropout's expected opacity is in them
        return Free.from_splats(before.final_splats(model), config.free.model)

    plans = plan_stages(config)
    return [
        Stage(
            plan.name,
            plan.train,
            Shots(views, mode, config.seed, plan.train, plan.sh_degree),
            cost_of(plan.terms),
            begin=lambda model, plan=plan, before=before: begin(plan, before, model),
            load=lambda tensors, plan=plan: load_model(plan, tensors, config),
            density=lambda plan=plan: density_control(plan.densify, config.seed),
        )
        for plan, before in zip(plans, (None, *plans), strict=False)
    ]


def load_model(plan: StagePlan, tensors: Mapping[str, Tensor], config: Config) -> Model:
    """The model of a stage, from its state dict."""
    tensors = dict(tensors)
    if plan.model is Free:
        return Free(tensors, config.free.model)
    if plan.model is Coherent:
        return Coherent(tensors, config.coherent.decoders, config.model)
    return PixelAligned(tensors, config.model)


def with_layers(views: Sequence[Views], tensors: Mapping[str, Tensor]) -> list[Views]:
    """The views with the depth layers from a model's state dict; unchanged where it has none."""
    if "layers" not in tensors:
        return list(views)
    maps = layer_maps(tensors["layers"], tensors["sizes"])
    return [replace(view, layers=layers) for view, layers in zip(views, maps, strict=True)]
