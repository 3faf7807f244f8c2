"""Stable Diffusion 3 and 3.5, and all that have its transformer; two CLIP encoders, and T5 or rows of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Text

T5_ROWS = 256
"""As stock pipelines ask for."""


class SD3:
    network = "transformer"

    def packing(self, pipe: Any) -> int:
        return pipe.transformer.config.patch_size

    def channels(self, pipe: Any) -> int:
        return pipe.transformer.config.in_channels

    def side(self, pipe: Any) -> int:
        return pipe.transformer.config.sample_size

    def tokenizer(self, pipe: Any) -> Any:
        return pipe.tokenizer

    def text(self, pipe: Any, prompts: Sequence[str], zero_rows: int, device: torch.device) -> Text:
        rows, _, pooled, _ = pipe.encode_prompt(
            prompt=list(prompts),
            prompt_2=None,
            prompt_3=None,
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=zero_rows if pipe.text_encoder_3 is None else T5_ROWS,
        )
        return Text(rows, pooled)

    def predict(
        self, pipe: Any, z: Float[Tensor, "B c h w"], timesteps: Float[Tensor, "B"], text: Text
    ) -> Float[Tensor, "B k h w"]:
        return pipe.transformer(
            z,
            encoder_hidden_states=text.rows,
            pooled_projections=text.pooled,
            timestep=timesteps,
            return_dict=False,
        )[0]
