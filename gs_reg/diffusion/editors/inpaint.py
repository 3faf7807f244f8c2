"""Inpainting pipelines of diffusers, called with whichever of our arguments their signature has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError, MissingPart

from ..libraries import diffusers, quiet
from ..loading import Contents, read_pipeline
from ..model import DiffusionModel
from ..pasting import padded, paste
from ..settings import TeacherSettings, read_settings

NETWORKS = ("transformer", "unet")


@dataclass(frozen=True)
class InpaintConfig:
    steps: int = 28
    guidance: float = 7.0
    strength: float = 1.0
    """Share of the noise path."""


class InpaintEditor:
    """A pipeline of diffusers."""

    views: tuple[str, ...] | None = None

    def __init__(
        self,
        pipe: Any,
        device: torch.device | str,
        config: InpaintConfig = InpaintConfig(),
        model: DiffusionModel | None = None,
        settings: TeacherSettings | None = None,
    ):
        """`model`: whose text and components the pipeline shares; else the pipeline reads prompts itself, with the zero
        rows of `settings` where it has no T5.

        Raises:
            InputError: a pipeline that takes no mask, or needs what is not known here.
        """
        self.pipe: Any = pipe
        self.device, self.config, self.model = torch.device(device), config, model
        self._settings = settings
        self.calls = 0
        self.notes: list[str] = []
        self._takes = inspect.signature(pipe.__call__).parameters
        known = set(self._arguments(torch.zeros(8, 8, 3), torch.zeros(8, 8).bool(), None, "", "", 0, 1.0))
        needed = {n for n, p in self._takes.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
        if not {"image", "mask_image"} <= self._takes.keys() or needed - known:
            raise InputError(f"{type(pipe).__name__} is no pipeline that fills a mask in a picture after a prompt")
        pipe.set_progress_bar_config(disable=True)
        self._hook = _network(pipe).register_forward_hook(self._count, with_kwargs=True)

    @classmethod
    def of_folder(
        cls,
        contents: Contents,
        device: torch.device | str,
        dtype: torch.dtype,
        config: InpaintConfig = InpaintConfig(),
        swapped: bool = False,
    ) -> InpaintEditor:
        """Any folder whose pipeline, or the one that AutoPipelineForInpainting finds for it, fills masks.

        `swapped`: its parts come to the device in turn.

        Raises:
            InputError: there is none.
            MissingPart: accelerate, which swaps.
        """
        own = getattr(diffusers(), contents.pipeline, None)
        masks = own is not None and "mask_image" in inspect.signature(own.__call__).parameters
        opener = own if masks else diffusers().AutoPipelineForInpainting
        pipe = read_pipeline(contents, opener, dtype, ("safety_checker",))
        if swapped:
            try:
                pipe.enable_model_cpu_offload(device=device)
            except ImportError as error:
                raise MissingPart(
                    f"{contents.folder}: within --vram-gb only by turns: pip install accelerate"
                ) from error
        else:
            pipe.to(device)
        return cls(pipe, device, config, settings=read_settings(contents.folder))

    @classmethod
    def of_model(cls, model: DiffusionModel, config: InpaintConfig = InpaintConfig()) -> InpaintEditor:
        """SD3's inpainting with the model's networks, of which there is no second copy.

        Raises:
            InputError: the model is no SD3.
        """
        if type(model.network).__name__ != "SD3Transformer2DModel":
            raise InputError(
                f"sd3-inpaint: the model's network is {type(model.network).__name__}: --editor diffusers:FOLDER fits it"
            )
        parts = model.pipe.components
        # its own scheduler, whose steps a call sets; the text comes encoded, so that no encoder need be near
        pipe = diffusers().StableDiffusion3InpaintPipeline(
            transformer=parts["transformer"],
            vae=parts["vae"],
            scheduler=type(parts["scheduler"]).from_config(parts["scheduler"].config),
            **dict.fromkeys(n for n in parts if n.startswith(("text_encoder", "tokenizer"))),
        )
        return cls(pipe, model.device, config, model)

    @torch.no_grad()
    def edit(
        self,
        image: Float[Tensor, "H W 3"],
        mask: Bool[Tensor, "H W"],
        depth: Float[Tensor, "H W"] | None,
        prompt: str,
        negative: str,
        reference: Float[Tensor, "H W 3"] | None,
        seed: int,
        *,
        view: str = "",
        start: float = 1.0,
    ) -> Float[Tensor, "H W 3"]:
        if not mask.any():
            return image.clone()
        step = 2 * getattr(self.pipe, "vae_scale_factor", 8)
        wide, wide_mask = padded(image, step), padded(mask[..., None].float(), step)[..., 0] > 0.5
        wide_depth = None if depth is None else padded(depth[..., None], step)[..., 0]
        arguments = self._arguments(wide, wide_mask, wide_depth, prompt, negative, seed, start)
        half = self.model is not None and self.model.dtype != torch.float32
        mixed = torch.autocast(self.device.type, self.model.dtype) if half and self.model else nullcontext()
        with quiet(), mixed:  # the model's VAE is in float32, the pipeline would give it halves
            made = self.pipe(**{name: value for name, value in arguments.items() if name in self._takes}).images[0]
        out = torch.from_numpy(made).to(image)
        if out.shape != wide.shape:
            raise InputError(f"{type(self.pipe).__name__} made {tuple(out.shape)} of {tuple(wide.shape)}")
        return paste(out[: image.shape[0], : image.shape[1]], image, mask)

    def close(self) -> None:
        self._hook.remove()
        self.pipe = None

    def _arguments(
        self,
        image: Float[Tensor, "H W 3"],
        mask: Bool[Tensor, "H W"],
        depth: Float[Tensor, "H W"] | None,
        prompt: str,
        negative: str,
        seed: int,
        start: float,
    ) -> Mapping[str, Any]:
        """All that a pipeline may want to be told."""
        steps, height, width = self.config.steps, image.shape[0], image.shape[1]
        words: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
        if self._settings is not None and getattr(self.pipe, "text_encoder_3", None) is None:
            words["max_sequence_length"] = self._settings.zero_rows
        if self.model is not None:
            text, null = self.model.text([prompt]), self.model.text([negative])
            words = {"prompt_embeds": text.rows, "pooled_prompt_embeds": text.pooled}
            words |= {"negative_prompt_embeds": null.rows, "negative_pooled_prompt_embeds": null.pooled}
        if type(self.pipe.scheduler).__name__.startswith("FlowMatch"):
            words["sigmas"] = [1 - i / steps for i in range(steps)]  # else the low end is shifted twice
        if depth is not None:
            near = 1 / depth.clamp(min=1e-6)
            words |= {"control_image": _picture((near / near.max())[..., None].expand(-1, -1, 3))}
        return {
            **words,
            "image": _picture(image),
            "mask_image": _picture(mask[..., None].float().expand(-1, -1, 3)).convert("L"),
            "height": height,
            "width": width,
            "num_inference_steps": steps,
            "guidance_scale": self.config.guidance,
            "strength": min(1.0, self.config.strength * start),
            "generator": torch.Generator().manual_seed(seed),
            "output_type": "np",
        }

    def _count(self, _module: Any, args: tuple, kwargs: Mapping[str, Any], _out: Any) -> None:
        shown = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
        count = len(shown) if shown is not None else 1
        self.calls += count
        if self.model is not None:
            self.model.calls_by_purpose["sd3-inpaint"] += count


def _network(pipe: Any) -> torch.nn.Module:
    for name in NETWORKS:
        if isinstance(getattr(pipe, name, None), torch.nn.Module):
            return getattr(pipe, name)
    raise InputError(f"{type(pipe).__name__} has no {' or '.join(NETWORKS)}")


def _picture(pixels: Float[Tensor, "H W 3"]) -> Any:
    from PIL import Image

    return Image.fromarray((pixels.clamp(0, 1) * 255).round().byte().cpu().numpy())
