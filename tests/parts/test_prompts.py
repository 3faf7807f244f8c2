"""Prompts of parts: composition, spans of real tokenizers, passes over the text limit, sides of the object."""

import pytest
import torch

pytest.importorskip("transformers", reason="the extra edit is not installed")

from gs_reg.diffusion.spans import tokenize
from gs_reg.diffusion.tokenizer import make_tokenizer
from gs_reg.errors import InputError
from gs_reg.parts.prompts import TEXT_LIMIT, PartPrompt, composed, passes, view_word

WORDS = ["a", "photo", "of", "dispenser", "with", "and", "pump", "head", "headlights", "view", "front", ",", "mug", "-"]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(WORDS, {"headlights": 4}, 77)


def passes_for(tokenizer, prompt: PartPrompt) -> list:
    return passes(prompt, lambda text: len(tokenizer(text)["input_ids"]), min(TEXT_LIMIT, tokenizer.model_max_length))


def words_of(tokenizer, one) -> torch.Tensor:
    return tokenize(tokenizer, [one.text], [dict(enumerate(one.ranges))], len(one.rows))[1][0]


def decoded(tokenizer, one_pass) -> list[str]:
    """The text of each part's tokens."""
    ids = torch.tensor(tokenizer(one_pass.text, padding="max_length")["input_ids"])
    return [tokenizer.decode(ids[row > 0]).strip() for row in words_of(tokenizer, one_pass)]


def test_the_form_is_that_of_romap_s_release():
    made = composed("a photo of a dispenser ", ("pump head", "mug"), (0, 1), "front")
    assert made.text == "a photo of a dispenser with pump head and mug, front view"
    assert [made.text[a:b] for a, b in made.ranges] == ["pump head", "mug"]


@pytest.mark.parametrize(
    "parts",
    [
        ("pump head", "mug"),
        ("headlights", "head", "pump head"),  # two tokens; words that come twice
        ("photo", "and", "dispenser"),  # words of the prompt itself
        ("pump-head", "mug,", "o'mug"),  # punctuation
        ("émail", "木"),  # letters of several bytes
    ],
)
def test_spans_decode_back_to_the_parts(tokenizer, parts):
    [one] = passes_for(tokenizer, PartPrompt("a photo of a dispenser", parts))
    plain = [tokenizer.decode(tokenizer(part)["input_ids"], skip_special_tokens=True).strip() for part in parts]
    assert decoded(tokenizer, one) == plain
    assert torch.allclose(words_of(tokenizer, one).sum(1), torch.ones(len(parts)))


def test_many_parts_take_several_passes(tokenizer):
    parts = tuple(f"pump {'head ' * n}mug" for n in range(12))
    made = passes_for(tokenizer, PartPrompt("a photo of a dispenser", parts))
    assert len(made) > 1 and [row for one in made for row in one.rows] == list(range(12))
    lengths = [len(tokenizer(one.text)["input_ids"]) for one in made]
    assert max(lengths) <= 77
    assert [text for one in made for text in decoded(tokenizer, one)] == [part.strip() for part in parts]
    first = composed("a photo of a dispenser", parts, (*made[0].rows, made[1].rows[0]))
    assert len(tokenizer(first.text)["input_ids"]) > 77  # no pass is ended early


def test_a_shorter_tokenizer_s_limit_counts():
    short = make_tokenizer(WORDS, {}, 12)
    made = passes_for(short, PartPrompt("a photo of a dispenser", ("pump", "head", "mug")))
    assert [one.rows for one in made] == [(0, 1), (2,)]
    with pytest.raises(InputError, match="longer than the 12 tokens"):
        passes_for(short, PartPrompt("a photo of a dispenser", ("pump " * 9,)))


def test_words_are_counted_by_the_tokenizer_alone():
    prompt = PartPrompt("x", ("a", "b", "c"))
    assert len("x with a and b") == 14
    assert [one.rows for one in passes(prompt, len, 14)] == [(0, 1), (2,)]
    assert [one.rows for one in passes(prompt, len, 13)] == [(0,), (1,), (2,)]


def test_the_side_is_named_where_the_front_is_known():
    centers = torch.tensor([[0.0, 0, 2], [2, 0.2, 0], [0.2, 0, -2], [0.1, 2, 0.1], [0.9, 0, 2]])
    middle = torch.zeros(3)
    assert PartPrompt("x", ("a",)).view_words(centers, middle) == [""] * 5
    front = PartPrompt("x", ("a",), front=(0, 0, 1)).view_words(centers, middle)
    assert front == ["front", "side", "back", "overhead", "front"]
    turned = PartPrompt("x", ("a",), front=(0, 1, 0), up=(0, 0, 1)).view_words(centers, middle)
    assert turned[0] == "overhead" and turned[3] == "front"
    with pytest.raises(InputError, match="up or down"):
        PartPrompt("x", ("a",), front=(0, -2, 0)).view_words(centers, middle)


def test_views_in_words():
    assert [view_word(a, 0) for a in (0, 29, -31, 180, 350)] == ["front", "front", "side", "back", "front"]
    assert view_word(0, 61) == "overhead"


def test_tau_of_each_part():
    assert PartPrompt("x", ("a", "b")).taus(0.3).tolist() == pytest.approx([0.3, 0.3])
    assert PartPrompt("x", ("a", "b"), (0.1, 0.7)).taus(0.3, {"a": 1.0}).tolist() == pytest.approx([0.1, 0.7])
    assert PartPrompt("x", ("a", "b")).taus(0.3, {"b": 0.5}).tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("parts", "tau", "words"),
    [
        ((), (), "at least one part"),
        (("a", " "), (), "at least one part"),
        (("a", "A "), (), "named twice"),
        (("background",), (), "no name of its own"),
        (("a", "b"), (0.1,), "2 values"),
        (("a",), (0.0,), "above 0"),
        (("a",), (float("nan"),), "above 0"),
    ],
)
def test_mistakes_are_named(parts, tau, words):
    with pytest.raises(InputError, match=words):
        PartPrompt("x", parts, tau)
