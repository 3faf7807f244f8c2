"""ALIKED keypoints and descriptors (Zhao et al. 2023), evaluated with the authors' weights (BSD-3-Clause).

A pyramid of convolutions, the deeper ones deformable, gives a score map and a feature map; descriptors gather features
at a few positions that are predicted around each keypoint. Written from the paper's description.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, MissingPart

STRIDES = 1, 2, 8, 32
"""Of the four levels."""
NMS_RADIUS, TEMPERATURE = 2, 0.1
"""Of non-maximum suppression, pixels, and of the soft maximum that places a peak between pixels."""
OFFSET_SHARE = 4
"""Predicted offsets are at most the longer side divided by this."""


class Aliked:
    """Raises MissingPart where there are no weights, InputError for a file that holds others."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise MissingPart(
                f"--depth.aliked {path}: no such file: download models/aliked-n16.pth from "
                "https://github.com/Shiaoming/ALIKED (BSD-3-Clause, 3 MB), or leave the flag out"
            )
        try:
            self._w: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
            self._positions = self._w["desc_head.agg_weights"].shape[0]
        except Exception as error:  # torch raises whatever its unpickler does
            raise InputError(f"{path}: no ALIKED weights ({type(error).__name__}): expected aliked-n16.pth") from None

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "H W 3"], most: int) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P D"]]:
        """Positions (centres at +0.5) and unit descriptors of the `most` highest peaks of the score."""
        height, width = image.shape[:2]
        pad = [-side % STRIDES[-1] for side in (width, height)]
        x = F.pad(image.movedim(-1, 0)[None], (0, pad[0], 0, pad[1]), mode="replicate")
        joined = self._pyramid(x)[..., :height, :width]
        index = _peaks(self._scores(joined), most)
        xy = _refined(self._scores(joined), index)
        return xy + 0.5, self._descriptors(F.normalize(joined, dim=1), index, xy)

    def _pyramid(self, x: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 D H W"]:
        size, parts = x.shape[2:], []
        for k, stride in enumerate(STRIDES, start=1):
            if k > 1:
                x = F.avg_pool2d(x, stride // STRIDES[k - 2])
            x = self._block(x, f"block{k}")
            part = F.selu(F.conv2d(x, self._w[f"conv{k}.weight"]))
            parts.append(F.interpolate(part, size, mode="bilinear", align_corners=True) if k > 1 else part)
        return torch.cat(parts, 1)

    def _block(self, x: Tensor, name: str) -> Tensor:
        y = F.selu(self._batch_norm(self._conv(x, f"{name}.conv1"), f"{name}.bn1"))
        y = self._batch_norm(self._conv(y, f"{name}.conv2"), f"{name}.bn2")
        if f"{name}.downsample.weight" in self._w:
            y = y + F.conv2d(x, self._w[f"{name}.downsample.weight"], self._w[f"{name}.downsample.bias"])
        return F.selu(y)

    def _batch_norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self._w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def _conv(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.weight" in self._w:
            return F.conv2d(x, self._w[f"{name}.weight"], padding=1)
        weight, reach = self._w[f"{name}.regular_conv.weight"], max(x.shape[2:]) / OFFSET_SHARE
        offset = F.conv2d(
            x, self._w[f"{name}.offset_conv.weight"], self._w[f"{name}.offset_conv.bias"], padding=1
        ).clamp(-reach, reach)
        grid = _pixel_grid(x)
        taps = []
        for k in range(9):
            shift = grid.new_tensor([k % 3 - 1, k // 3 - 1])
            # torchvision's layout of deformable convolutions: offsets of tap k are channels 2 k (y) and 2 k + 1 (x)
            taps.append(_sampled(x, grid + shift + offset[0, [2 * k + 1, 2 * k]].movedim(0, -1)))
        return torch.einsum("kchw,ock->ohw", torch.stack(taps), weight.flatten(2))[None]

    def _scores(self, joined: Float[Tensor, "1 D H W"]) -> Float[Tensor, "H W"]:
        x = F.conv2d(joined, self._w["score_head.0.weight"])
        for k in (2, 4, 6):
            x = F.conv2d(F.selu(x), self._w[f"score_head.{k}.weight"], padding=1)
        return x[0, 0].sigmoid()

    def _descriptors(
        self, features: Float[Tensor, "1 D H W"], index: Tensor, xy: Float[Tensor, "P 2"]
    ) -> Float[Tensor, "P D"]:
        patches = F.unfold(features, 3, padding=1)[0].reshape(features.shape[1], 9, -1)[..., index]
        w, reach = self._w, max(features.shape[2:]) / OFFSET_SHARE
        hidden = torch.einsum("dkp,odk->po", patches, w["desc_head.offset_conv.0.weight"].flatten(2))
        hidden = F.selu(hidden + w["desc_head.offset_conv.0.bias"])
        offset = hidden @ w["desc_head.offset_conv.2.weight"].flatten(1).T + w["desc_head.offset_conv.2.bias"]
        offset = offset.clamp(-reach, reach).reshape(-1, 2, self._positions).movedim(1, -1)
        found = _sampled(features, xy[:, None] + offset)
        found = F.selu(torch.einsum("dpm,od->opm", found, w["desc_head.sf_conv.weight"].flatten(1)))
        return F.normalize(torch.einsum("dpm,mde->pe", found, w["desc_head.agg_weights"]), dim=-1)


def _pixel_grid(x: Float[Tensor, "1 D H W"]) -> Float[Tensor, "H W 2"]:
    """Here pixel centres are whole numbers."""
    height, width = x.shape[2:]
    return torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).to(x)


def _sampled(x: Float[Tensor, "1 D H W"], xy: Float[Tensor, "A B 2"]) -> Float[Tensor, "D A B"]:
    size = xy.new_tensor([x.shape[3] - 1, x.shape[2] - 1]).clamp_min(1)
    return F.grid_sample(x, (2 * xy / size - 1)[None], align_corners=True)[0]


def _peaks(scores: Float[Tensor, "H W"], most: int) -> Tensor:
    """Pixel numbers of the highest local maxima."""
    around = F.max_pool2d(scores[None], 2 * NMS_RADIUS + 1, 1, NMS_RADIUS)[0]
    peak = torch.where(scores == around, scores, 0.0)
    # at the border the window is not whole
    peak[:NMS_RADIUS], peak[-NMS_RADIUS:], peak[:, :NMS_RADIUS], peak[:, -NMS_RADIUS:] = 0, 0, 0, 0
    value, index = peak.flatten().topk(min(most, peak.numel()))
    return index[value > 0]


def _refined(scores: Float[Tensor, "H W"], index: Tensor) -> Float[Tensor, "P 2"]:
    """To a fraction of a pixel: the mean of the window, weighted by the soft maximum of its scores."""
    side = 2 * NMS_RADIUS + 1
    window = F.unfold(scores[None, None], side, padding=NMS_RADIUS)[0][:, index].T
    weight = ((window - window.amax(1, keepdim=True)) / TEMPERATURE).softmax(1)
    steps = torch.arange(side) - NMS_RADIUS
    shift = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2).to(weight)
    width = scores.shape[1]
    return torch.stack([index % width, index // width], -1).to(weight) + weight @ shift
