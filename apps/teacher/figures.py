"""The figures that a teacher must reach on shapes that it was not trained on, and what is chosen on the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs_reg.data_tools.synthetic.objects.colors import BACKGROUNDS, random_paint
from gs_reg.data_tools.synthetic.objects.dataset import Split
from gs_reg.diffusion.networks import Networks
from gs_reg.diffusion.schedule import MAP_PATH
from gs_reg.diffusion.word_maps import TAU
from gs_reg.errors import InputError
from gs_reg.parts.maps import RADIUS

from .batches import pictures as draw_pictures
from .batches import teacher_tokenizer
from .export import Latents, Trained, load, networks_of
from .part_maps import Encoder, MapSettings, map_figures
from .recolor import color_figures

NO_SEGMENTER = "needs a segmenter, not trained yet"


@dataclass(frozen=True)
class Check:
    """One line of the table: what must be reached, and what was."""

    name: str
    value: float | None
    least: float | None = None
    most: float | None = None
    reason: str = ""
    """Why there is no value."""

    @property
    def passed(self) -> bool | None:
        if self.value is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def bench_checks(bench: Mapping[str, Any] | None) -> list[Check]:
    """Rows of the table that `gs-reg edit bench --json` measures, from its figures."""
    later = "`gs-reg edit bench` measures it, --bench takes its figures"
    bench = bench or {}
    edits = [edit for edit in bench.get("each", ()) if edit["edit"].endswith("-colour")]
    oracle = [edit["oracle_psnr"] for edit in edits if edit["oracle_psnr"] is not None]

    def row(name: str, value: float | None, **bounds: float) -> Check:
        return Check(name, value, **bounds, reason=later if value is None else "")

    gain = bench["miou"] - bench["miou_maps"] if "miou" in bench else None
    return [
        row("part IoU lifted to 3D", bench.get("miou_3d"), least=0.6),
        row("part IoU of masks lifted to 3D, above the maps alone", gain, least=0.0),
        row("full edit", mean_of([e["color_views"] for e in edits]), least=0.85),
        row("full edit, PSNR inside the part to what it should look like (dB)", mean_of(oracle), least=18.0),
        row("full edit, edits that changed a row outside the part", bench.get("changed_outside"), most=0.0),
        Check("SLaMP", None, reason="only within full edits"),
        Check("SDS alone", None, reason="only from the old colour, not from grey: `gs-reg edit bench --ablation`"),
    ]


def mean_of(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def measure(folder: Path, validation: Split, test: Split, pictures: int) -> tuple[list[Check], dict[str, Any]]:
    """All checks, and everything measured beside; `pictures` of each family for each."""
    pipe = load(folder)
    networks, latents = networks_of(pipe), Latents(pipe)
    size = pipe.transformer.config.sample_size * 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    blocks = tuple(range(len(networks.transformer.transformer_blocks) - 1))
    settings = choose_settings(networks, validation, latents, size, max(2, pictures // 4))
    plain = MapSettings(blocks)
    chosen, fixed = (
        map_figures(networks, test, latents, size, pictures=pictures, settings=s) for s in (settings, plain)
    )
    untrained = map_figures(_untrained(networks, size), test, latents, size, pictures=pictures, settings=settings)
    seen, unseen = (
        color_figures(networks, latents, test, size, held_out=held_out, pictures=pictures) for held_out in (False, True)
    )
    checks = [
        Check("VAE, PSNR of pictures (dB)", psnr(latents, test, size, 12 * pictures), least=30),
        Check("colour by inpainting, combinations seen", seen.right, least=0.9),
        Check("colour by inpainting, combinations held out", unseen.right, least=0.75),
        Check("colour by inpainting, prompts of other pictures", max(seen.shuffled, unseen.shuffled), most=0.15),
        *(
            Check(f"colour, text to image, combinations {which}", None, least=least, reason=NO_SEGMENTER)
            for which, least in (("seen", 0.8), ("held out", 0.65))
        ),
        Check("attention, mean part IoU", chosen.mean, least=0.5),
        Check("attention, part IoU of the lowest family", min(chosen.families.values()), least=0.3),
        Check("attention, mean part IoU above the untrained network's", chosen.mean - untrained.mean, least=0.15),
        *bench_checks(None),
    ]
    more = {
        "size": size,
        "settings": asdict(settings),
        "attention": {"families": chosen.families, **chosen.summary()},
        "attention_with_default_settings": fixed.summary(),
        "attention_untrained": untrained.summary(),
        "color_seen": asdict(seen),
        "color_held_out": asdict(unseen),
    }
    return checks, more


def supervision(
    folders: tuple[Path, Path], validation: Split, test: Split, pictures: int
) -> dict[str, dict[str, float] | int]:
    """Part IoU of two trainings of one schedule, with and without the losses on attention; the maps of each are read
    as is best for it.

    Raises:
        InputError: not of the same steps and size, or not one with and one without.
    """
    trained = [Trained.read(folder) for folder in folders]
    if len({(t.step, t.size) for t in trained}) > 1:
        said = " and ".join(f"{f}: step {t.step}, {t.size} px" for f, t in zip(folders, trained, strict=True))
        raise InputError(f"--supervised, --unsupervised: expected the same steps and size, got {said}")
    if [t.supervised for t in trained] != [True, False]:
        raise InputError(
            f"--unsupervised {folders[1]}: expected a training with `--maps 0 --binding 0`, and one without"
        )
    out: dict[str, dict[str, float] | int] = {"steps": trained[0].step, "size": trained[0].size}
    for name, t in zip(("with", "without"), trained, strict=True):
        settings = choose_settings(t.networks, validation, t.basis, t.size, max(2, pictures // 4))
        figures = map_figures(t.networks, test, t.basis, t.size, pictures=pictures, settings=settings)
        out[name] = figures.summary()
    return out


def choose_settings(networks: Networks, validation: Split, latents: Encoder, size: int, pictures: int) -> MapSettings:
    """Of the best mean IoU on the validation split: first tau and refinement, then blocks and path."""
    blocks = tuple(range(len(networks.transformer.transformer_blocks) - 1))

    def best(candidates: list[MapSettings]) -> MapSettings:
        scores = [
            map_figures(networks, validation, latents, size, pictures=pictures, settings=c, seed=55).mean
            for c in candidates
        ]
        return candidates[int(np.argmax(scores))]

    read = best([MapSettings(blocks, MAP_PATH, t, r) for t in (TAU, 0.3, 0.5) for r in (RADIUS, 1 / 16, 1 / 8)])
    some = [b for b in (blocks, blocks[1:], blocks[len(blocks) // 2 :]) if b]
    return best([replace(read, blocks=b, path=p) for b in some for p in (MAP_PATH, (0.26,))])


def _untrained(networks: Networks, size: int) -> Networks:
    """The same network with the weights that training begins with."""
    torch.manual_seed(0)
    return Networks(networks.config, teacher_tokenizer(networks.config.tokens), size).eval()


def psnr(latents: Latents, split: Split, size: int, count: int) -> float:
    """Of pictures through encoder and decoder."""
    rng = np.random.default_rng(11)
    rows = np.sort(rng.choice(len(split), min(count, len(split)), replace=False))
    paints = [random_paint(split.family(row), rng) for row in rows]
    images, _ = draw_pictures(split, rows, paints, rng.choice(BACKGROUNDS, len(rows)), size)
    error = (latents.decode(latents.encode(images)) - images).square().mean()
    return -10 * math.log10(float(error))


def as_json(checks: Sequence[Check], more: Mapping[str, Any]) -> dict[str, Any]:
    return {"accepted": accepted(checks), "checks": [asdict(c) | {"passed": c.passed} for c in checks], **more}


def with_checks(figures: Mapping[str, Any], found: Sequence[Check]) -> dict[str, Any]:
    """The figures of as_json() with these checks in place of those of the same names, or after all others."""
    names = {check.name for check in found}
    fields = Check.__dataclass_fields__
    kept = [Check(**{k: v for k, v in c.items() if k in fields}) for c in figures["checks"] if c["name"] not in names]
    rest = {key: value for key, value in figures.items() if key not in ("accepted", "checks")}
    return as_json([*kept, *found], rest)


def accepted(checks: Sequence[Check]) -> bool:
    """Whether all that was measured is reached."""
    return all(check.passed is not False for check in checks)
