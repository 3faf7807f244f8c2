"""Tiny random networks of transformers' real classes for scores, saved as folders."""

from __future__ import annotations

from pathlib import Path

import torch

from gs_reg.diffusion.libraries import transformers
from gs_reg.diffusion.tokenizer import make_tokenizer

WORDS = [
    *("a", "photo", "of", "man", "mug", "with", "and", "handle", "silver", "green", "eyes"),
    *("yes", "no", "does", "the", "picture", "show", "is", "?", "there"),
]
SIDE = 32
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


def clip(folder: Path) -> Path:
    t = transformers()
    torch.manual_seed(0)
    tokenizer = make_tokenizer(WORDS, {}, 32)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)).save_pretrained(folder)
    pictures = t.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=True
    )
    t.CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """Its last two tokens begin answers and questions, as in BLIP."""
    t = transformers()
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "[DEC]", "[ENC]"]
    tokenizer = t.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)
    text = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "encoder_hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": len(words) - 2,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "initializer_range": 0.5,
    }
    config = t.BlipConfig(text_config=text, vision_config={**VISION, "initializer_range": 0.5}, projection_dim=16)
    t.BlipForQuestionAnswering(config).save_pretrained(folder)
    pictures = t.BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    t.BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder
