"""One interface to the pipelines of diffusers: text, latents, and the prediction of the network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError

from .families import FAMILIES, Family
from .families.base import Text
from .libraries import quiet
from .loading import check_family, folder_of, look_into, open_pipeline
from .memory import Use, choose
from .placing import Placement
from .schedule import sigma_of
from .settings import TeacherSettings, read_settings
from .spans import tokenize

Kind = Literal["flow", "epsilon", "v"]
OTHER = "other"
"""The purpose of calls outside `counting`."""


class DiffusionModel:
    """A pipeline's networks, frozen.

    Levels of noise: of flow models the share sigma of the noise in z = (1 - sigma) latents + sigma noise; of the others
    the share of the timesteps, 0..1. `sigma` gives either from the raw fraction u; `shares` says what a level means.
    """

    def __init__(self, pipe: Any, device: torch.device | str, settings: TeacherSettings | None = None):
        """`pipe`: with its networks on the device; it is not called itself. `settings` None: SD3-medium's.

        Raises:
            InputError: a network, VAE or scheduler that does not fit.
        """
        self.pipe = pipe
        self.device = torch.device(device)
        self.family = _family(pipe)
        self.placement: Placement | None = None
        self.network = getattr(pipe, self.family.network)
        self.dtype: torch.dtype = self.network.dtype
        self.kind: Kind = _kind(pipe.scheduler)
        vae = pipe.vae.config
        self.factor = 2 ** (len(vae.block_out_channels) - 1)
        self.channels = int(vae.latent_channels)
        self.native = self.family.side(pipe) * self.factor
        self.settings = settings or TeacherSettings(resolution=min(512, self.native))
        self.resolution = self.settings.resolution
        self.calls_by_purpose: Counter[str] = Counter()
        self._purpose = OTHER
        self._freed = False
        self._texts: dict[str, Text] = {}
        self._blank: dict[tuple[int, int], Tensor] = {}
        self._check_channels()

    @classmethod
    def load(
        cls,
        model: Path | str,
        *,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        vram_gb: float | None = None,
        use: Use | None = None,
        allow_download: bool = False,
    ) -> DiffusionModel:
        """A folder or a repository's name. Half precision on GPUs and single on CPUs, where `dtype` is None.

        `vram_gb`: of the device's memory; None: what is free. `use`: what is planned for; None: one picture of the
        settings' resolution at a time, with gradients.

        Raises:
            InputError: no pipeline of diffusers, or one of another family; too little memory.
            MissingPart: diffusers, or a part of the weights, is not there.
        """
        folder = folder_of(model, allow_download)
        contents = look_into(folder)
        check_family(contents)
        device = torch.device(device)
        dtype = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
        settings = read_settings(folder)
        planned = use or Use((settings or TeacherSettings()).resolution)
        mode = choose(contents, dtype, device, vram_gb, planned)
        pipe = open_pipeline(contents, dtype)
        made = cls(pipe, device, settings)
        made.placement = Placement(pipe, made.family.network, device, mode)
        return made

    @property
    def calls(self) -> int:
        """Predictions so far; a batch of n counts n."""
        return sum(self.calls_by_purpose.values())

    @contextmanager
    def counting(self, purpose: str) -> Iterator[None]:
        """Calls in the block count for `purpose`."""
        before, self._purpose = self._purpose, purpose
        try:
            yield
        finally:
            self._purpose = before

    @torch.no_grad()
    def text(self, prompts: Sequence[str]) -> Text:
        """Encoded once each."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if new:
            if self._freed:
                raise RuntimeError(f"the text encoders were freed before {new[0]!r} was encoded")
            with quiet(), self.placement.encoding() if self.placement else nullcontext():
                made = self.family.text(self.pipe, new, self.settings.zero_rows, self.device)
            self._texts.update({prompt: made[i : i + 1] for i, prompt in enumerate(new)})
        return Text.joined([self._texts[prompt] for prompt in prompts])

    def free_encoders(self) -> None:
        """Drops the text encoders; only prompts that were encoded before can be asked for afterwards."""
        for name in self.pipe.components:
            if name.startswith("text_encoder"):
                setattr(self.pipe, name, None)
        self._freed = True

    def tokens(
        self, prompt: str, ranges: Mapping[int, tuple[int, int]], rows: int
    ) -> tuple[Float[Tensor, "rows T"], int]:
        """Means over the rows of text whose tokens overlap each range of characters; and the prompt's count of tokens
        with its specials, which may be more than the encoder takes."""
        tokenizer = self.family.tokenizer(self.pipe)
        _, spans = tokenize(tokenizer, [prompt], [ranges], rows)
        return spans[0], len(tokenizer(prompt, verbose=False)["input_ids"])

    @property
    def longest_prompt(self) -> int:
        """In tokens with specials; what follows is cut off."""
        return self.family.tokenizer(self.pipe).model_max_length

    def unread(self, prompt: str) -> str:
        """The end of the prompt that is cut off; empty where it is short enough."""
        found = self.family.tokenizer(self.pipe)(prompt, truncation=True, return_offsets_mapping=True)
        return prompt[max(end for _, end in found["offset_mapping"]) :].strip()

    def encode(self, pictures: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B c h w"]:
        """The mean latents in the network's units; differentiable.

        Raises:
            InputError: sides that are no multiples of the model's.
        """
        step = self.factor * self.family.packing(self.pipe)
        height, width = pictures.shape[1:3]
        if height % step or width % step:
            raise InputError(f"pictures of {width} x {height}: sides must be multiples of {step}")
        weights = self.pipe.vae.dtype
        mean = self.pipe.vae.encode(pictures.movedim(-1, 1).to(self.device, weights) * 2 - 1).latent_dist.mean
        shift, scale = self._units()
        return (mean - shift) * scale

    def decode(self, latents: Float[Tensor, "B c h w"]) -> Float[Tensor, "B H W 3"]:
        shift, scale = self._units()
        decoded = self.pipe.vae.decode((latents / scale + shift).to(self.pipe.vae.dtype)).sample
        return (decoded.movedim(1, -1) / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def predict(
        self, z: Float[Tensor, "B c h w"], level: Float[Tensor, "B"] | float, text: Text
    ) -> Float[Tensor, "B c h w"]:
        """Flow: the velocity, noise minus latents. Else the noise, or v, as `kind` says. One text serves all."""
        levels = torch.as_tensor(level, dtype=torch.float32, device=z.device).expand(len(z))
        shown = z if self._extra is None else torch.cat([z, self._unmasked(z)], 1)
        timesteps = 1000 * levels if self.kind == "flow" else self._index(levels).float()
        self.calls_by_purpose[self._purpose] += len(z)
        text = text.expanded(len(z))
        pooled = None if text.pooled is None else text.pooled.to(self.dtype)
        out = self.family.predict(self.pipe, shown.to(self.dtype), timesteps, Text(text.rows.to(self.dtype), pooled))
        return out[:, : self.channels].to(z.dtype)

    def guided(
        self,
        z: Float[Tensor, "B c h w"],
        level: Float[Tensor, "B"] | float,
        text: Text,
        null: Text,
        scale: float,
        rescale: float = 0.0,
    ) -> Float[Tensor, "B c h w"]:
        """Away from the prediction at `null`, `scale` times as far as to that at `text`.

        `rescale`: share by which the result gets the spread of the prediction at `text` back (Lin et al. 2023).
        """
        n = len(z)
        levels = torch.as_tensor(level, dtype=torch.float32, device=z.device).expand(n)
        both = Text.joined([null.expanded(n), text.expanded(n)])
        without, prompted = self.predict(torch.cat([z, z]), torch.cat([levels, levels]), both).chunk(2)
        guided = without + scale * (prompted - without)
        if rescale:
            spread = prompted.flatten(1).std(1) / guided.flatten(1).std(1).clamp(min=1e-12)
            guided = guided * (1 - rescale + rescale * spread)[:, None, None, None]
        return guided

    def sigma(self, u: float, latents: tuple[int, int] | None = None) -> float:
        """The level at the raw fraction u, with the scheduler's shift once; u itself where there is no flow.

        `latents`: height and width, which shift some models; None: those of `resolution`.
        """
        if self.kind != "flow":
            return u
        config = self.pipe.scheduler.config
        if not config.get("use_dynamic_shifting"):
            return sigma_of(u, self.pipe.scheduler.shift)
        height, width = latents or (self.resolution // self.factor,) * 2
        tokens = height * width / self.family.packing(self.pipe) ** 2
        low, high = config.base_image_seq_len, config.max_image_seq_len
        mu = config.base_shift + (config.max_shift - config.base_shift) * (tokens - low) / (high - low)
        return sigma_of(u, mu if config.get("time_shift_type") == "linear" else math.exp(mu))

    def shares(self, level: Float[Tensor, "B"]) -> tuple[Float[Tensor, "B 1 1 1"], Float[Tensor, "B 1 1 1"]]:
        """Of latents and noise in z at a level; 1 and 0 at level 0."""
        level = level[:, None, None, None]
        if self.kind == "flow":
            return 1 - level, level
        table = self.pipe.scheduler.alphas_cumprod.to(level)
        kept = torch.where(level > 0, table[self._index(level)], 1.0)
        return kept.sqrt(), (1 - kept).sqrt()

    def split(
        self, z: Float[Tensor, "B c h w"], level: Float[Tensor, "B"], prediction: Float[Tensor, "B c h w"]
    ) -> tuple[Float[Tensor, "B c h w"], Float[Tensor, "B c h w"]]:
        """The clean latents and the noise that a prediction at z means: z is their sum in the level's shares."""
        kept, noise = self.shares(level)
        if self.kind == "flow":
            return z - noise * prediction, z + kept * prediction
        if self.kind == "v":
            return kept * z - noise * prediction, noise * z + kept * prediction
        return (z - noise * prediction) / kept, prediction

    def _index(self, level: Float[Tensor, "*s"]) -> Tensor:
        """Timesteps 0..T-1 of levels in 0..1."""
        count = len(self.pipe.scheduler.alphas_cumprod)
        return (level * count).round().long().sub(1).clamp(0, count - 1)

    def _units(self) -> tuple[Tensor | float, Tensor | float]:
        """Latents of the network are (latents of the VAE - shift) * scale."""
        config = self.pipe.vae.config
        mean, spread = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and spread is not None:
            means, spreads = (torch.tensor(v, device=self.device)[:, None, None] for v in (mean, spread))
            return means, config.scaling_factor / spreads
        return config.get("shift_factor") or 0.0, config.scaling_factor

    def _check_channels(self) -> None:
        """Networks for inpainting are also shown a mask and the latents around it."""
        taken = self.family.channels(self.pipe)
        self._extra = None if taken == self.channels else taken - self.channels
        if self._extra not in (None, self.channels + 1):
            raise InputError(
                f"{type(self.network).__name__} takes {taken} channels and the VAE makes {self.channels}:"
                " SLaMP, SDS and maps cannot use it; the editor diffusers:FOLDER may"
            )

    def _unmasked(self, z: Float[Tensor, "B c h w"]) -> Float[Tensor, "B k h w"]:
        """What networks for inpainting are shown where all of the picture is to be made: mask 1, a grey picture."""
        size = (z.shape[-2], z.shape[-1])
        if size not in self._blank:
            grey = torch.full((1, size[0] * self.factor, size[1] * self.factor, 3), 0.5, device=self.device)
            self._blank[size] = torch.cat([torch.ones(1, 1, *size, device=self.device), self.encode(grey)], 1)
        return self._blank[size].to(z.dtype).expand(len(z), -1, -1, -1)


def _family(pipe: Any) -> Family:
    for component in pipe.components.values():
        if type(component).__name__ in FAMILIES:
            return FAMILIES[type(component).__name__]
    raise InputError(f"{type(pipe).__name__} has no network of a known family: {', '.join(FAMILIES)}")


def _kind(scheduler: Any) -> Kind:
    predicts = scheduler.config.get("prediction_type")
    if type(scheduler).__name__.startswith("FlowMatch") or predicts == "flow_prediction":
        return "flow"
    if predicts == "epsilon" and hasattr(scheduler, "alphas_cumprod"):
        return "epsilon"
    if predicts == "v_prediction" and hasattr(scheduler, "alphas_cumprod"):
        return "v"
    raise InputError(f"{type(scheduler).__name__} with prediction_type {predicts}: flow, epsilon or v_prediction fit")
