"""Random pipelines of a few kB each, of every family; nothing is downloaded. Also for other tests.

`folder(name, parent)` saves one of PIPELINES; the fixture `tiny` of conftest.py here keeps them for a session.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gs_reg.diffusion.libraries import diffusers, transformers
from gs_reg.diffusion.tokenizer import make_tokenizer

WORDS = [
    "a",
    "mug",
    "with",
    "and",
    "red",
    "green",
    "handle",
    "body",
    "rim",
    "pump",
    "head",
    "headlights",
    "photo",
    "of",
]
LENGTH = 16
"""Tokens of a prompt."""
WIDTH = 16


def clip_tokenizer() -> Any:
    return make_tokenizer(WORDS, {"headlights": 4}, LENGTH)


def t5_tokenizer() -> Any:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{w}" for w in WORDS), *"abcdefghijklmnopqrstuvwxyz"]
    return transformers().T5Tokenizer(vocab=[(p, -float(i)) for i, p in enumerate(pieces)], extra_ids=0)


def clip(tokenizer: Any, projected: bool = True) -> Any:
    config = transformers().CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return getattr(transformers(), kind)(config)


def t5(tokenizer: Any) -> Any:
    config = transformers().T5Config(
        vocab_size=len(tokenizer), d_model=2 * WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2
    )
    return transformers().T5EncoderModel(config)


def vae(blocks: int = 2, channels: int = 16, shift: float | None = 0.1) -> Any:
    """A factor of 2^(blocks - 1)."""
    return diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=(8,) * blocks,
        latent_channels=channels,
        norm_num_groups=2,
        sample_size=32,
        scaling_factor=1.5,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def sd3(with_t5: bool = False, inputs: int = 16, inpaint: bool = False, **network: Any) -> Any:
    tokenizer, t5s = clip_tokenizer(), t5_tokenizer() if with_t5 else None
    transformer = diffusers().SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=inputs,
        out_channels=16,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
        **network,
    )
    kind = "StableDiffusion3InpaintPipeline" if inpaint else "StableDiffusion3Pipeline"
    return getattr(diffusers(), kind)(
        transformer=transformer,
        scheduler=diffusers().FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=clip(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=clip(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=t5(t5s) if with_t5 else None,
        tokenizer_3=t5s,
    )


def sd35() -> Any:
    return sd3(qk_norm="rms_norm", dual_attention_layers=(0, 1))


def unet(inputs: int, width: int, **more: Any) -> Any:
    return diffusers().UNet2DConditionModel(
        sample_size=16,
        in_channels=inputs,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
        cross_attention_dim=width,
        **more,
    )


def sd15(inputs: int = 4, predicts: str = "epsilon", inpaint: bool = False) -> Any:
    tokenizer = clip_tokenizer()
    kind = "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline"
    return getattr(diffusers(), kind)(
        vae=vae(channels=4, shift=None),
        text_encoder=clip(tokenizer, projected=False),
        tokenizer=tokenizer,
        unet=unet(inputs, WIDTH),
        scheduler=diffusers().DDIMScheduler(prediction_type=predicts, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    tokenizer = clip_tokenizer()
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    return diffusers().StableDiffusionXLPipeline(
        vae=vae(channels=4, shift=None),
        text_encoder=clip(tokenizer, projected=False),
        text_encoder_2=clip(tokenizer),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(4, 2 * WIDTH, projection_class_embeddings_input_dim=WIDTH + 6 * 4, **added),
        scheduler=diffusers().EulerDiscreteScheduler(),
        add_watermarker=False,
    )


def flux(guided: bool = True) -> Any:
    tokenizer, t5s = clip_tokenizer(), t5_tokenizer()
    return diffusers().FluxPipeline(
        scheduler=diffusers().FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=vae(),
        text_encoder=clip(tokenizer, projected=False),
        tokenizer=tokenizer,
        text_encoder_2=t5(t5s),
        tokenizer_2=t5s,
        transformer=diffusers().FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=guided,
            axes_dims_rope=(2, 2, 4),
        ),
    )


PIPELINES: dict[str, Callable[[], Any]] = {
    "sd3": sd3,
    "sd3-t5": lambda: sd3(with_t5=True),
    "sd35": sd35,
    "sd3-inpaint": lambda: sd3(inpaint=True),
    "sd3-inpaint33": lambda: sd3(inpaint=True, inputs=33),
    "sd15": sd15,
    "sd15-v": lambda: sd15(predicts="v_prediction"),
    "sd15-inpaint": lambda: sd15(inputs=9, inpaint=True),
    "sdxl": sdxl,
    "flux": flux,
}


def pipeline(name: str, seed: int = 0) -> Any:
    """With weights that hide no mistake: none is zero, and the output is of the input's order."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = PIPELINES[name]()
        for part in made.components.values():
            if isinstance(part, torch.nn.Module):
                for p in part.parameters():
                    if not p.any():
                        torch.nn.init.normal_(p, std=0.05)
    return made


def folder(name: str, parent: Path) -> Path:
    """Saved once in `parent`."""
    path = parent / name
    if not path.exists():
        pipeline(name).save_pretrained(path)
    return path
