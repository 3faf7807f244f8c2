"""The teacher `sd3`: where the words of the parts look in the picture, in a flow transformer of SD3's shape."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.capture import captured_words, readable_blocks
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.schedule import climb
from gs_reg.diffusion.word_maps import shared_noise
from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..maps import part_maps
from ..prompts import TEXT_LIMIT, PartPrompt, Pass, passes
from ..types import PartMaps
from .base import prepared

GAMMA = 0.5
"""Share of the velocity that leads to the one noise of all views."""
BATCH = 4
"""Views a call of the network."""


class WordAttention:
    """Four calls a view up the noise path; the maps are those of the last one (RoMaP, spec 2.1)."""

    def __init__(self, model: DiffusionModel, *, seed: int = 0, gamma: float = GAMMA, batch: int = BATCH):
        if model.kind != "flow":
            raise InputError(f"teacher sd3: {type(model.network).__name__} is no flow model; expected one like SD3")
        self.model, self.seed, self.gamma, self.batch = model, seed, gamma, batch
        blocks = model.settings.blocks
        self.blocks = readable_blocks(model.network, blocks)
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        self._passes(prompt, "overhead" if prompt.front else "")  # the longest view: too long a part is found here
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, settings = prepared(self.prompt), self.model.settings
        tau = prompt.taus(settings.tau, settings.taus)
        sides = prompt.view_words(cameras.centers, middle_of(cameras))
        raw: dict[int, Tensor] = {}
        with self.model.counting("teacher"):
            for side in dict.fromkeys(sides):
                rows = [c for c, own in enumerate(sides) if own == side]
                for chunk in _chunks(rows, self.batch):
                    raw.update(zip(chunk, self.raw(pictures[chunk], side).to(pictures), strict=True))
        # a view at a time: maps of the pictures' size are many times larger than what they come from
        one = [part_maps(raw[c][None], tau, pictures[c : c + 1], settings.refine) for c in range(len(pictures))]
        maps = torch.cat(one) if one else pictures.new_zeros(0, len(prompt.parts), *pictures.shape[1:3])
        self.notes = {"calls": self.model.calls_by_purpose["teacher"], "blocks": list(self.blocks)}
        return PartMaps(prompt.parts, maps, maps.new_ones(maps.shape[:2]))

    def close(self) -> None:
        """The pipeline is the job's, which closes it."""

    def _passes(self, prompt: PartPrompt, side: str) -> list[Pass]:
        limit = min(TEXT_LIMIT, self.model.longest_prompt)
        return passes(prompt, lambda text: self.model.tokens(text, {}, 0)[1], limit, side)

    @torch.no_grad()
    def raw(self, pictures: Float[Tensor, "B H W 3"], side: str = "") -> Float[Tensor, "B L h w"]:
        """Sums over blocks of the words' products with the image keys, on the grid of image tokens."""
        model, prompt = self.model, prepared(self.prompt)
        patch = model.network.config.patch_size
        shown = self._resized(pictures, patch)
        latents = model.encode(shown).float()
        height, width = latents.shape[-2:]
        sigmas = [model.sigma(u, (height, width)) for u in model.settings.u_path]
        noise = shared_noise(latents, self.seed)
        out = latents.new_zeros(len(pictures), len(prompt.parts), height // patch, width // patch)
        for one in self._passes(prompt, side):
            text = model.text([one.text])
            words = model.tokens(one.text, dict(enumerate(one.ranges)), len(one.rows))[0].expand(len(pictures), -1, -1)
            z = climb(lambda z, sigma, text=text: model.predict(z, sigma, text), latents, noise, sigmas, self.gamma)
            with captured_words(model.network, self.blocks, words) as capture:
                model.predict(z, sigmas[-1], text)
            out[:, list(one.rows)] = capture.total.unflatten(-1, (out.shape[-2], out.shape[-1]))
        return out

    def _resized(self, pictures: Float[Tensor, "B H W 3"], patch: int) -> Float[Tensor, "B h w 3"]:
        """The longer side as the model has it, both sides as whole numbers of image tokens."""
        longer, step = max(pictures.shape[1:3]), self.model.factor * patch
        scale = self.model.resolution / longer
        size = [max(step, round(side * scale / step) * step) for side in pictures.shape[1:3]]
        planes = pictures.movedim(-1, 1).to(self.model.device)
        if list(planes.shape[-2:]) != size:
            planes = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
        return planes.movedim(1, -1).clamp(0, 1)


def middle_of(cameras: Cameras) -> Float[Tensor, "3"]:
    """The point nearest to all optical axes (least squares): where the object is that they look at."""
    axes, eye = cameras.viewmats[:, 2, :3], torch.eye(3).to(cameras.viewmats)
    across = eye - axes[:, :, None] * axes[:, None]
    # the damping gives parallel axes a middle too, in front of nothing
    return torch.linalg.solve(across.sum(0) + 1e-6 * eye, (across @ cameras.centers[..., None]).sum(0))[:, 0]


def _chunks(rows: list[int], size: int) -> list[list[int]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
