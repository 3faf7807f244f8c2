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
from gs_reg.optim import ParameterGroup, TriangularSchedule
from gs_reg.types import Splats, Views

PUBLISHED_OPACITY = {2: 0.6, 3: 0.5, 4: 0.35}
"""Initial opacity, by number of photos."""
PUBLISHED_CAPACITY = {2: (10, 6), 3: (15, 10), 4: (18, 12)}
"""Widths of the depth and the opacity decoder, by number of photos."""
LOWEST_LR = {"depth": 0.01, "opacity": 0.1}
"""Learning rate at the bottom of a cycle, as a share of the highest."""


@dataclass(frozen=True)
class CoherentConfig:
    decode_depth: bool = True
    """Depth from a decoder over the photos; otherwise a free residual for every pixel."""
    decode_opacity: bool = True
    """Opacity from a decoder over the photos; otherwise a free logit for every pixel."""
    layers: int = 5
    """Depth layers, each with an output of its own."""
    capacity: int | None = None
    """Width of the depth decoder; the opacity decoder has two thirds of it. None = the published widths."""
    shrink: int = 1
    """Decode at 1/n of the photos' size and upsample; 1 as published."""
    opacity_range: float = 100.0
    """Largest change of an opacity logit by the decoder."""
    lr_depth: float = 1e-4
    """Peak learning rate of the depth decoder; the cycles are triangular, each with half the peak of the one before."""
    lr_opacity: float = 1e-5
    """Peak learning rate of the opacity decoder."""
    half_cycles: float = 13.0
    """Rises and falls of the depth decoder's learning rate in a run; the opacity decoder has half as many."""
    weight_decay: float = 0.01
    """Decoupled weight decay of the decoders."""
    freeze_dc: bool = False
    """Do not train the colour of degree 0: it stays the photo's (as in the published code, by accident)."""
    sizes_from: float = 0.6
    """Share of the run after which sizes are trained; before it they only follow the depth."""


class Coherent(nn.Module):
    """Depth of a pixel is start * exp(depth_range * tanh(d)), its opacity logit is base + opacity_range * tanh(o).

    d and o are the decoders' outputs for the pixel's depth layer. The published depth residual is additive, up to 50
    world units, and can make depth negative; this one cannot.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: CoherentConfig, rows: PixelAlignedConfig):
        """From the tensors of a state dict; see `from_views` for a fresh one."""
        super().__init__()
        self.config = config
        self.rows = PixelAligned(_with_prefix("rows.", tensors), rows)
        self.pixel: Int[Tensor, "N"]
        """Index into the pixels of all photos, one photo after the other; P = no pixel (a filled Gaussian)."""
        self.layers: UInt8[Tensor, "P"]
        """Depth layer of every pixel of all photos."""
        self.sizes: Int[Tensor, "V 2"]
        """Height and width of each photo."""
        self.match_inverse_depth: Float[Tensor, "N J"]
        """1 / depth at which the ray passes nearest to the flow match in another photo; 0 without a match."""
        self.match_pixels: Float[Tensor, "N J"]
        """Pixels by which a change of 1 in inverse depth moves the projection in that photo; 0 without a match."""
        for name in ("pixel", "layers", "sizes", "match_inverse_depth", "match_pixels"):
            self.register_buffer(name, tensors[name])
        depth, opacity = (_with_prefix(f"{name}_decoder.", tensors) for name in ("depth", "opacity"))
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
        """One Gaussian for every pixel inside the masks; the views must have depth layers.

        `matches` holds `match_inverse_depth` and `match_pixels` for every view, as maps. `seed` is of the decoders.

        Raises:
            ValueError: a view without layers.
        """
        stride = stride_of(views, rows)
        masks = [pixel_grid(view, stride).flatten() for view in views]
        aligned = PixelAligned.from_views(views, depths, rows)
        opacity = PUBLISHED_OPACITY.get(len(views), base_opacity(len(views)))
        aligned.opacity_logits.data.fill_(torch.tensor(opacity).logit())
        tensors = {f"rows.{name}": value for name, value in aligned.state_dict().items()}
        tensors["pixel"] = torch.cat(masks).nonzero()[:, 0]
        tensors["layers"] = torch.cat([_layers_of(view).flatten() for view in views])
        tensors["sizes"] = torch.tensor([view.photos.shape[1:3] for view in views])
        # views may have different numbers of matches per pixel: pad with 0, which means no match
        J = max(inverse_depth.shape[-1] for inverse_depth, _ in matches)
        for k, name in enumerate(("match_inverse_depth", "match_pixels")):
            maps = [F.pad(match[k], (0, J - match[k].shape[-1])).flatten(0, 1) for match in matches]
            tensors[name] = torch.cat([m[mask] for m, mask in zip(maps, masks, strict=True)]).float()
        capacity = capacities(len(views), config)
        # the weights depend on the seed alone, and the caller's random state stays as it is
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, enabled, width in (
                ("depth_decoder", config.decode_depth, capacity[0]),
                ("opacity_decoder", config.decode_opacity, capacity[1]),
            ):
                if enabled:
                    decoder = _decoder(None, tensors["sizes"], width, config)
                    tensors |= {f"{name}.{key}": value for key, value in decoder.state_dict().items()}
        return cls(tensors, config, rows)

    @property
    def start(self) -> Float[Tensor, "N"]:
        return self.rows.start

    def extended(self, splats: Splats) -> Coherent:
        """The model with rows for filled splats added; no decoder changes these."""
        count = len(splats)
        tensors = {name: value for name, value in self.state_dict().items() if not name.startswith("rows.")}
        tensors |= {f"rows.{name}": value for name, value in self.rows.extended(splats).state_dict().items()}
        tensors["pixel"] = F.pad(self.pixel, (0, count), value=len(self.layers))
        for name in ("match_inverse_depth", "match_pixels"):
            tensors[name] = F.pad(tensors[name], (0, 0, 0, count))
        return Coherent(tensors, self.config, self.rows.config)

    def layer_maps(self) -> list[UInt8[Tensor, "1 _ _"]]:
        """Depth layers of every view."""
        return layer_maps(self.layers, self.sizes)

    def depths_of(self, splats: Splats) -> Float[Tensor, "N"]:
        """Camera-space z of this model's splats in their own photos."""
        return self.rows.depths_of(splats)

    def match_errors(self, splats: Splats) -> tuple[Float[Tensor, "N J"], Float[Tensor, "N J"]]:
        """Signed distances to the flow matches in pixels of the other photos (0 = no match), and `match_pixels`."""
        inverse_depth = 1 / self.depths_of(splats)
        return self.match_pixels * (inverse_depth[:, None] - self.match_inverse_depth), self.match_pixels

    def canonical(self) -> Splats:
        return self()

    def forward(self, views: Views | None = None) -> Splats:
        """The splats at the decoded depth and opacity; the same for every view."""
        residual, logits = self.rows.residual, self.rows.opacity_logits
        if self.depth_decoder is not None:
            residual = self._decoded(self.depth_decoder)
        if self.opacity_decoder is not None:
            logits = logits + self.config.opacity_range * torch.tanh(self._decoded(self.opacity_decoder))
        return self.rows.splats_at(residual, logits)

    def _decoded(self, decoder: ViewDecoder) -> Float[Tensor, "N"]:
        """Each Gaussian's decoder output: that of its pixel in the channel of its layer; 0 for filled Gaussians."""
        values = []
        for out, layers in zip(decoder()[:, None], self.layer_maps(), strict=True):
            if out.shape[2:] != layers.shape[1:]:
                out = F.interpolate(out, size=layers.shape[1:], mode="bilinear", align_corners=False)
            values.append(out[0].gather(0, layers.long()).flatten())
        # one zero after the last pixel: the index of filled Gaussians points at it
        return torch.cat([*values, values[0].new_zeros(1)]).index_select(0, self.pixel)

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        frozen = {"dc"} if c.freeze_dc else set()
        # the depth decoder replaces the residual, the opacity decoder adds to logits that stay as they start
        frozen |= {"residual"} if self.depth_decoder else set()
        frozen |= {"opacity_logits"} if self.opacity_decoder else set()
        groups = [group for group in self.rows.parameter_groups() if group.name not in frozen]
        groups = [replace(g, start=c.sizes_from) if g.name == "log_sizes" else g for g in groups]
        decoders = (
            ("depth", self.depth_decoder, c.lr_depth, c.half_cycles),
            ("opacity", self.opacity_decoder, c.lr_opacity, c.half_cycles / 2),
        )
        for kind, decoder, lr, half_cycles in decoders:
            if decoder is not None:
                tensors, schedule = list(decoder.parameters()), TriangularSchedule(half_cycles, LOWEST_LR[kind])
                groups.append(ParameterGroup(f"{kind}_decoder", tensors, lr, schedule, weight_decay=c.weight_decay))
        return groups


def layer_maps(layers: UInt8[Tensor, "P"], sizes: Int[Tensor, "V 2"]) -> list[UInt8[Tensor, "1 _ _"]]:
    """Depth layers of every view, from the tensors of a state dict."""
    flat = layers.split([height * width for height, width in sizes.tolist()])
    return [part.reshape(1, *size) for part, size in zip(flat, sizes.tolist(), strict=True)]


def capacities(views: int, config: CoherentConfig) -> tuple[int, int]:
    """Widths of the depth and the opacity decoder; published for 2 to 4 photos, extrapolated for other numbers."""
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


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a state dict below a submodule, without the prefix."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _layers_of(view: Views) -> UInt8[Tensor, "H W"]:
    if view.layers is None:
        raise ValueError(f"{view.names}: expected a depth layer for every pixel, got none")
    return view.layers[0]
