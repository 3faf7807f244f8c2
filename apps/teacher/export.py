"""The trained networks as a normal diffusers folder, and the networks of such a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gs_reg.data_tools.synthetic.objects.dataset import VERSION
from gs_reg.diffusion.libraries import diffusers, offline, quiet
from gs_reg.diffusion.networks import ZERO_ROWS, NetworkConfig, Networks
from gs_reg.diffusion.patch_vae import PATCH, PatchBasis, build_vae
from gs_reg.diffusion.schedule import MAP_PATH, SHIFT
from gs_reg.diffusion.word_maps import TAU
from gs_reg.errors import InputError, reading
from gs_reg.io import checkpoint
from gs_reg.io.atomic import atomic_folder

from .batches import teacher_tokenizer
from .learning import averaged_weights, read_training_settings
from .stages import read_basis

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

SETTINGS = "teacher.json"


def export(training: Path, folder: Path) -> None:
    """Writes the newest weights of a training: fine, else coarse; and the decoder.

    All in float32, some 12 MB: float16 would round the constants in the VAE's encoder too much, and a pipeline of both
    cannot be loaded without arguments, as transformers keeps the type of the file and diffusers does not.

    Raises:
        InputError: a stage has not begun.
    """
    stage = "fine" if averaged_weights(training, "fine") else "coarse"
    weights, decoder = averaged_weights(training, stage), averaged_weights(training, "decoder")
    if weights is None or decoder is None:
        missing = "coarse" if weights is None else "decoder"
        raise InputError(
            f"{training}: no checkpoint of {missing} yet: `gs-reg teacher train --out {training}` makes it"
        )
    settings = read_training_settings(training)
    network = NetworkConfig(**settings["network"])
    tokenizer = teacher_tokenizer(network.tokens)
    cells = round(weights["transformer.pos_embed.pos_embed"].shape[1] ** 0.5)
    size = cells * 2 * PATCH
    networks = Networks(network, tokenizer, size)
    with reading(training):
        networks.load_state_dict(weights)
    vae = build_vae(read_basis(training / "basis.safetensors"), size)
    vae.load_state_dict(decoder)
    pipe = pipeline_of(networks, vae, tokenizer)
    blocks = list(range(network.blocks - 1))
    with atomic_folder(folder) as temporary:
        pipe.save_pretrained(temporary)
        maps = {"resolution": size, "blocks": blocks, "u_path": list(MAP_PATH), "tau": TAU}
        write_settings(temporary, {**maps, "training": settings, "stage": stage})


def pipeline_of(networks: Networks, vae: Any, tokenizer: CLIPTokenizer) -> Any:
    """A StableDiffusion3Pipeline; the networks themselves record no attention from then on."""
    networks.transformer.set_attn_processor(diffusers().models.attention_processor.JointAttnProcessor2_0())
    return diffusers().StableDiffusion3Pipeline(
        transformer=networks.transformer,
        scheduler=diffusers().FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=vae,
        text_encoder=networks.text_encoders[0],
        tokenizer=tokenizer,
        text_encoder_2=networks.text_encoders[1],
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """How maps of parts are to be read from this teacher; without the file, as from SD3-medium."""
    full = {"schema": 1, "zero_rows": ZERO_ROWS, "data_version": VERSION, "negative": "", **settings}
    (folder / SETTINGS).write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if not path.is_file():
        raise InputError(f"{folder}: no {SETTINGS}: not a teacher that gs-reg trained")
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def load(folder: Path) -> Any:
    """The folder's StableDiffusion3Pipeline in float32."""
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{folder}: no model_index.json: not a diffusers folder")
    with reading(folder), quiet(), offline():
        return diffusers().StableDiffusion3Pipeline.from_pretrained(
            folder, text_encoder_3=None, tokenizer_3=None, local_files_only=True, dtype=torch.float32
        )


def networks_of(pipe: Any) -> Networks:
    """The pipeline's networks with recorded attention; the pipeline itself must not be called afterwards."""
    transformer = pipe.transformer.config
    config = NetworkConfig(transformer.num_layers, transformer.num_attention_heads, pipe.tokenizer.model_max_length)
    networks = Networks(config, pipe.tokenizer, transformer.sample_size * PATCH)
    networks.transformer.load_state_dict(pipe.transformer.state_dict())
    for ours, its in zip(networks.text_encoders, (pipe.text_encoder, pipe.text_encoder_2), strict=True):
        ours.load_state_dict(its.state_dict())
    return networks.eval()


@dataclass(frozen=True, eq=False)
class Trained:
    """What the stage coarse of a training came to."""

    networks: Networks
    """Of the average weights."""
    basis: PatchBasis
    size: int
    """Of the pictures in pixels."""
    step: int
    supervised: bool
    """Whether the losses on attention had a weight."""

    @classmethod
    def read(cls, training: Path) -> Trained:
        """Raises InputError: no such training, or no checkpoint yet."""
        settings = read_training_settings(training)
        newest = checkpoint.latest(training / "coarse")
        if newest is None:
            raise InputError(f"{training}: no checkpoint of coarse")
        stored = checkpoint.load(newest)
        weights, network = stored.model["averaged"], NetworkConfig(**settings["network"])
        size = round(weights["transformer.pos_embed.pos_embed"].shape[1] ** 0.5) * 2 * PATCH
        networks = Networks(network, teacher_tokenizer(network.tokens), size)
        with reading(training):
            networks.load_state_dict(weights)
            basis = read_basis(training / "basis.safetensors")
        supervised = settings["loss"]["maps"] > 0 or settings["loss"]["binding"] > 0
        return cls(networks.eval(), basis, size, stored.step, supervised)


class Latents:
    """Encodes and decodes by a VAE, in the units of the transformer; pictures are [n, H, W, 3] in [0, 1]."""

    def __init__(self, pipe: Any):
        self.vae = pipe.vae
        self.shift, self.scale = pipe.vae.config.shift_factor or 0.0, pipe.vae.config.scaling_factor

    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        mean = self.vae.encode(images.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
        return (mean - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        image = self.vae.decode(latents / self.scale + self.shift).sample
        return (image.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
