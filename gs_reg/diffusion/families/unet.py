"""Stable Diffusion 1, 2 and XL: a UNet with cross-attention; one CLIP encoder, or two and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Text


class UNet:
    network = "unet"

    def packing(self, pipe: Any) -> int:
        return 1  # odd sizes of its lower floors are its own care

    def channels(self, pipe: Any) -> int:
        return pipe.unet.config.in_channels

    def side(self, pipe: Any) -> int:
        return pipe.unet.config.sample_size

    def tokenizer(self, pipe: Any) -> Any:
        return pipe.tokenizer or pipe.tokenizer_2

    def text(self, pipe: Any, prompts: Sequence[str], zero_rows: int, device: torch.device) -> Text:
        encoded = pipe.encode_prompt(
            prompt=list(prompts), device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        rows, pooled = encoded[0], encoded[2] if len(encoded) == 4 else None  # only XL's has pooled text
        if pipe.config.get("force_zeros_for_empty_prompt"):
            said = torch.tensor([bool(prompt) for prompt in prompts], device=rows.device).to(rows.dtype)
            rows = rows * said[:, None, None]
            pooled = None if pooled is None else pooled * said[:, None]
        return Text(rows, pooled)

    def predict(
        self, pipe: Any, z: Float[Tensor, "B c h w"], timesteps: Float[Tensor, "B"], text: Text
    ) -> Float[Tensor, "B k h w"]:
        added = None
        if text.pooled is not None:
            factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
            height, width = z.shape[-2] * factor, z.shape[-1] * factor
            sizes = z.new_tensor([height, width, 0, 0, height, width])  # original, corner of the crop, wanted
            added = {"text_embeds": text.pooled, "time_ids": sizes.expand(len(z), -1)}
        return pipe.unet(z, timesteps, encoder_hidden_states=text.rows, added_cond_kwargs=added, return_dict=False)[0]
