"""The model card of a teacher: what it is for, how it was made, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT = """# A small SD3-class teacher of gs-reg

Made by `gs-reg teacher`, from nothing, on pictures of procedural objects that gs-reg draws itself. It has the classes
and the folder of `StableDiffusion3Pipeline` without T5, in {size} px, and knows {families} families of objects with
{parts} named parts, {colors} colours and {finishes} finishes. Licence: that of gs-reg (Apache-2.0); no foreign data.

**What it is for.** To run part maps, SLaMP and score distillation for real where no large weights are at hand: tests,
demos and the edit bench on objects of the same kind. **What it is not for.** Pictures of anything else. Its figures say
nothing about Stable Diffusion 3 or about open-world edits.

**Its attention is supervised.** {supervision}

**The VAE's encoder is fixed**: the principal components of 4 x 4 patches. Only the decoder was trained.

Load it with `StableDiffusion3Pipeline.from_pretrained(FOLDER, text_encoder_3=None, tokenizer_3=None)`. `teacher.json`
says how maps are read from it. Prompts have at most {tokens} tokens, of a vocabulary of words about these objects.

## Figures, on shapes that it was not trained on

| check | must reach | reached | |
|---|---|---|---|
{rows}

{accepted} `figures.json` has them by family and by size of the part.
"""

SUPERVISED = """Beside the flow loss, the maps that are read as part maps were trained on the
known part masks, and image tokens were trained to look at the words about their part."""


BESIDE = """

What that does, after {steps:,} steps each of the same network on pictures of {size} px (a short training, for this
comparison alone), with maps read as is best for each:

| losses on attention | mean part IoU | lowest family | mean where the object is known |
|---|---|---|---|
{rows}"""

UNSUPERVISED = "The maps were not trained: this teacher has the flow loss alone."


def model_card(figures: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    rows = "\n".join(_row(check) for check in figures["checks"])
    verdict = (
        "All measured checks are reached." if figures["accepted"] else "**Not accepted: not all checks are reached.**"
    )
    return TEXT.format(
        rows=rows, accepted=verdict, supervision=_supervision(figures, facts), size=figures["size"], **facts
    )


def _supervision(figures: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    if not facts["supervised"]:
        return UNSUPERVISED
    if (beside := figures.get("supervision")) is None:
        return SUPERVISED
    rows = "\n".join(
        f"| {name} | {beside[name]['miou']:.3f} | {beside[name]['lowest']:.3f} | {beside[name]['forced']:.3f} |"
        for name in ("with", "without")
    )
    return SUPERVISED + BESIDE.format(steps=beside["steps"], size=beside["size"], rows=rows)


def _row(check: Mapping[str, Any]) -> str:
    bounds = ((">=", check["least"]), ("<=", check["most"]))
    bound = " ".join(f"{sign} {value:g}" for sign, value in bounds if value is not None)
    value = f"not measured: {check['reason']}" if check["value"] is None else f"{check['value']:.3f}"
    mark = {None: "", True: "yes", False: "**no**"}[check["passed"]]
    return f"| {check['name']} | {bound} | {value} | {mark} |"
