"""BLIP-VQA of T2I-CompBench and TIFA, by a network that answers questions about pictures (BLIP)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .folders import Network, as_bytes
from .questions import Question, normal

CHUNK = 8
"""Pictures at once."""
LONGEST = 10
"""Tokens of a free answer, searched with BEAMS, as in BLIP."""
BEAMS = 3


def blip_vqa(
    network: Network, pictures: Float[Tensor, "C H W 3"], phrases: Sequence[str]
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C P"]]:
    """Of each picture the product over the phrases, and of each phrase, asked as "phrase?", how likely "yes" is.

    As T2I-CompBench computes it: over "no", of the first token of the answer.
    """
    likely = torch.stack([torch.cat([yes(asked) for asked in ask(network, pictures, f"{p}?")]) for p in phrases], 1)
    return likely.prod(1), likely


@dataclass(frozen=True)
class Answers:
    """Of each picture and question."""

    right: Bool[Tensor, "C Q"]
    mapped: Bool[Tensor, "C Q"]
    """The free answer was none of the choices; the most likely choice stands for it."""


def tifa(network: Network, pictures: Float[Tensor, "C H W 3"], questions: Sequence[Question]) -> Answers:
    """Asks all questions; the score of a picture is the mean of `right`.

    TIFA's own code maps a free answer that is no choice by a network for sentences; here the most likely choice is
    taken, and `mapped` says where.
    """
    right, mapped = [], []
    for question in questions:
        given, chosen = [], []
        for asked in ask(network, pictures, question.text):
            given += free_answers(asked)
            chosen += [question.choices[i] for i in likelihoods(asked, question.choices).argmax(1).tolist()]
        free = [answer in question.choices for answer in given]
        final = [a if known else b for a, b, known in zip(given, chosen, free, strict=True)]
        right.append(torch.tensor([answer == question.answer for answer in final]))
        mapped.append(~torch.tensor(free))
    return Answers(torch.stack(right, 1), torch.stack(mapped, 1))


@dataclass(frozen=True)
class Asked:
    """One question about some pictures, as the network understood it."""

    network: Network
    states: Float[Tensor, "B T E"]

    def decode(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S V"]:
        """Logits of what follows each token of an answer."""
        return self.network.model.text_decoder(input_ids=ids, encoder_hidden_states=self.states).logits.float()

    @property
    def start(self) -> Int[Tensor, "B 1"]:
        """The token that an answer begins with."""
        first = self.network.model.config.text_config.bos_token_id
        return torch.full((len(self.states), 1), first, device=self.states.device)


@torch.no_grad()
def ask(network: Network, pictures: Float[Tensor, "C H W 3"], question: str) -> Iterator[Asked]:
    for some in pictures.split(CHUNK):
        inputs = network.inputs(text=[question] * len(some), images=as_bytes(some), padding=True, truncation=True)
        seen = network.model.vision_model(pixel_values=inputs.pixel_values).last_hidden_state
        out = network.model.text_encoder(
            input_ids=with_start(network, inputs.input_ids),
            attention_mask=inputs.attention_mask,
            encoder_hidden_states=seen,
        )
        yield Asked(network, out.last_hidden_state)


def with_start(network: Network, ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """A question begins with [ENC], as BLIP was trained: the token after the one that begins answers.

    The processor of transformers writes [CLS] there.
    """
    text = network.model.config.text_config
    ids = ids.clone()
    if text.bos_token_id + 1 < text.vocab_size:
        ids[:, 0] = text.bos_token_id + 1
    return ids


@torch.no_grad()
def yes(asked: Asked) -> Float[Tensor, "B"]:
    """P(yes) over P(yes) + P(no), of the first token of the answer."""
    logits = asked.decode(asked.start)[:, 0]
    ids = [answer_ids(asked.network, word)[0] for word in ("yes", "no")]
    return logits[:, ids].softmax(1)[:, 0].cpu()


@torch.no_grad()
def likelihoods(asked: Asked, choices: Sequence[str]) -> Float[Tensor, "B Q"]:
    """Logarithm of the probability of each answer with its end; BLIP's ranking."""
    columns = []
    for choice in choices:
        ids = torch.tensor(answer_ids(asked.network, choice), device=asked.states.device).expand(len(asked.states), -1)
        logits = asked.decode(torch.cat([asked.start, ids[:, :-1]], 1))
        columns.append(logits.log_softmax(2).gather(2, ids[..., None])[..., 0].sum(1))
    return torch.stack(columns, 1).cpu()


@torch.no_grad()
def free_answers(asked: Asked) -> list[str]:
    model = asked.network.model
    text = model.config.text_config
    ids = model.text_decoder.generate(
        input_ids=asked.start,
        encoder_hidden_states=asked.states,
        encoder_attention_mask=torch.ones(asked.states.shape[:2], device=asked.states.device),
        eos_token_id=text.sep_token_id,
        pad_token_id=text.pad_token_id,
        max_length=LONGEST,
        min_length=1,
        num_beams=BEAMS,
        do_sample=False,
    )
    return [normal(answer) for answer in asked.network.processor.batch_decode(ids, skip_special_tokens=True)]


def answer_ids(network: Network, answer: str) -> list[int]:
    """Tokens of an answer, and the one that ends it."""
    ids = network.processor.tokenizer(answer, add_special_tokens=False).input_ids
    return [*ids, network.model.config.text_config.sep_token_id]
