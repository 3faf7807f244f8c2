"""Flux: latents packed in patches of 2 x 2; pooled text of CLIP, rows of T5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .base import Text

PATCH = 2
T5_ROWS = 512
"""As stock pipelines ask for."""


class Flux:
    network = "transformer"

    def packing(self, pipe: Any) -> int:
        return PATCH

    def channels(self, pipe: Any) -> int:
        return pipe.transformer.config.in_channels // PATCH**2

    def side(self, pipe: Any) -> int:
        return pipe.default_sample_size

    def tokenizer(self, pipe: Any) -> Any:
        return pipe.tokenizer_2

    def text(self, pipe: Any, prompts: Sequence[str], zero_rows: int, device: torch.device) -> Text:
        length = min(T5_ROWS, pipe.tokenizer_2.model_max_length)
        rows, pooled, _ = pipe.encode_prompt(
            prompt=list(prompts), prompt_2=None, device=device, max_sequence_length=length
        )
        return Text(rows, pooled)

    def predict(
        self, pipe: Any, z: Float[Tensor, "B c h w"], timesteps: Float[Tensor, "B"], text: Text
    ) -> Float[Tensor, "B k h w"]:
        """Networks with distilled guidance are asked at guidance 1: ours combines two predictions."""
        height, width = z.shape[-2] // PATCH, z.shape[-1] // PATCH
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)
        packed = F.pixel_unshuffle(z, PATCH).flatten(2).mT  # channels outermost, then the rows and columns of a patch
        out = pipe.transformer(
            hidden_states=packed,
            timestep=timesteps / 1000,
            guidance=torch.ones_like(timesteps) if pipe.transformer.config.guidance_embeds else None,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.rows,
            txt_ids=z.new_zeros(text.rows.shape[1], 3),
            img_ids=places.to(z),
            return_dict=False,
        )[0]
        return F.pixel_shuffle(out.mT.unflatten(2, (height, width)), PATCH)
