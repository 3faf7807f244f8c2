"""Optical flow between photos (without weights, from a network, or from the user's files), and what is read off it."""

from collections.abc import Mapping

from .dis import DisFlow
from .types import Flow, FlowConfig

__all__ = ["DisFlow", "Flow", "FlowConfig", "flow_source"]


def flow_source(config: FlowConfig = FlowConfig(), names: Mapping[str, str] | None = None) -> Flow:
    """The source that the flags name; `names` are the whole names of all photos, by those in use.

    Raises:
        MissingPart: weights or torchvision are absent; says how to get them.
        InputError: a folder or file that is none.
    """
    if config.source == "raft":
        from .raft import RaftFlow

        return RaftFlow(config.path)
    if config.source == "files":
        from .files import FileFlow

        return FileFlow(config.path, names)
    if config.path is not None:
        from gs_reg.errors import InputError

        raise InputError(f"--flow.path {config.path}: DIS flow takes none; say --flow.source raft or files")
    return DisFlow()
