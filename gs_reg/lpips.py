"""LPIPS v0.1 (Zhang et al. 2018). It runs with the published weights only; nothing is downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError

Net = Literal["vgg", "alex"]

# normalisation of inputs in [-1, 1] (the ScalingLayer of LPIPS)
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class _Conv:
    index: int
    """Index in torchvision's `features`."""
    channels: tuple[int, int]
    size: int
    stride: int = 1
    padding: int = 1
    pool: int = 0
    """Window of the max pooling (stride 2) before the layer; 0 = none."""
    tap: bool = False
    """Whether its activations are compared."""


_VGG = tuple(
    _Conv(index, channels, 3, pool=pool, tap=tap)
    for index, channels, pool, tap in [
        (0, (3, 64), 0, False),
        (2, (64, 64), 0, True),
        (5, (64, 128), 2, False),
        (7, (128, 128), 0, True),
        (10, (128, 256), 2, False),
        (12, (256, 256), 0, False),
        (14, (256, 256), 0, True),
        (17, (256, 512), 2, False),
        (19, (512, 512), 0, False),
        (21, (512, 512), 0, True),
        (24, (512, 512), 2, False),
        (26, (512, 512), 0, False),
        (28, (512, 512), 0, True),
    ]
)
_ALEX = (
    _Conv(0, (3, 64), 11, stride=4, padding=2, tap=True),
    _Conv(3, (64, 192), 5, padding=2, pool=3, tap=True),
    _Conv(6, (192, 384), 3, pool=3, tap=True),
    _Conv(8, (384, 256), 3, tap=True),
    _Conv(10, (256, 256), 3, tap=True),
)
NETS: dict[str, tuple[_Conv, ...]] = {"vgg": _VGG, "alex": _ALEX}

# File patterns, and the first digits of the SHA-256 of the published files: backbones of torchvision, heads of lpips
# 0.1.4.
_BACKBONES = {"vgg": ("vgg16-*.pth", ("397923af",)), "alex": ("alexnet-owt-*.pth", ("7be5be79", "4df8aa71"))}
_HEADS = {"vgg": ("vgg.pth", ("a78928a0af1e5f0f",)), "alex": ("alex.pth", ("df73285e35b22355",))}


class Lpips:
    """The LPIPS distance, from the state dicts of the backbone and of the linear heads.

    Raises:
        ValueError: a tensor is missing or of a wrong shape.
    """

    def __init__(self, net: Net, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]):
        self.name = f"lpips_{net}"
        self._layers = NETS[net]
        self._convs = [(_weight(backbone, layer), _bias(backbone, layer)) for layer in self._layers]
        taps = [layer.channels[1] for layer in self._layers if layer.tap]
        self._heads = [_tensor(heads, f"lin{i}.model.1.weight", (1, width, 1, 1)) for i, width in enumerate(taps)]

    def _features(self, images: Float[Tensor, "C H W 3"]) -> list[Tensor]:
        shift, scale = images.new_tensor(SHIFT), images.new_tensor(SCALE)
        x, out = ((images - shift) / scale).movedim(-1, 1), []
        for layer, (weight, bias) in zip(self._layers, self._convs, strict=True):
            if layer.pool:
                x = F.max_pool2d(x, layer.pool, stride=2)
            x = F.conv2d(x, weight.to(x), bias.to(x), stride=layer.stride, padding=layer.padding).relu()
            if layer.tap:
                out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    def __call__(
        self, a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"], *, scaled: bool = True
    ) -> Float[Tensor, "C"]:
        """Distance of images in [0, 1], which are scaled to [-1, 1] first, as the weights expect.

        `scaled=False` skips that scaling, as the code of 3DGS does: use it to compare with published tables.

        Raises:
            ValueError: an image below 32 pixels.
        """
        if min(a.shape[1:3]) < 32:
            raise ValueError(f"LPIPS: expected images of at least 32 pixels, got {a.shape[2]}x{a.shape[1]}")
        x, y = (a * 2 - 1, b * 2 - 1) if scaled else (a, b)
        pairs = zip(self._features(x), self._features(y), self._heads, strict=True)
        return torch.stack([F.conv2d((p - q).square(), head.to(p)).mean((1, 2, 3)) for p, q, head in pairs]).sum(0)


def _tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in state or tuple(state[name].shape) != shape:
        got = list(state[name].shape) if name in state else "nothing"
        raise ValueError(f"LPIPS weights: {name}: expected {list(shape)}, got {got}")
    return state[name].float()


def _weight(state: Mapping[str, Tensor], layer: _Conv) -> Tensor:
    return _tensor(
        state, f"features.{layer.index}.weight", (layer.channels[1], layer.channels[0], layer.size, layer.size)
    )


def _bias(state: Mapping[str, Tensor], layer: _Conv) -> Tensor:
    return _tensor(state, f"features.{layer.index}.bias", (layer.channels[1],))


def _search(places: list[Path], pattern: str, digests: tuple[str, ...]) -> tuple[Path | None, str]:
    """The first file that matches pattern and digest, and "", or None and the reason.

    `places` are files and folders; of folders, the level below is searched too.
    """
    named: list[Path] = []
    for place in places:
        if place.is_file() and place.match(pattern):
            named.append(place)
        elif place.is_dir():
            named += [*sorted(place.glob(pattern)), *sorted(place.glob(f"[!.]*/{pattern}"))]
    for path in named:
        if hashlib.sha256(path.read_bytes()).hexdigest().startswith(digests):
            return path, ""
    if named:
        return None, f"{named[0]} is not the published file (its SHA-256 should begin with {digests[0]})"
    return None, f"no {pattern} found"


def check_lpips(paths: Iterable[str | Path]) -> None:
    """That weights are found where they were said to be; nothing if no place was named.

    Raises:
        InputError: says what is missing.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; expected the weights of LPIPS there")
    found, reason = find_lpips(paths) if paths else (None, "")
    if paths and found is None:
        raise InputError(reason)


def find_lpips(paths: Iterable[str | Path] = (), net: Net = "vgg") -> tuple[Lpips | None, str]:
    """LPIPS and the files that it was loaded from, or None and the reason why there is none.

    Looks for the published backbone and linear heads in `paths` (files or folders) and in the torch hub cache.
    """
    places = [*(Path(path) for path in paths), Path(torch.hub.get_dir()) / "checkpoints"]
    backbone, no_backbone = _search(places, *_BACKBONES[net])
    heads, no_heads = _search(places, *_HEADS[net])
    if backbone is None or heads is None:
        reasons = [
            f"{part}: {reason}" for part, reason in [("backbone", no_backbone), ("linear heads", no_heads)] if reason
        ]
        return None, f"lpips_{net}: " + "; ".join(reasons)
    load = {
        name: torch.load(path, map_location="cpu", weights_only=True) for name, path in [("b", backbone), ("h", heads)]
    }
    return Lpips(net, load["b"], load["h"]), f"lpips_{net}: {backbone} + {heads}"
