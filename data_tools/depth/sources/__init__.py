"""Where depth comes from: the photos alone, the user's maps or a network, behind one interface."""

from collections.abc import Mapping

from gs_reg.errors import InputError, MissingPart

from ..aliked import Aliked
from .files import FileMaps
from .metric import MetricDepth
from .mvs import MultiViewStereo
from .relative import RelativeDepth
from .types import Depths, DepthSource, DepthSourceConfig

__all__ = ["DepthSource", "DepthSourceConfig", "Depths", "depth_source"]


def depth_source(
    config: DepthSourceConfig = DepthSourceConfig(), scale: float = 1.0, names: Mapping[str, str] | None = None
) -> DepthSource:
    """The source that the flags name.

    `scale` is the length, in the cameras' units, of a unit of the world; `names` are the whole names of all photos, by
    those in use, by which the user's maps are found.

    Raises:
        MissingPart: the network or its library is absent; says how to get them.
        InputError: a folder that is none, or a kind that is not said.
    """
    if config.aliked is not None:
        Aliked(config.aliked)  # only to find a missing or wrong file now and not after minutes
    if config.source == "files":
        maps = FileMaps(config.path, config.kind, config.png_scale, config.holes, names)
        if maps.kind == "metric":
            return MetricDepth(maps, scale, config.sd, config.check, config.aliked)
        return RelativeDepth(maps, config)
    if config.source == "transformers":
        return _network(config)
    if config.source == "ours" and config.path is not None:
        raise InputError(f"--depth.path {config.path}: ours takes none; say --depth.source files or transformers")
    if config.source == "ours":
        return MultiViewStereo(config)
    if config.path is None:
        return MultiViewStereo(config, "auto: no --depth.path names a network")
    try:
        return _network(config)
    except (InputError, MissingPart) as error:
        return MultiViewStereo(config, f"auto: {error}")


def _network(config: DepthSourceConfig) -> DepthSource:
    from .network import NetworkMaps

    return RelativeDepth(NetworkMaps(config.path, config.kind, config.download), config)
