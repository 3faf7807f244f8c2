"""What a source of depth is, and the flags that choose one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Views

from ..types import DepthConfig, DepthMap, Progress

MapKind = Literal["metric", "depth", "disparity"]


@dataclass(frozen=True)
class Depths:
    """What a source gives."""

    maps: tuple[DepthMap, ...]
    """One a view, in the units of the cameras."""
    details: Mapping[str, object]
    """Figures of every photo, as JSON can hold them: stored with the run."""


@runtime_checkable
class DepthSource(Protocol):
    """Depth of every pixel of every view."""

    about: Mapping[str, str]
    """What it is, in words that are printed and stored."""

    def __call__(self, views: Sequence[Views], progress: Progress | None = None) -> Depths: ...


@runtime_checkable
class Maps(Protocol):
    """A depth or disparity map of each photo by itself, from a file or a monocular network; NaN = no value."""

    kind: MapKind
    about: Mapping[str, str]

    def __call__(self, view: Views) -> Float[Tensor, "H W"]: ...


@dataclass(frozen=True)
class DepthSourceConfig(DepthConfig):
    """Where depth comes from; what no map or network measures is found from the photos themselves."""

    source: Literal["auto", "ours", "files", "transformers"] = "auto"
    """ours: the photos alone, without weights; files: your own maps; transformers: a depth-estimation network; auto:
    the network in --depth.path if it can be used, else ours."""
    path: str | None = None
    """files: folder of NAME.npy, NAME.exr or NAME.png (16 bits), one a photo; transformers: folder or hub id."""
    kind: MapKind | None = None
    """metric: camera-space z in the units of the cameras; depth: up to scale, far = large; disparity: up to scale and
    shift, near = large. Must be said for files; a network of a known class needs no telling."""
    png_scale: float | None = None
    """Depth of one step of a 16-bit PNG, such as 0.001 for millimetres where cameras are in metres."""
    sd: float = 0.01
    """Standard deviation of metric maps, as a share of the depth."""
    holes: Literal["error", "fill"] = "error"
    """Pixels of maps without a value (NaN, infinite, depth 0): refuse them, or close them smoothly."""
    check: bool = True
    """Compare metric maps with one another and with points that the photos share."""
    finer: float = 1.0
    """Measure in copies of the photos that are up to this many times as large as those in use, where the files have
    the pixels; not for maps from files."""
    download: bool = False
    """A hub id that is not on this machine may be downloaded."""
