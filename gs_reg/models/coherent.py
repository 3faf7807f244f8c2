"""CoherentGS (Paliwal et al., ECCV 2024): pixel-aligned Gaussians whose depth and opacity come from small decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from gs_reg.models.decoders import ViewDecoder
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig, base_opacity, pixel_grid, stride_of
from gs_reg.optim import ParameterGroup, Triangles
from gs_reg.types import Splats, Views

PUBLISHED_OPACITY = {2: 0.6, 3: 0.5, 4: 0.35}
PUBLISHED_CAPACITY = {2: (10, 6), 3: (15, 10), 4: (18, 12)}
LOWEST_RATE = {"depth": 0.01, "opacity": 0.1}
"""Of the highest one."""


@dataclass(frozen=True)
class CoherentConfig:
    decode_depth: bool = True
    """Depth from a decoder over the photos; otherwise a free residual for every pixel."""
    decode_opacity: bool = True
    """Opacity from a decoder over the photos; otherwise a free logit for every pixel."""
    layers: int = 5
    """Depth layers, each with an output of its own."""
    capacity: int | None = None
    """Width of the depth decoder, that of the opacity decoder is two thirds of it; None = the published ones."""
    shrink: int = 1
    """Decode at the photos' size over this number and enlarge; 1 as published."""
    opacity_range: float = 100.0
    """Most by which a decoder changes an opacity logit."""
    lr_depth: float = 1e-4
    """Highest step of the depth decoder; it rises and falls, each time half as high."""
    lr_opacity: float = 1e-5
    """Highest step of the opacity decoder."""
    half_cycles: float = 13.0
    """How often the step of the depth decoder rises or falls in a run; that of the opacity decoder half as often."""
    weight_decay: float = 0.01
    """Decoupled weight decay of the decoders."""
    freeze_dc: bool = False
    """Leave colours of degree 0 as the photos have them (as the published code does, by accident)."""
    sizes_from: float = 0.6
    """Share of the run after which sizes may leave their tie to the depth."""


class Coherent(nn.Module):
    """A pixel's depth is start * exp(range * tanh(output of its layer)), its opacity logit base + 100 tanh(output).

    The published correction of depth is additive, up to 50 world units, and may turn depth negative; this one cannot.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: CoherentConfig, rows: PixelAlignedConfig):
        """From the tensors of a state dict; see `from_views` for a fresh one."""
        super().__init__()
        self.config = config
        self.rows = PixelAligned(_below("rows.", tensors), rows)
        self.pixel: Int[Tensor, "N"]
        self.layers: UInt8[Tensor, "P"]
        self.sizes: Int[Tensor, "V 2"]
        self.match_inverse_depth: Float[Tensor, "N J"]
        self.match_pixels: Float[Tensor, "N J"]
        for name in ("pixel", "layers", "sizes", "match_inverse_depth", "match_pixels"):
            self.register_buffer(name, tensors[name])
        depth, opacity = (_below(f"{name}_decoder.", tensors) for name in ("depth", "opacity"))
        capacity = capacities(len(self.sizes), config)
        self.depth_decoder = _decoder(depth, self.sizes, capacity[0], config) if depth else None
        self.opacity_decoder = _decoder(opacity, self.sizes, capacity[1], config) if opacity else None

    @classmethod
    def from_views(
        cls,
        views: Sequence[Views],
        depths: Sequence[Float[Tensor, "_ _"]],
        matches: Sequence[tuple[Float[Tensor, "_ _ J"], Float[Tensor, "_ _ J"]]],
        config: CoherentConfig,
        rows: PixelAlignedConfig,
        seed: int = 0,
    ) -> Coherent:
        """A Gaussian for every pixel that no mask leaves out; the views carry their depth layers.

        `matches` are, for every pixel, inverse depths along its ray from other photos and their worth in pixels.
        """
        stride = stride_of(views, rows)
        keep = [pixel_grid(view, stride).flatten() for view in views]
        aligned = PixelAligned.from_views(views, depths, rows)
        opacity = PUBLISHED_OPACITY.get(len(views), base_opacity(len(views)))
        aligned.opacity_logits.data.fill_(torch.tensor(opacity).logit())
        tensors = {f"rows.{name}": value for name, value in aligned.state_dict().items()}
        tensors["pixel"] = torch.cat(keep).nonzero()[:, 0]
        tensors["layers"] = torch.cat([_layers_of(view).flatten() for view in views])
        tensors["sizes"] = torch.tensor([view.photos.shape[1:3] for view in views])
        most = max(found.shape[-1] for found, _ in matches)
        for k, name in enumerate(("match_inverse_depth", "match_pixels")):
            maps = [F.pad(match[k], (0, most - match[k].shape[-1])).flatten(0, 1) for match in matches]
            tensors[name] = torch.cat([m[kept] for m, kept in zip(maps, keep, strict=True)]).float()
        capacity = capacities(len(views), config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, wanted, width in (
                ("depth_decoder", config.decode_depth, capacity[0]),
                ("opacity_decoder", config.decode_opacity, capacity[1]),
            ):
                if wanted:
                    fresh = _decoder(None, tensors["sizes"], width, config)
                    tensors |= {f"{name}.{key}": value for key, value in fresh.state_dict().items()}
        return cls(tensors, config, rows)

    @property
    def start(self) -> Float[Tensor, "N"]:
        return self.rows.start

    def extended(self, splats: Splats) -> Coherent:
        """With more rows for made-up splats, which no decoder moves."""
        more = len(splats)
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("rows.")}
        own |= {f"rows.{name}": value for name, value in self.rows.extended(splats).state_dict().items()}
        own["pixel"] = F.pad(self.pixel, (0, more), value=len(self.layers))
        for name in ("match_inverse_depth", "match_pixels"):
            own[name] = F.pad(own[name], (0, 0, 0, more))
        return Coherent(own, self.config, self.rows.config)

    def layer_maps(self) -> list[UInt8[Tensor, "1 _ _"]]:
        """Depth layers of every view."""
        return layer_maps(self.layers, self.sizes)

    def depths_of(self, splats: Splats) -> Float[Tensor, "N"]:
        """Camera-space z of this model's splats in their own photos."""
        return self.rows.depths_of(splats)

    def match_errors(self, splats: Splats) -> tuple[Float[Tensor, "N J"], Float[Tensor, "N J"]]:
        """Distances to the flow's matches in pixels of the other photos, and what each match is worth in pixels."""
        inverse_depth = 1 / self.depths_of(splats)
        return self.match_pixels * (inverse_depth[:, None] - self.match_inverse_depth), self.match_pixels

    def canonical(self) -> Splats:
        return self()

    def forward(self, views: Views | None = None) -> Splats:
        """The splats, with the decoders' output in them; the same for every view."""
        residual, logits = self.rows.residual, self.rows.opacity_logits
        if self.depth_decoder is not None:
            residual = self._decoded(self.depth_decoder)
        if self.opacity_decoder is not None:
            logits = logits + self.config.opacity_range * torch.tanh(self._decoded(self.opacity_decoder))
        return self.rows.placed(residual, logits)

    def _decoded(self, decoder: ViewDecoder) -> Float[Tensor, "N"]:
        """Every row's output of its own layer; 0 for rows that belong to no pixel."""
        values = []
        for out, layers in zip(decoder()[:, None], self.layer_maps(), strict=True):
            if out.shape[2:] != layers.shape[1:]:
                out = F.interpolate(out, size=layers.shape[1:], mode="bilinear", align_corners=False)
            values.append(out[0].gather(0, layers.long()).flatten())
        return torch.cat([*values, values[0].new_zeros(1)]).index_select(0, self.pixel)

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        left = {"dc"} if c.freeze_dc else set()
        left |= {"residual"} if self.depth_decoder else set()
        left |= {"opacity_logits"} if self.opacity_decoder else set()
        groups = [group for group in self.rows.parameter_groups() if group.name not in left]
        groups = [replace(g, start=c.sizes_from) if g.name == "log_sizes" else g for g in groups]
        decoders = (
            ("depth", self.depth_decoder, c.lr_depth, c.half_cycles),
            ("opacity", self.opacity_decoder, c.lr_opacity, c.half_cycles / 2),
        )
        for kind, decoder, rate, turns in decoders:
            if decoder is not None:
                tensors, cycle = list(decoder.parameters()), Triangles(turns, LOWEST_RATE[kind])
                groups.append(ParameterGroup(f"{kind}_decoder", tensors, rate, cycle, weight_decay=c.weight_decay))
        return groups


def layer_maps(layers: UInt8[Tensor, "P"], sizes: Int[Tensor, "V 2"]) -> list[UInt8[Tensor, "1 _ _"]]:
    """Depth layers of every view, from the tensors of a state dict."""
    flat = layers.split([height * width for height, width in sizes.tolist()])
    return [part.reshape(1, *size) for part, size in zip(flat, sizes.tolist(), strict=True)]


def capacities(views: int, config: CoherentConfig) -> tuple[int, int]:
    """Widths of the depth and the opacity decoder."""
    if config.capacity is None and views in PUBLISHED_CAPACITY:
        return PUBLISHED_CAPACITY[views]
    depth = min(18 + 2 * (views - 4), 32) if config.capacity is None else config.capacity
    return depth, max(1, round(depth * 2 / 3))


def _decoder(
    tensors: dict[str, Tensor] | None, sizes: Int[Tensor, "V 2"], capacity: int, config: CoherentConfig
) -> ViewDecoder:
    height, width = (max(2, -(-int(side) // config.shrink)) for side in sizes.amax(0))
    decoder = ViewDecoder(len(sizes), height, width, capacity, config.layers)
    if tensors is not None:
        decoder.load_state_dict(tensors)
    return decoder


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _layers_of(view: Views) -> UInt8[Tensor, "H W"]:
    if view.layers is None:
        raise ValueError(f"{view.names}: expected a depth layer for every pixel, got none")
    return view.layers[0]
