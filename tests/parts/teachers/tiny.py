"""Tiny random networks of transformers' real classes with their processors, saved as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gs_reg.diffusion.libraries import transformers
from gs_reg.diffusion.tokenizer import make_tokenizer

WORDS = ["a", "pump", "head", "body", "mug", "handle", "of"]


def clip_text(length: int) -> tuple[Any, dict]:
    tokenizer = make_tokenizer(WORDS, {}, length)
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": 16,
    }
    return tokenizer, config


def clipseg(folder: Path) -> None:
    t = transformers()
    tokenizer, text = clip_text(16)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = t.CLIPSegConfig(
        text_config=text,
        vision_config=vision,
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    t.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    t.CLIPSegProcessor(t.ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


def sam2(folder: Path) -> None:
    t = transformers()
    backbone = t.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        window_positional_embedding_background_size=[4, 4],
        global_attention_blocks=[3],
    )
    vision = t.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    config = t.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=t.Sam2PromptEncoderConfig(hidden_size=32, image_size=64, patch_size=16),
        mask_decoder_config=t.Sam2MaskDecoderConfig(
            hidden_size=32, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )
    t.Sam2Model(config).save_pretrained(folder)
    t.Sam2Processor(t.Sam2ImageProcessor(size={"height": 64, "width": 64})).save_pretrained(folder)


def sam3(folder: Path) -> None:
    t = transformers()
    tokenizer, text = clip_text(32)
    vision = t.Sam3VisionConfig(
        backbone_config={
            "model_type": "sam3_vit_model",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 56,
        },
        fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )
    small = {"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = t.Sam3Config(
        vision_config=vision,
        text_config={"model_type": "clip_text_model", **text},
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 5},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    model = t.Sam3Model(config)
    model.save_pretrained(folder)
    t.Sam3Processor(t.Sam3ImageProcessor(size={"height": 56, "width": 56}), tokenizer).save_pretrained(folder)


def grounding_dino(folder: Path) -> None:
    t = transformers()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = t.BertTokenizer(vocab=vocabulary)
    backbone = t.SwinConfig(
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1],
        num_heads=[1, 1, 1],
        window_size=2,
        out_features=["stage1", "stage2", "stage3"],
    )
    text = t.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config = t.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_queries=5,
        num_feature_levels=3,
        max_text_len=16,
    )
    t.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pictures = t.GroundingDinoImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})
    t.GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)


BUILDERS = {"clipseg": clipseg, "sam2": sam2, "sam3": sam3, "grounding-dino": grounding_dino}


def folder_of(kind: str, parent: Path) -> Path:
    """Random weights of one kind, written once."""
    path = parent / kind
    if not path.exists():
        with torch.random.fork_rng():
            torch.manual_seed(3)
            BUILDERS[kind](path)
    return path
