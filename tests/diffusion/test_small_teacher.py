"""The small SD3-class networks against diffusers' own code, the fixed VAE encoder, words and their maps."""

import math

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.libraries import diffusers
from gs_reg.diffusion.networks import NetworkConfig, Networks, grown
from gs_reg.diffusion.patch_vae import build_vae, fit_basis
from gs_reg.diffusion.schedule import MAP_PATH, sigma_of
from gs_reg.diffusion.spans import tokenize
from gs_reg.diffusion.tokenizer import make_tokenizer
from gs_reg.diffusion.word_maps import binding_loss, exclusive, map_loss, raw_maps, walk

WORDS = ["a", "mug", "with", "red", "handle", "pump", "head", "headlights", "and", ","]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(WORDS, {"headlights": 4}, 12)


@pytest.fixture(scope="module")
def networks(tokenizer) -> Networks:
    torch.manual_seed(0)
    made = Networks(NetworkConfig(blocks=3, heads=2, tokens=12), tokenizer, 32).eval()
    for p in made.transformer.parameters():  # blocks and output begin at zero, which would hide every mistake
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return made


def some_text(tokenizer, texts=("a mug with red handle", "a mug")):
    return tokenize(tokenizer, texts, [{}] * len(texts), 1)[0]


def test_the_noise_path_is_that_of_the_paper_s_release():
    assert [round(sigma_of(u), 4) for u in MAP_PATH] == [0.0577, 0.3567, 0.5530, 0.6918]
    assert sigma_of(1.0) == 1 and sigma_of(0.5, shift=1.0) == 0.5


def test_every_word_is_one_token_and_split_words_are_two(tokenizer):
    for word in WORDS:
        assert len(tokenizer.tokenize(word)) == (2 if word == "headlights" else 1), word
    assert tokenizer.tokenize("headlights") == ["head", "lights</w>"]
    assert tokenizer.decode(tokenizer("a mug")["input_ids"], skip_special_tokens=True).strip() == "a mug"


def test_a_tokenizer_is_the_same_after_saving(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    text = "a mug with red pump head, headlights"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_spans_cover_the_tokens_of_a_range_and_no_others(tokenizer):
    text = "a mug with headlights and red pump head"
    ranges = {0: (text.index("headl"), text.index(" and")), 2: (text.index("pump"), len(text))}
    tokens, spans = tokenize(tokenizer, [text, "a"], [ranges, {}], 3)
    names = tokenizer.convert_ids_to_tokens(tokens[0].tolist())
    assert [names[i] for i in spans[0, 0].nonzero()[:, 0]] == ["head", "lights</w>"]
    assert [names[i] for i in spans[0, 2].nonzero()[:, 0]] == ["pump</w>", "head</w>"]
    assert spans[0].sum(-1).tolist() == [1, 0, 1] and spans[1].sum() == 0
    assert spans[0, 0].max() == 0.5


def test_recording_changes_nothing_and_one_row_stands_for_many(networks, tokenizer):
    """Against diffusers' own attention, fed with the rows of zeros that the one row stands for."""
    z, sigmas = torch.randn(2, 16, 8, 8), torch.tensor([0.7, 0.3])
    rows, pooled = networks.text(some_text(tokenizer))
    with torch.no_grad():
        ours = networks(z, sigmas, (rows, pooled), zero_rows=256)
        stock = diffusers().SD3Transformer2DModel.from_config(networks.transformer.config).eval()
        stock.load_state_dict(networks.transformer.state_dict())
        padded = torch.nn.functional.pad(rows, (0, 0, 0, 255))
        theirs = stock(z, padded, pooled, 1000 * sigmas, return_dict=False)[0]
    assert theirs.std() > 0.01
    assert torch.allclose(ours, theirs, atol=2e-5 * float(theirs.abs().max()) + 1e-6)


def test_records_are_the_queries_and_keys_of_the_blocks(networks, tokenizer):
    seen = {}
    block = networks.transformer.transformer_blocks[1].attn
    hooks = [
        getattr(block, name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name in ("to_q", "to_k", "add_q_proj", "add_k_proj")
    ]
    with torch.no_grad():
        networks(torch.randn(2, 16, 8, 8), torch.tensor([0.5, 0.5]), networks.text(some_text(tokenizer)))
    for hook in hooks:
        hook.remove()
    record = networks.records[1]
    recorded = (record.image_q, record.image_k, record.text_q, record.text_k)
    assert all(torch.equal(a, b) for a, b in zip(recorded, seen.values(), strict=True))
    assert set(networks.records) == {0, 1, 2}


def test_raw_maps_are_the_attention_before_softmax(networks, tokenizer):
    """Per head and token by hand, against one product of all heads."""
    text = "a mug with red pump head"
    tokens, spans = tokenize(tokenizer, [text], [{0: (text.index("pump"), len(text))}], 1)
    with torch.no_grad():
        networks(torch.randn(1, 16, 8, 8), torch.tensor([0.5]), networks.text(tokens))
        maps = raw_maps(networks, spans, (0, 1))
        total = torch.zeros(16)
        for b in (0, 1):
            q, k = networks.records[b].text_q[0], networks.records[b].image_k[0]
            for head in range(2):
                for token in spans[0, 0].nonzero()[:, 0]:
                    rows = slice(32 * head, 32 * head + 32)
                    total += (k[:, rows] @ q[token, rows]) / math.sqrt(32) / 2 / 2
    assert torch.allclose(maps[0, 0], total, atol=1e-5)


def test_exclusive_maps_are_the_formula_and_sum_to_one():
    a = 0.25
    shares = exclusive(torch.tensor([[[0.0, a, 1.0], [0.0, 0.0, 1.0]]]))
    total = (1 - a) ** 2 + a**2
    assert shares[0, :, 0].tolist() == [1, 0, 0] and shares[0, :, 2].tolist() == [0, 0.5, 0.5]
    assert shares[0, :, 1].tolist() == pytest.approx([(1 - a) ** 2 / total, a**2 / total, 0], abs=1e-6)
    assert torch.allclose(exclusive(torch.rand(2, 3, 4, 5)).sum(1), torch.ones(2, 4, 5))


def test_the_map_loss_is_least_where_the_maps_are_the_masks():
    spans = torch.ones(1, 2, 3) / 3
    cover = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 0]]])
    sigmas = torch.tensor([0.3])
    right = map_loss(20 * cover, spans, cover, sigmas)
    swapped = map_loss(20 * cover.flip(1), spans, cover, sigmas)
    flat = map_loss(torch.zeros(1, 2, 4), spans, cover, sigmas)
    assert right < 0.2 < flat < swapped
    assert map_loss(20 * cover.flip(1), spans, cover, torch.tensor([0.9])) == 0  # too noisy to see anything
    assert map_loss(20 * cover, torch.zeros(1, 2, 3), cover, sigmas) == 0  # nothing is named


def test_the_map_loss_has_the_right_gradient():
    torch.manual_seed(0)
    spans, sigmas = torch.ones(2, 3, 4, dtype=torch.float64), torch.tensor([0.3, 0.6])
    cover = torch.rand(2, 3, 9, dtype=torch.float64) / 3
    maps = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: map_loss(m, spans, cover, sigmas), (maps,))


def test_the_binding_loss_is_least_where_image_tokens_look_at_their_words(networks, tokenizer):
    text = "a mug with red handle"
    tokens, spans = tokenize(tokenizer, [text], [{0: (text.index("red"), len(text))}], 1)
    cover = torch.ones(1, 1, 16)
    with torch.no_grad():
        networks(torch.randn(1, 16, 8, 8), torch.tensor([0.5]), networks.text(tokens))
        record = networks.records[1]
        before = binding_loss(networks, spans, cover, (1,))
        wanted = spans[0, 0] > 0
        record.text_k[0, :-1][wanted] = 50 * torch.nn.functional.normalize(record.image_q[0].mean(0), dim=0)
        record.text_k[0, :-1][~wanted] = 0
        record.image_q[0] = record.image_q[0].mean(0)
        after = binding_loss(networks, spans, cover, (1,))
    assert after < before and after >= math.log(2) - 1e-4  # two words share the attention


def test_the_walk_ends_at_the_last_noise_level(networks, tokenizer):
    calls = []
    hook = networks.register_forward_pre_hook(lambda _, args: calls.append((args[0].clone(), args[1].clone())))
    z = torch.randn(2, 16, 8, 8)
    walk(networks, z, networks.text(some_text(tokenizer)))
    hook.remove()
    assert [round(float(s[0]), 4) for _, s in calls] == [0.0577, 0.3567, 0.5530, 0.6918]
    noise = (calls[0][0] - (1 - sigma_of(0.020)) * z) / sigma_of(0.020)
    assert torch.allclose(noise[0], noise[1], atol=1e-4)  # one noise for all views


def test_the_vae_s_encoder_is_the_linear_map():
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(24, 3, 8, 8), 32, mode="bilinear").permute(0, 2, 3, 1)
    basis = fit_basis(images)
    vae = build_vae(basis, 32)
    with torch.no_grad():
        latents = vae.encode(images.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
    ours = basis.encode(images)
    assert torch.allclose((latents - basis.shift) * basis.scale, ours, atol=2e-3, rtol=2e-3)
    assert float(ours.std()) == pytest.approx(1, abs=0.02) and abs(float(ours.mean())) < 0.02
    assert float((basis.decode(ours) - images).square().mean()) < 4e-4
    assert 2 ** (len(vae.config.block_out_channels) - 1) == 4


def test_grown_networks_see_the_same_places(tokenizer):
    small = Networks(NetworkConfig(blocks=1, heads=2, tokens=12), tokenizer, 32)
    large = Networks(NetworkConfig(blocks=1, heads=2, tokens=12), tokenizer, 64)
    large.load_state_dict(grown(small.state_dict(), 8))
    before, after = (n.transformer.pos_embed.pos_embed.unflatten(1, (s, s)) for n, s in ((small, 4), (large, 8)))
    assert torch.allclose(after[:, ::2, ::2], before, atol=1e-6)
