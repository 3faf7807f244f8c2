"""A CLIP tokenizer made from a list of words: byte-pair encoding in which each word is one token, some of them two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .libraries import transformers

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(words: Sequence[str], split: Mapping[str, int], length: int) -> CLIPTokenizer:
    """Pads to `length`. `split`: words of two tokens, and after how many letters the second one begins."""
    symbols = _byte_symbols()
    vocabulary = symbols + [f"{symbol}</w>" for symbol in symbols]
    merges = _merges([piece for word in words for piece in _pieces(word, split.get(word))])
    tokens = dict.fromkeys([*vocabulary, *(a + b for a, b in merges), START, END])
    # transformers takes a mapping and a list here as well as files
    return transformers().CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=merges,
        model_max_length=length,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token=END,
    )


def _byte_symbols() -> list[str]:
    """The characters that stand for the 256 bytes in CLIP's vocabulary: printable ones for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _pieces(word: str, split: int | None) -> list[list[str]]:
    """The tokens that a word should become, as symbols; the last symbol of a word is marked."""
    parts = [word] if split is None else [word[:split], word[split:]]
    symbols = [list(part) for part in parts]
    symbols[-1][-1] += "</w>"
    return symbols


def _merges(words: list[list[str]]) -> list[tuple[str, str]]:
    """Most frequent pair first, until every word is one symbol; merges set by hand would split other words."""
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in words for pair in pairwise(word)):
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        merges.append(best)
        words = [_merged(word, best) for word in words]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out
