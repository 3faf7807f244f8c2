"""What a pipeline needs of a device's memory, from its files alone; and where its networks may lie within a budget."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from gs_reg.errors import InputError, reading

from .families import FAMILIES
from .loading import WEIGHTS, Contents, variant_of

Mode = Literal["resident", "swapped", "streamed"]
"""All on the device; encoders and network in turn; blocks of the network and layers of encoders one at a time."""
CONTEXT = 0.6e9
"""Bytes that CUDA and its libraries take for themselves."""
ENCODED = 18
"""Copies of the VAE's widths x pixels that its encoder keeps for a gradient (13 to 15) and needs at its peak."""
DECODED = 8
"""Copies of its finest features that the decoder needs."""
BLOCK = 14
"""Copies of a transformer's tokens in one block, its MLP of 4 widths included."""
FLOORS = 24
"""Copies of a UNet's finest features: those kept for the way up, and attention's MLP."""
TEXT_ROWS = 512
SIDES = (768, 512, 384, 256, 192, 128, 96, 64)
GB = 1e9


@dataclass(frozen=True)
class Use:
    """What is asked for at once."""

    side: int
    """Of the pictures, in pixels."""
    pictures: int = 1
    batch: int = 3
    """Predictions a picture: with and without the prompt, and a reference's."""
    gradient: bool = True
    """Through the VAE's encoder, as score distillation needs it."""


@dataclass(frozen=True)
class Needs:
    """Bytes."""

    network: float
    encoders: float
    vae: float
    block: float
    """The largest part of the network or of an encoder that streaming holds."""
    work: float
    """Activations at the peak."""
    context: float

    def total(self, mode: Mode) -> float:
        held = {
            "resident": self.network + self.encoders,
            "swapped": max(self.network, self.encoders),
            "streamed": self.block,
        }
        return held[mode] + self.vae + self.work + self.context


def needs(contents: Contents, dtype: torch.dtype, use: Use, context: float = CONTEXT) -> Needs:
    """An estimate on the high side; nothing is loaded."""
    weights = {name: _weights(contents, name, 4 if name == "vae" else dtype.itemsize) for name in contents.classes}
    network = next(name for name, kind in contents.classes.items() if kind in FAMILIES)
    encoders = {name: sizes for name, sizes in weights.items() if name.startswith("text_encoder")}
    return Needs(
        network=sum(weights[network].values()),
        encoders=sum(sum(sizes.values()) for sizes in encoders.values()),
        vae=sum(weights["vae"].values()),
        block=max(_streamed(sizes) for sizes in [weights[network], *encoders.values()]),
        work=_work(contents, network, dtype.itemsize, use),
        context=context,
    )


def choose(contents: Contents, dtype: torch.dtype, device: torch.device, vram_gb: float | None, use: Use) -> Mode:
    """The fastest mode within the budget; None: what is free.

    Raises:
        InputError: none is; says what to lower, or how much would do.
    """
    if device.type == "meta":
        return "resident"
    gpu = device.type == "cuda"
    budget = vram_gb * GB if vram_gb is not None else _free(device)
    needed = needs(contents, dtype, use, CONTEXT if gpu else 0.0)
    modes: tuple[Mode, ...] = ("resident", "swapped", "streamed") if gpu else ("resident",)
    for mode in modes:
        if needed.total(mode) <= budget:
            return mode
    least = needed.total(modes[-1])
    smaller = {side: least - needed.work + _work_at(contents, dtype, use, side) for side in SIDES if side < use.side}
    side = next((side for side, total in smaller.items() if total <= budget), None)
    how = f"for {use.side} x {use.side} pictures" + (", its blocks one at a time" if gpu else "")
    lower = f"lower the resolution to {side}" if side else "take a smaller model"
    raise too_little(contents, least, vram_gb, budget, how, lower)


def choose_for_editor(contents: Contents, dtype: torch.dtype, device: torch.device, vram_gb: float | None) -> Mode:
    """For a pipeline of any family that is called whole; counts its weights alone.

    Raises:
        InputError: the largest of its parts is over the budget.
    """
    if vram_gb is None:
        return "resident"
    sizes = [sum(_weights(contents, name, dtype.itemsize).values()) for name in contents.classes]
    context = CONTEXT if device.type == "cuda" else 0.0
    if sum(sizes) + context <= vram_gb * GB:
        return "resident"
    if device.type == "cuda" and max(sizes) + context <= vram_gb * GB:
        return "swapped"
    least = context + (max(sizes) if device.type == "cuda" else sum(sizes))
    raise too_little(contents, least, vram_gb, 0.0, "for its weights alone", "take another editor")


def too_little(
    contents: Contents, least: float, vram_gb: float | None, free: float, how: str, lower: str
) -> InputError:
    given = f"--vram-gb is {vram_gb:g}" if vram_gb is not None else f"{free / GB:.1f} GB are free"
    more = f"raise --vram-gb to {least / GB * 1.05:.2g}" if vram_gb is not None else "free memory"
    return InputError(f"{contents.folder}: needs about {least / GB:.2g} GB {how}, and {given}: {lower}, or {more}")


def limit(device: torch.device, vram_gb: float | None) -> None:
    """Allocations of this process beyond the budget fail from now on, on GPUs."""
    if vram_gb is not None and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, vram_gb * GB / total), device)


def _work_at(contents: Contents, dtype: torch.dtype, use: Use, side: int) -> float:
    return needs(contents, dtype, replace(use, side=side)).work


def _free(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    lines = Path("/proc/meminfo")
    if not lines.is_file():
        return float("inf")
    found = [line.split()[1] for line in lines.read_text().splitlines() if line.startswith("MemAvailable")]
    return float(found[0]) * 1024 if found else float("inf")


def _weights(contents: Contents, name: str, itemsize: int) -> dict[str, float]:
    """Bytes of each tensor once it is loaded."""
    folder = contents.folder / name
    files = [f for f in folder.glob("*") if f.suffix in WEIGHTS] if contents.classes[name] is not None else []
    wanted = contents.variant() if files and all(variant_of(f.name) for f in files) else None
    files = [f for f in files if variant_of(f.name) == wanted]
    tensors = [f for f in files if f.suffix == ".safetensors"]
    sizes: dict[str, float] = {}
    for file in tensors or files:
        if file.suffix == ".safetensors":
            sizes |= {key: n * itemsize for key, n in _counts(file).items()}
        else:
            sizes[file.name] = float(file.stat().st_size)
    return sizes


def _counts(file: Path) -> dict[str, int]:
    """Numbers in each tensor, from the header."""
    with reading(file), file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > file.stat().st_size:
            raise InputError(f"{file}: not a file of safetensors, or cut off")
        header = json.loads(opened.read(length))
        return {key: torch.Size(t["shape"]).numel() for key, t in header.items() if key != "__metadata__"}


def _streamed(sizes: dict[str, float]) -> float:
    """What stays on the device, and the largest block: those of a list go and come by their number."""
    blocks: dict[str, float] = {}
    kept = 0.0
    for key, size in sizes.items():
        parts = key.split(".")
        at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if at is None:
            kept += size
        else:
            name = ".".join(parts[: at + 1])
            blocks[name] = blocks.get(name, 0.0) + size
    return kept + max(blocks.values(), default=0.0)


def _work(contents: Contents, network: str, itemsize: int, use: Use) -> float:
    vae, config = _config(contents, "vae"), _config(contents, network)
    with reading(contents.folder):
        widths = [int(w) for w in vae["block_out_channels"]]
        pixels = [use.side**2 / 4**i * width * 4 for i, width in enumerate(widths)]
        picture = DECODED * use.side**2 * widths[min(1, len(widths) - 1)] * 4
        if use.gradient:
            picture = max(picture, ENCODED * sum(pixels) * use.pictures)
        latents = (use.side / 2 ** (len(widths) - 1)) ** 2
        if "block_out_channels" in config:
            one = FLOORS * latents * int(config["block_out_channels"][0])
        else:
            patch = 2 if contents.classes[network] == "FluxTransformer2DModel" else int(config["patch_size"])
            width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
            one = BLOCK * (latents / patch**2 + TEXT_ROWS) * width
        return max(picture, one * itemsize * use.batch * use.pictures)


def _config(contents: Contents, name: str) -> dict[str, Any]:
    path = contents.folder / name / "config.json"
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))
