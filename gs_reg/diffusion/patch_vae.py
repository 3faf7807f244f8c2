"""A small AutoencoderKL whose encoder is a fixed linear map of 4 x 4 patches; only its decoder is trained.

The principal components of the patches of the training pictures are the best 16 linear latents there are, and need no
training. They are written into the convolutions of a normal AutoencoderKL, so that diffusers loads it like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .libraries import diffusers

PATCH, LATENTS = 4, 16
WIDTHS = (16, 32, 64)
GROUPS = 8


@dataclass(frozen=True, eq=False)
class PatchBasis:
    """The linear map. `encode` and `decode` are in units of the transformer: (latent of the VAE - shift) * scale."""

    mean: Float[Tensor, "48"]
    analysis: Float[Tensor, "48 16"]
    synthesis: Float[Tensor, "16 48"]
    shift: float
    scale: float

    def encode(self, images: Float[Tensor, "n H W 3"]) -> Float[Tensor, "n 16 h w"]:
        latents = (patches(images) - self.mean) @ self.analysis
        return ((latents - self.shift) * self.scale).permute(0, 3, 1, 2).contiguous()

    def decode(self, latents: Float[Tensor, "n 16 h w"]) -> Float[Tensor, "n H W 3"]:
        """The best linear inverse, to look at latents before there is a decoder."""
        p = (latents.permute(0, 2, 3, 1) / self.scale + self.shift) @ self.synthesis + self.mean
        n, h, w, _ = p.shape
        image = p.reshape(n, h, w, PATCH, PATCH, 3).permute(0, 1, 3, 2, 4, 5).reshape(n, h * PATCH, w * PATCH, 3)
        return (image / 2 + 0.5).clamp(0, 1)

    def tensors(self) -> dict[str, Tensor]:
        levels = torch.tensor([self.shift, self.scale], dtype=torch.float64)
        return {"mean": self.mean, "analysis": self.analysis, "synthesis": self.synthesis, "levels": levels}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> PatchBasis:
        shift, scale = tensors["levels"].tolist()
        return PatchBasis(tensors["mean"], tensors["analysis"], tensors["synthesis"], shift, scale)


def patches(images: Float[Tensor, "n H W 3"]) -> Float[Tensor, "n h w 48"]:
    """In [-1, 1]."""
    n, height, width, _ = images.shape
    cells = (images * 2 - 1).reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return cells.permute(0, 1, 3, 2, 4, 5).reshape(n, height // PATCH, width // PATCH, PATCH * PATCH * 3)


def fit_basis(images: Float[Tensor, "n H W 3"]) -> PatchBasis:
    """Principal components, divided by the root of their standard deviation: half-way to white."""
    x = patches(images).flatten(0, 2).double()
    mean = x.mean(0)
    variances, vectors = torch.linalg.eigh(torch.cov((x - mean).T))
    vectors, deviations = vectors.flip(1)[:, :LATENTS], variances.flip(0)[:LATENTS].sqrt()
    vectors = vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)  # the sign of an eigenvector is arbitrary
    analysis, synthesis = vectors / deviations.sqrt(), (vectors * deviations.sqrt()).T
    z = (x - mean) @ analysis
    return PatchBasis(mean.float(), analysis.float(), synthesis.float(), float(z.mean()), float(1 / z.std()))


def build_vae(basis: PatchBasis, sample_size: int) -> Any:
    """An AutoencoderKL; its decoder is random."""
    vae = diffusers().AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=GROUPS,
        sample_size=sample_size,
        scaling_factor=basis.scale,
        shift_factor=basis.shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        _write_encoder(vae.encoder, basis)
    vae.encoder.requires_grad_(False)
    return vae


CONSTANT, GAIN, LEVEL = 20.0, (20.0, 4.0), 20.0
"""Of the channels that keep the last norm linear: their value; the gain of the norm on signals and on constants; its
offset, at which SiLU is the identity."""


def _write_encoder(encoder: Any, basis: PatchBasis) -> None:
    """Zero residual branches, strided convolutions as space-to-depth, and a GroupNorm that does not normalise.

    Each group of the last norm has 2 signals and 6 channels of +-CONSTANT: these fix its variance, and what the norm
    does to them tells its mean, which the last convolution subtracts again.
    """
    for p in encoder.parameters():
        p.zero_()
    first, second = (block.downsamplers[0].conv for block in encoder.down_blocks[:2])
    widen, shortcut = (encoder.down_blocks[i].resnets[0].conv_shortcut for i in (1, 2))
    for c in range(3):
        encoder.conv_in.weight[c, c, 1, 1] = 1
        for cell in range(4):  # of 2 x 2
            y, x, channel = cell // 2, cell % 2, cell * 3 + c
            first.weight[channel, c, y, x] = widen.weight[channel, channel, 0, 0] = 1
            for q in range(4):
                row = ((q // 2 * 2 + y) * PATCH + q % 2 * 2 + x) * 3 + c
                second.weight[:LATENTS, channel, q // 2, q % 2] = basis.analysis[row]
    second.bias[:LATENTS] = -basis.mean @ basis.analysis
    norm, out = encoder.conv_norm_out, encoder.conv_out
    norm.bias.fill_(LEVEL)
    norm.weight.fill_(GAIN[1])
    spread = CONSTANT * math.sqrt(0.75)  # standard deviation of a group: 6 of its 8 channels are +-CONSTANT
    for k in range(LATENTS):
        group = k // 2 * 8
        signal = group + k % 2
        shortcut.weight[signal, k, 0, 0], norm.weight[signal] = 1, GAIN[0]
        out.weight[k, signal, 1, 1] = spread / GAIN[0]
        for i, channel in enumerate(range(group + 2, group + 8)):
            shortcut.bias[channel] = CONSTANT if i % 2 else -CONSTANT
            out.weight[k, channel, 1, 1] = -spread / GAIN[1] / 6
        out.bias[k] = LEVEL * spread * (1 / GAIN[1] - 1 / GAIN[0])
    out.bias[LATENTS:] = -30  # log of the variance: none
