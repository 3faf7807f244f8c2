"""Captured word maps against full attention matrices made by hand, on random SD3 and SD3.5 transformers."""

import math

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.capture import captured_words
from gs_reg.diffusion.libraries import diffusers
from gs_reg.diffusion.schedule import climb
from gs_reg.errors import InputError

TINY = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 64,
    "pos_embed_max_size": 4,
}
NEWER = {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}
"""What SD3.5 adds."""


def transformer_of(more: dict):
    torch.manual_seed(0)
    made = diffusers().SD3Transformer2DModel(**TINY, **more).eval()
    for name, p in made.named_parameters():
        if "norm_" in name and name.endswith("weight"):  # norms of all ones would hide that they are applied
            torch.nn.init.uniform_(p, 0.3, 2.0)
    return made


@pytest.fixture(params=[{}, NEWER], ids=["sd3", "sd3.5"])
def transformer(request):
    return transformer_of(request.param)


def call(transformer, batch=2, rows=10):
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return transformer(
            torch.randn(batch, 4, 8, 8, generator=noise),
            encoder_hidden_states=torch.randn(batch, rows, 64, generator=noise),
            pooled_projections=torch.randn(batch, 64, generator=noise),
            timestep=torch.full((batch,), 300.0),
            return_dict=False,
        )[0]


def words(batch=2) -> torch.Tensor:
    spans = torch.zeros(batch, 2, 7)
    spans[:, 0, 1:3], spans[:, 1, 5] = 0.5, 1
    return spans


def full_attention(transformer, block: int, inputs: dict) -> torch.Tensor:
    """Whole matrices of all tokens, a head at a time, without softmax: mean over heads, [B, T + N, T + N]."""
    attn = transformer.transformer_blocks[block].attn
    image, text = inputs["hidden_states"], inputs["encoder_hidden_states"]
    size = TINY["attention_head_dim"]
    total = torch.zeros(())
    for head in range(attn.heads):
        rows = slice(head * size, (head + 1) * size)

        def of_head(linear, x, norm, rows=rows):
            out = linear(x)[..., rows]
            return out if norm is None else norm(out)

        q = torch.cat([of_head(attn.to_q, image, attn.norm_q), of_head(attn.add_q_proj, text, attn.norm_added_q)], 1)
        k = torch.cat([of_head(attn.to_k, image, attn.norm_k), of_head(attn.add_k_proj, text, attn.norm_added_k)], 1)
        total = total + q @ k.mT / math.sqrt(size) / attn.heads
    return total


@torch.no_grad()
def test_maps_are_rows_of_the_full_attention_matrix(transformer):
    seen: dict[int, dict] = {}
    hooks = [
        block.attn.register_forward_pre_hook(lambda _, __, kwargs, i=i: seen.update({i: kwargs}), with_kwargs=True)
        for i, block in enumerate(transformer.transformer_blocks)
    ]
    with captured_words(transformer, (0, 1), words()) as capture:
        call(transformer)
    for hook in hooks:
        hook.remove()
    expected = torch.zeros(2, 2, 16)
    for block in (0, 1):
        matrix = full_attention(transformer, block, seen[block])
        text, keys = 16, slice(0, 16)  # image tokens come first
        expected[:, 0] += (matrix[:, text + 1, keys] + matrix[:, text + 2, keys]) / 2
        expected[:, 1] += matrix[:, text + 5, keys]
    assert expected.std() > 0.01
    assert torch.allclose(capture.total, expected, atol=1e-5)
    assert all(m.shape == (2, 2, 16) and m.dtype == torch.float32 for m in capture.by_block.values())


def test_outputs_are_equal_to_the_bit_and_processors_are_restored(transformer):
    before = dict(transformer.attn_processors)
    plain = call(transformer)
    with captured_words(transformer, (0, 1), words()):
        changed = {name for name, now in transformer.attn_processors.items() if now is not before[name]}
        assert changed == {"transformer_blocks.0.attn.processor", "transformer_blocks.1.attn.processor"}
        assert torch.equal(call(transformer), plain)
    assert all(now is before[name] for name, now in transformer.attn_processors.items())
    with pytest.raises(KeyError), captured_words(transformer, (0,), words()):
        raise KeyError
    assert all(now is before[name] for name, now in transformer.attn_processors.items())


def test_of_a_guided_batch_the_second_half_counts(transformer):
    with captured_words(transformer, (0, 1), words(4)) as all_rows:
        call(transformer, batch=4)
    with captured_words(transformer, (0, 1), words(2)) as half:
        call(transformer, batch=4)
    assert torch.allclose(half.total, all_rows.total[2:], atol=1e-6)
    with pytest.raises(ValueError, match="4 prompts"), captured_words(transformer, (0,), words(4)):
        call(transformer, batch=2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_give_maps_in_full_precision(dtype):
    exact, half = transformer_of(NEWER), transformer_of(NEWER).to(dtype)
    with captured_words(exact, (0,), words(1)) as wanted, captured_words(half, (0,), words(1)) as capture:
        call(exact, batch=1)
        half(
            torch.zeros(1, 4, 8, 8, dtype=dtype),
            encoder_hidden_states=torch.ones(1, 10, 64, dtype=dtype),
            pooled_projections=torch.ones(1, 64, dtype=dtype),
            timestep=torch.full((1,), 300.0),
        )
    assert capture.total.dtype == wanted.total.dtype == torch.float32 and capture.total.isfinite().all()


def test_the_last_block_and_other_networks_are_refused(transformer):
    for blocks in ((2,), (-1,), (0, 7), ()):
        with pytest.raises(InputError, match="blocks"), captured_words(transformer, blocks, words()):
            pass
    with pytest.raises(InputError, match="joint attention"), captured_words(torch.nn.Linear(2, 2), (0,), words()):
        pass


def test_sd3_medium_runs_for_shapes():
    with torch.device("meta"):
        transformer = diffusers().SD3Transformer2DModel(
            sample_size=128,
            num_layers=24,
            attention_head_dim=64,
            num_attention_heads=24,
            caption_projection_dim=1536,
            pos_embed_max_size=192,
        )
        latents, rows, pooled = torch.empty(2, 16, 64, 64), torch.empty(2, 333, 4096), torch.empty(2, 2048)
    assert 2.0e9 < sum(p.numel() for p in transformer.parameters()) < 2.1e9
    with torch.no_grad(), captured_words(transformer, range(23), torch.ones(2, 5, 77)) as capture:
        transformer(latents, encoder_hidden_states=rows, pooled_projections=pooled, timestep=torch.empty(2).to("meta"))
    assert capture.total.shape == (2, 5, 1024) and len(capture.by_block) == 23


def test_the_climb_is_the_formula():
    z0, noise, sigmas = torch.randn(2, 4, 2, 2), torch.randn(1, 4, 2, 2), [0.1, 0.4, 0.7]
    z = climb(lambda z, sigma: 2 * z + sigma, z0, noise, sigmas, gamma=0.5)
    expected = 0.9 * z0 + 0.1 * noise
    for sigma, following in ((0.1, 0.4), (0.4, 0.7)):
        v = 2 * expected + sigma
        expected = expected + (0.5 * v + 0.5 * (noise - expected) / (1 - sigma)) * (following - sigma)
    assert torch.allclose(z, expected, atol=1e-6)
    straight = climb(lambda z, _: torch.full_like(z, 9), z0, noise, sigmas, gamma=1.0)
    assert torch.allclose(straight, 0.3 * z0 + 0.7 * noise, atol=1e-5)  # gamma 1: the line to the noise
