"""Sources of depth and flow of a run: found before anything long starts, printed, and stored in sources.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs_reg.data_tools.dataset import Dataset, finer, load_scene
from gs_reg.data_tools.depth.sources import DepthSource, depth_source
from gs_reg.data_tools.depth.sources.finer import Finer
from gs_reg.data_tools.flow import Flow, flow_source
from gs_reg.geometry import similarity_scale

from ..runs.folder import Run
from ..runs.progress import say
from .config import Config

PRINTED = ("size", "gives", "why", "used as", "licence")
"""Keys of a source's `about` that are printed."""


@dataclass(frozen=True)
class Sources:
    depth: DepthSource
    flow: Flow
    about_flow: Mapping[str, str]


def find_sources(config: Config, dataset: Dataset) -> Sources:
    """The sources that the flags name; prints a line for each.

    Raises:
        InputError, MissingPart: a source is missing; the text says what to do.
    """
    scale, names = similarity_scale(dataset.source_from_world), dataset.whole_names
    depth = with_finer_photos(depth_source(config.depth, scale, names), config, dataset)
    flow = flow_source(config.flow, names)
    used = config.coherent.on and config.coherent.flow == "source"
    unused = {} if used else {"used as": "nothing; --coherent.on --coherent.flow source would use it"}
    sources = Sources(depth, flow, {**flow.about, **unused})
    for name, about in (("depth", depth.about), ("flow", sources.about_flow)):
        more = "; ".join(
            f"{key} {about[key]}" if key in ("used as", "licence") else about[key] for key in PRINTED if key in about
        )
        say(f"{name}: {about['what']}" + (f" ({more})" if more else ""))
    return sources


def with_finer_photos(depth: DepthSource, config: Config, dataset: Dataset) -> DepthSource:
    """The source, applied to larger copies of the photos where --depth.finer asks for them and the data have them."""
    if config.depth.finer <= 1 or config.depth.source == "files":
        return depth
    larger = finer(dataset, config.data, config.read, config.depth.finer)
    if larger is dataset:
        return depth
    camera = larger.frames[0].camera
    return Finer(depth, lambda: load_scene(larger).views, f"measured at {camera.width}x{camera.height}")


def write_sources(run: Run, sources: Sources, details: Mapping[str, Any]) -> None:
    """Writes sources.json; `details` are what the source of depth returned beside its maps."""
    run.write_json("sources.json", {"depth": {**sources.depth.about, **details}, "flow": dict(sources.about_flow)})


def with_absolute_paths(config: Config) -> Config:
    """The config with absolute paths of sources, so that the stored config works from any folder."""
    depth, flow = config.depth, config.flow
    path = str(Path(depth.path).resolve()) if depth.path and Path(depth.path).exists() else depth.path
    depth = replace(depth, path=path, aliked=depth.aliked and depth.aliked.resolve())
    return replace(config, depth=depth, flow=replace(flow, path=flow.path and flow.path.resolve()))
