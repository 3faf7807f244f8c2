"""Questions that are asked of pictures: noun phrases of a prompt (BLIP-VQA), and questions with choices (TIFA)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from gs_reg.errors import InputError, reading

MOST_PHRASES = 8
"""As T2I-CompBench; later ones of a prompt are not asked for."""
BETWEEN = (
    *("with", "and", "of", "in", "on", "at", "by", "from", "to", "as", "for", "under", "over", "behind", "beside"),
    *("between", "near", "next to", "in front of", "without", "made of", "made from", "like", "that", "which", "who"),
    *("is", "are", "has", "have", "wearing", "holding", "having", "looking", "sitting", "standing", "made", "or"),
)
"""Words that stand between noun phrases."""


@dataclass(frozen=True)
class Question:
    text: str
    choices: tuple[str, ...]
    answer: str


def noun_phrases(prompt: str) -> tuple[str, ...]:
    """What stands between prepositions, conjunctions, verbs and punctuation; without parsing, so of plain prompts.

    >>> noun_phrases("a photo of a man with silver eyes and a hat")
    ('a photo', 'a man', 'silver eyes', 'a hat')
    """
    words = "|".join(re.escape(word) for word in sorted(BETWEEN, key=len, reverse=True))
    pieces = re.split(rf"[,.;:!?()\"]+|\b(?:{words})\b(?!-)", prompt, flags=re.IGNORECASE)
    return tuple(piece.strip() for piece in pieces if piece.strip())[:MOST_PHRASES]


def template_questions(name: str, part: str, edit: str) -> tuple[Question, ...]:
    """Plain questions about an edited part of what `name` says. They are ours: TIFA's are made by a language model."""
    questions = [f"does the picture show {plain(name)}?", f"does the picture show {edit.strip()}?"]
    modifier = edit.strip().removesuffix(part.strip()).strip()
    if modifier and modifier != edit.strip():
        bare = re.sub(r"^(?:a|an|the)\s+|^(?:a|an|the)$", "", modifier, flags=re.IGNORECASE)
        questions += [f"does the {part.strip()} look {bare}?"] if bare else []
    return tuple(Question(text, ("yes", "no"), "yes") for text in questions)


def plain(name: str) -> str:
    """The words for an object without those for a picture of it: "a photo of a man" is a man."""
    return re.sub(r"^(?:an?|the)?\s*(?:photo|picture|image|render(?:ing)?)\s+of\s+", "", name.strip(), flags=re.I)


def read_questions(path: Path) -> tuple[Question, ...]:
    """From a JSON file in TIFA's form: a list of maps with question, choices and answer; other keys are not read.

    Raises:
        InputError: another form, no question, or an answer that is none of the choices.
    """
    with reading(path):
        listed = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(listed, list) or not listed:
            raise InputError(f"{path}: expected a list of maps with question, choices and answer")
        questions = tuple(
            Question(str(q["question"]), tuple(normal(str(c)) for c in q["choices"]), normal(str(q["answer"])))
            for q in listed
        )
    for question in questions:
        if question.answer not in question.choices or len(question.choices) < 2:
            raise InputError(f"{path}: {question.text!r}: expected two choices or more, one of them the answer")
    return questions


def normal(answer: str) -> str:
    """An answer as it is compared with others."""
    return " ".join(answer.lower().strip(" .!?").split())
