"""The three stages of training: flow on small pictures, the VAE's decoder, flow on large pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gs_reg.data_tools.synthetic.objects.colors import coverage
from gs_reg.data_tools.synthetic.objects.dataset import Split, read_index, read_split
from gs_reg.diffusion.networks import PATCH_TOKENS, Networks, grown
from gs_reg.diffusion.patch_vae import PATCH, PatchBasis, build_vae, fit_basis
from gs_reg.diffusion.schedule import sigma_of
from gs_reg.diffusion.word_maps import binding_loss, map_loss, raw_maps
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from .batches import draw_batch, teacher_tokenizer
from .learning import Loss, Trainer, averaged_weights

if TYPE_CHECKING:
    from .train import Config

STAGES = ("coarse", "decoder", "fine")
BASIS_PICTURES = 768


def make_trainer(name: str, config: Config) -> Trainer:
    """A stage of the config, at the newest checkpoint that it has."""
    config.out.mkdir(parents=True, exist_ok=True)
    number = STAGES.index(name)
    folder = config.fine_data if name == "fine" and config.fine_data is not None else config.data
    size, split = read_index(folder)["config"]["size"], read_split(folder, "train")
    validation = read_split(folder, "validation")
    basis = patch_basis(config)
    if name == "decoder":
        stage: Any = DecoderStage(split, validation, basis, size, config.decoder.batch, config.network.tokens)
        return Trainer(name, number, stage, config.decoder, config.out, config.seed)
    torch.manual_seed(config.seed)
    networks = Networks(config.network, teacher_tokenizer(config.network.tokens), size)
    if name == "fine":
        weights = averaged_weights(config.out, "coarse")
        if weights is None:
            raise InputError(f"{config.out}: the stage fine begins where coarse ended, and there is no coarse yet")
        networks.load_state_dict(grown(weights, size // PATCH // PATCH_TOKENS))
    settings = config.fine if name == "fine" else config.coarse
    stage = FlowStage(networks, split, validation, basis, size, settings.batch, config.loss)
    return Trainer(name, number, stage, settings, config.out, config.seed)


def patch_basis(config: Config) -> PatchBasis:
    """The VAE's linear encoder: made once from the small training pictures, then read from its file."""
    path = config.out / "basis.safetensors"
    if not path.is_file():
        size = read_index(config.data)["config"]["size"]
        rng = np.random.default_rng([config.seed, 99])
        split = read_split(config.data, "train")
        batch = draw_batch(split, size, BASIS_PICTURES, teacher_tokenizer(config.network.tokens), rng)
        tensors = fit_basis(batch.images).tensors()
        with atomic_path(path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    return read_basis(path)


def read_basis(path: Path) -> PatchBasis:
    return PatchBasis.from_tensors(load_file(path))


class FlowStage:
    """Rectified flow in latents, with the losses on attention."""

    def __init__(
        self,
        networks: Networks,
        split: Split,
        validation: Split,
        basis: PatchBasis,
        size: int,
        batch: int,
        weights: Loss,
    ):
        self.module, self.split, self.validation, self.basis = networks, split, validation, basis
        self.size, self.batch, self.weights = size, batch, weights
        self.tokenizer = teacher_tokenizer(networks.config.tokens)
        self.blocks = tuple(range(len(networks.transformer.transformer_blocks) - 1))  # the last one has no text output

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = draw_batch(self.split, self.size, self.batch, self.tokenizer, rng)
        latents = self.basis.encode(batch.images)
        sigmas = sigma_of(torch.sigmoid(torch.randn(len(latents), generator=noise)))
        level = sigmas[:, None, None, None]
        eps = torch.randn(latents.shape, generator=noise)
        zero_rows = 256 if rng.random() < 0.2 else 16
        v = self.module((1 - level) * latents + level * eps, sigmas, self.module.text(batch.tokens), zero_rows)
        weights = 1 + self.weights.object * F.avg_pool2d((batch.parts > 0)[:, None].float(), PATCH)
        flow = (weights * (v - (eps - latents)) ** 2).sum() / weights.sum() / latents.shape[1]
        total, values = flow, {"flow": float(flow.detach())}
        cover = coverage(batch.parts, self.size // PATCH // PATCH_TOKENS)
        if self.weights.maps:
            maps = map_loss(raw_maps(self.module, batch.names, self.blocks), batch.names, cover, sigmas)
            total, values["maps"] = total + self.weights.maps * maps, float(maps.detach())
        if self.weights.binding:
            binding = binding_loss(self.module, batch.phrases, cover, self.blocks[1:])
            total, values["binding"] = total + self.weights.binding * binding, float(binding.detach())
        return total, values

    def check(self, averaged: nn.Module) -> dict[str, Any]:
        from .part_maps import map_figures

        assert isinstance(averaged, Networks)
        return map_figures(averaged, self.validation, self.basis, self.size, pictures=5).summary()


class DecoderStage:
    """The VAE's decoder; its encoder is fixed."""

    def __init__(self, split: Split, validation: Split, basis: PatchBasis, size: int, batch: int, tokens: int):
        torch.manual_seed(0)
        self.module = build_vae(basis, size)
        self.split, self.validation, self.basis, self.size, self.batch = split, validation, basis, size, batch
        self.tokenizer = teacher_tokenizer(tokens)

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        images = draw_batch(self.split, self.size, self.batch, self.tokenizer, rng).images
        latents = self.basis.encode(images)
        # sampled latents are not exact: a little noise
        latents = latents + 0.05 * torch.randn(latents.shape, generator=noise)
        errors = decoded(self.module, latents, self.basis) - images
        absolute, squared = errors.abs().mean(), errors.square().mean()
        return absolute + 2 * squared, {
            "absolute": float(absolute.detach()),
            "psnr": float(-10 * squared.detach().log10()),
        }

    @torch.no_grad()
    def check(self, averaged: nn.Module) -> dict[str, Any]:
        images = draw_batch(self.validation, self.size, 48, self.tokenizer, np.random.default_rng(1)).images
        errors = decoded(averaged, self.basis.encode(images), self.basis).clamp(0, 1) - images
        linear = self.basis.decode(self.basis.encode(images)) - images
        return {
            name: round(float(-10 * e.square().mean().log10()), 2) for name, e in (("psnr", errors), ("linear", linear))
        }


def decoded(vae: nn.Module, latents: Tensor, basis: PatchBasis) -> Tensor:
    """Pictures [n, H, W, 3] of latents in the transformer's units; not clamped."""
    return vae.decode(latents / basis.scale + basis.shift).sample.permute(0, 2, 3, 1) / 2 + 0.5  # pyright: ignore
