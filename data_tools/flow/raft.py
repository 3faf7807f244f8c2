"""RAFT (Teed and Deng 2020) of torchvision, from a weights file that the user names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.types import Views

from .types import of_other_size

UPDATES = 20
"""Iterations of the update block."""
LEAST_SIDE = 128
"""The correlation pyramid has four levels of an eighth of the picture: smaller ones vanish."""
MOST_PIXELS = 500_000
"""Correlations take (pixels / 64)^2 floats: larger photos are matched at this size."""
WHERE = (
    "download raft_large_C_T_SKHT_V2-ff5fadd5.pth (21 MB) or raft_small_C_T_V2-01064c6d.pth (4 MB) from "
    "https://download.pytorch.org/models/ and name the file with --flow.path"
)


class RaftFlow:
    """raft_large or raft_small, whichever the weights fit.

    Raises:
        MissingPart: no weights file, or no torchvision.
        InputError: a file that holds other weights.
    """

    def __init__(self, path: Path | None):
        if path is None or not path.is_file():
            raise MissingPart(f"--flow.source raft: {path or 'no --flow.path'}: no weights file; {WHERE}")
        self._net, name = _loaded(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.about: Mapping[str, str] = {
            "source": "raft",
            "what": f"torchvision {name}, {path}",
            "sha256": digest,
            "licence": "code BSD-3-Clause; the published weights are trained on research data sets",
        }

    def __call__(self, a: Views, b: Views) -> Float[Tensor, "H W 2"]:
        height, width = a.photos.shape[1:3]
        ratio = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5)
        size = round(height * ratio), round(width * ratio)
        first, second = (_resized(v.photos, size) * 2 - 1 for v in (a, b))
        pad = _padding(size)  # torchvision's RAFT takes sides that are multiples of 8 only
        with torch.no_grad():
            flow = self._net(*(F.pad(x, pad, mode="replicate") for x in (first, second)), num_flow_updates=UPDATES)[-1]
        flow = flow[0, :, pad[2] : pad[2] + size[0], pad[0] : pad[0] + size[1]]
        if size != (height, width):
            scale = torch.tensor([width / size[1], height / size[0]])[:, None, None]
            flow = F.interpolate(flow[None], (height, width), mode="bilinear", align_corners=False)[0] * scale
        return of_other_size(flow.movedim(0, -1), (b.photos.shape[1], b.photos.shape[2]))


def _loaded(path: Path) -> tuple[torch.nn.Module, str]:
    try:
        from torchvision.models import optical_flow
    except ImportError as error:
        raise MissingPart(
            f"--flow.source raft: torchvision is missing ({error}): pip install 'gs-reg[networks]'"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler does
        raise InputError(f"{path}: no weights that torch can read ({type(error).__name__}): {WHERE}") from None
    for name in ("raft_large", "raft_small"):
        net = getattr(optical_flow, name)(weights=None, progress=False).eval()
        try:
            net.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError):
            continue
        return net, name
    raise InputError(f"{path}: fits neither raft_large nor raft_small of torchvision: {WHERE}")


def _resized(images: Float[Tensor, "1 H W 3"], size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
    x = images.clamp(0, 1).float().movedim(-1, 1)
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size, mode="bilinear", antialias=True)


def _padding(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: sides become multiples of 8 of at least 128."""
    more = [max(LEAST_SIDE, -(-side // 8) * 8) - side for side in size]
    return more[1] // 2, more[1] - more[1] // 2, more[0] // 2, more[0] - more[0] // 2
