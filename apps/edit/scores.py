"""Published scores of an edit: each a value with the weights that it is of, or null with the reason; never a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.metrics import Lpips, find_lpips, white_outside
from gs_reg.parts.prompts import composed
from gs_reg.parts.views import dilated
from gs_reg.text_scores.clip import clip_scores, fits
from gs_reg.text_scores.folders import Kind, Network, ScoreFolder
from gs_reg.text_scores.questions import Question, noun_phrases, read_questions, template_questions
from gs_reg.text_scores.vqa import blip_vqa, tifa
from gs_reg.types import Views

from . import anchors
from .config import Config
from .job import Job
from .tables import row_source, write_table

FLAG = "--scores-model"
TABLE = "scores.csv"
WEIGHTS: Mapping[Kind, str] = {"clip": "CLIP", "blip": "BLIP (BlipForQuestionAnswering)"}
NEEDS: Mapping[str, Kind] = {
    "clip": "clip",
    "clip_direction": "clip",
    "blip_vqa": "blip",
    "tifa": "blip",
    "tifa_templates": "blip",
}
"""Which weights a score is computed with."""
NAMES = (*NEEDS, "lpips")
NO_VIEW = "every view that shows the part is one whose picture was edited; more --views would leave some"
SMALLEST = 32
"""Side in pixels from which LPIPS is defined."""


def check_scores(config: Config) -> dict[Kind, ScoreFolder]:
    """The folders by what they are; each is loaded once, so that no long run ends at weights that are not whole.

    Raises:
        InputError, MissingPart: a folder that is of no use, two of a kind, or a file of questions in another form.
    """
    folders: dict[Kind, ScoreFolder] = {}
    for path in config.scores_model:
        folder = ScoreFolder.of(path)
        if folder.kind in folders:
            raise InputError(f"{FLAG} {path}: {folders[folder.kind].path} is {folder.kind} too: give one of a kind")
        folders[folder.kind] = folder
    for folder in folders.values():
        Network(folder, "cpu")
    if config.scores_questions is not None:
        read_questions(config.scores_questions)
    return folders


@dataclass(frozen=True)
class Pair:
    """What is scored: pictures of views that no edited picture was made for, and the words for them."""

    names: tuple[str, ...]
    before: Float[Tensor, "C H W 3"]
    after: Float[Tensor, "C H W 3"]
    outside: Bool[Tensor, "C H W"]
    """Pixels that are not of the part, nor near it."""
    source: str
    target: str


def write_scores(job: Job, old: Views, new: Views, shown: Bool[Tensor, "C H W"], margin: int) -> dict[str, Any]:
    """Entries of all scores for result.json; and scores.csv, where there is any, with the values of each view.

    `shown`: pixels of the part, before or after; the `margin` around them is not outside it either.
    """
    config = cast(Config, job.config)
    rows = [i for i in scored_rows(job) if bool(shown[i].any())]
    names, outside = tuple(job.scene.views.names[i] for i in rows), ~dilated(shown[rows], margin)
    pair = Pair(names, old.photos[rows], new.photos[rows], outside, *prompts(config))
    drop_model(job)
    entries = score(config, pair, job.device)
    values = {name: entry.pop("by_view") for name, entry in entries.items() if "by_view" in entry}
    if values:
        source = row_source(config.model)
        table = [
            {"view": view, "source": source, **{name: round(column[i], 6) for name, column in values.items()}}
            for i, view in enumerate(names)
        ]
        write_table(job.run.path / TABLE, table)
    return entries | {"scored_views": list(names), "words": {"before": pair.source, "after": pair.target}}


def scored_rows(job: Job) -> list[int]:
    """Of the views, those that are no anchors, kept or not."""
    names = job.scene.views.names
    edited = job.run.read_json(anchors.FILE)["views"] if (job.run.path / anchors.FILE).is_file() else {}
    return [i for i, name in enumerate(names) if name not in edited]


def prompts(config: Config) -> tuple[str, str]:
    """The object with the part, and with what the part shall be."""
    words = [composed(config.object.strip(), (part.strip(),), (0,)).text for part in (config.part, config.edit)]
    return words[0], words[1]


def drop_model(job: Job) -> None:
    """Makes room: the pipeline is not needed any more."""
    job.loaded = None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def score(config: Config, pair: Pair, device: torch.device) -> dict[str, dict[str, Any]]:
    """An entry for each of NAMES."""
    folders = {folder.kind: folder for folder in map(ScoreFolder.of, config.scores_model)}
    lpips, found = find_lpips(config.lpips)
    entries = {name: null(f"no {WEIGHTS[kind]} weights given ({FLAG})") for name, kind in NEEDS.items()}
    entries = {name: entry for name, entry in entries.items() if NEEDS[name] not in folders}
    if lpips is None:
        entries["lpips"] = null(f"weights missing (--lpips): {found}")
    if config.remove:
        entries = {name: null("the part was taken away; no words say what it shall be") for name in NEEDS} | entries
    if not pair.names:
        entries = {name: null(NO_VIEW) for name in NAMES} | entries
    if "clip" not in entries:
        entries |= clip_entries(folders["clip"], pair, device)
    if "blip_vqa" not in entries:
        entries |= vqa_entries(folders["blip"], config, pair, device)
    if lpips is not None and "lpips" not in entries:
        entries["lpips"] = lpips_entry(lpips, found, pair, device)
    return {name: entries[name] for name in NAMES}


def null(why: str) -> dict[str, Any]:
    return {"value": None, "reason": f"not run: {why}"}


def entry(values: Tensor, facts: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Mean over the views; the values of each go to scores.csv."""
    return {"value": float(values.mean()), **more, "model": dict(facts), "by_view": values.tolist()}


def clip_entries(folder: ScoreFolder, pair: Pair, device: torch.device) -> dict[str, dict[str, Any]]:
    network, facts = Network(folder, device), folder.facts()
    got = clip_scores(network, pair.before, pair.after, pair.source, pair.target)
    cut = {} if fits(network, pair.target) else {"cut": "only the beginning of the words was read: they are too long"}
    scored = {"clip": entry(got.after, facts, before=float(got.before.mean()), **cut)}
    if got.direction is None:
        return scored | {"clip_direction": null("the edit's words are those of the part")}
    return scored | {"clip_direction": entry(got.direction, facts, **cut)}


def vqa_entries(folder: ScoreFolder, config: Config, pair: Pair, device: torch.device) -> dict[str, dict[str, Any]]:
    network, facts = Network(folder, device), folder.facts()
    after, phrases = pair.after, noun_phrases(pair.target)
    products, likely = blip_vqa(network, after, phrases)
    means = dict(zip(phrases, likely.mean(0).tolist(), strict=True))
    before = float(blip_vqa(network, pair.before, phrases)[0].mean())
    templates = template_questions(config.object, config.part, config.edit)
    scored = {
        "blip_vqa": entry(products, facts, before=before, phrases=means),
        "tifa_templates": tifa_entry(network, pair, templates, facts),
    }
    if config.scores_questions is None:
        why = "no questions given (--scores-questions); tifa_templates has the answers to plain ones of ours"
        return scored | {"tifa": null(why)}
    questions = read_questions(config.scores_questions)
    return scored | {"tifa": tifa_entry(network, pair, questions, {**facts, "questions": config.scores_questions.name})}


def tifa_entry(network: Network, pair: Pair, questions: Sequence[Question], facts: Mapping[str, Any]) -> dict[str, Any]:
    answers = tifa(network, pair.after, questions)
    right = answers.right.float()
    means = {question.text: mean for question, mean in zip(questions, right.mean(0).tolist(), strict=True)}
    return entry(right.mean(1), facts, questions=means, mapped=float(answers.mapped.float().mean()))


def lpips_entry(lpips: Lpips, files: str, pair: Pair, device: torch.device) -> dict[str, Any]:
    """Of what lies outside the part, before and after: 0 where nothing changed."""
    if min(pair.before.shape[1:3]) < SMALLEST:
        return null(f"defined for pictures of {SMALLEST} pixels and more")
    found_by_view = []
    for before, after, outside in zip(pair.before, pair.after, pair.outside, strict=True):
        pictures = [white_outside(picture[None].clamp(0, 1), outside[None]).to(device) for picture in (before, after)]
        with torch.no_grad():
            found_by_view.append(lpips(pictures[0], pictures[1]))
    distances = torch.cat(found_by_view)
    return entry(distances, {"net": lpips.name, "files": files}, of="what is outside the part, before and after")
