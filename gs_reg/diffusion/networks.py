"""The networks of the small teacher: an SD3 transformer and two CLIP text encoders, trained from nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .libraries import diffusers, transformers
from .patch_vae import LATENTS, PATCH

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

TEXT_WIDTH = 64
ZERO_ROWS = 16
"""Rows of zeros that stand for T5's part of the text in most training batches; a stock pipeline has 256."""
PATCH_TOKENS = 2
"""Side in latents of the patch that is one image token."""


@dataclass(frozen=True)
class NetworkConfig:
    blocks: int = 6
    heads: int = 3
    """Of width 32."""
    tokens: int = 32
    """Length of a prompt in tokens."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Queries and keys of the image and of the text in one block, before attention."""

    image_q: Float[Tensor, "n N C"]
    image_k: Float[Tensor, "n N C"]
    text_q: Float[Tensor, "n T C"]
    text_k: Float[Tensor, "n T C"]


class RecordingAttention:
    """SD3's joint attention, which records its queries and keys.

    The last text row may stand for many rows of zeros: a bias of log n on its key gives what n equal rows give.
    """

    def __init__(self, records: dict[int, Recorded], block: int):
        self.records, self.block = records, block
        self.bias: Tensor | None = None

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        x, text = hidden_states, encoder_hidden_states
        recorded = Recorded(attn.to_q(x), attn.to_k(x), attn.add_q_proj(text), attn.add_k_proj(text))
        self.records[self.block] = recorded

        def heads(image: Tensor, words: Tensor) -> Tensor:
            both = torch.cat([image, words], 1)
            return both.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        q, k = heads(recorded.image_q, recorded.text_q), heads(recorded.image_k, recorded.text_k)
        v = heads(attn.to_v(x), attn.add_v_proj(text))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias).transpose(1, 2).flatten(2)
        image, words = out[:, : x.shape[1]], out[:, x.shape[1] :]
        return attn.to_out[0](image), words if attn.context_pre_only else attn.to_add_out(words)


class Networks(nn.Module):
    """Transformer and text encoders in training: one zero row for many, and records of the attention."""

    def __init__(self, config: NetworkConfig, tokenizer: CLIPTokenizer, size: int):
        """`size`: side of the pictures in pixels."""
        super().__init__()
        self.config = config
        width, cells = 32 * config.heads, size // PATCH
        text = transformers().CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=config.tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.text_encoders = nn.ModuleList([transformers().CLIPTextModelWithProjection(text) for _ in range(2)])
        self.transformer: Any = diffusers().SD3Transformer2DModel(
            sample_size=cells,
            patch_size=PATCH_TOKENS,
            in_channels=LATENTS,
            out_channels=LATENTS,
            num_layers=config.blocks,
            attention_head_dim=32,
            num_attention_heads=config.heads,
            joint_attention_dim=2 * TEXT_WIDTH,
            caption_projection_dim=width,
            pooled_projection_dim=2 * TEXT_WIDTH,
            pos_embed_max_size=cells // PATCH_TOKENS,
        )
        self.scale = config.heads * math.sqrt(32)
        self.records: dict[int, Recorded] = {}
        self._begin()
        names = self.transformer.attn_processors
        self.processors = {name: RecordingAttention(self.records, int(name.split(".")[1])) for name in names}
        self.transformer.set_attn_processor(dict(self.processors))  # it empties the mapping

    def _begin(self) -> None:
        """Words far apart from the first step on; blocks and output that begin at zero (adaLN-zero)."""
        zero = ("norm1.linear", "norm1_context.linear", "norm_out.linear", "proj_out")
        for name, p in self.named_parameters():
            if "token_embedding" in name:
                nn.init.normal_(p, std=0.5)
            elif "position_embedding" in name:
                nn.init.normal_(p, std=0.15)
            elif any(part in name for part in zero):
                nn.init.zeros_(p)

    def text(self, ids: Int[Tensor, "n T"]) -> tuple[Float[Tensor, "n T+1 128"], Float[Tensor, "n 128"]]:
        """Rows of the tokens and one row of zeros; the pooled text."""
        out = [encoder(input_ids=ids, output_hidden_states=True) for encoder in self.text_encoders]
        rows = torch.cat([o.hidden_states[-2] for o in out], -1)
        return F.pad(rows, (0, 0, 0, 1)), torch.cat([o.text_embeds for o in out], -1)

    def forward(
        self,
        latents: Float[Tensor, "n 16 h w"],
        sigmas: Float[Tensor, "n"],
        text: tuple[Tensor, Tensor],
        zero_rows: int = ZERO_ROWS,
    ) -> Float[Tensor, "n 16 h w"]:
        """The velocity, noise minus clean latents; `records` are those of this call."""
        keys = latents.shape[-1] * latents.shape[-2] // PATCH_TOKENS**2 + text[0].shape[1]
        bias = F.pad(latents.new_zeros(1, 1, 1, keys - 1), (0, 1), value=math.log(zero_rows))
        self.records.clear()
        for processor in self.processors.values():
            processor.bias = bias
        return self.transformer(
            latents,
            encoder_hidden_states=text[0],
            pooled_projections=text[1],
            timestep=1000 * sigmas,
            return_dict=False,
        )[0]


def grown(weights: dict[str, Tensor], cells: int) -> dict[str, Tensor]:
    """Weights for pictures with cells x cells image tokens: the places of the tokens are spread over the same range."""
    name = "transformer.pos_embed.pos_embed"
    before = weights[name]
    base = math.isqrt(before.shape[1])
    table = diffusers().models.embeddings.get_2d_sincos_pos_embed(
        before.shape[2], cells, base_size=base, output_type="pt"
    )
    return {**weights, name: table.to(before)[None]}
