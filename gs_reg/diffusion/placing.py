"""Networks on a device all at once, in turn, or block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .memory import Mode


class Placement:
    """Of a pipeline's networks; the VAE is always on the device, as its gradients are wanted."""

    def __init__(self, pipe: Any, network: str, device: torch.device, mode: Mode):
        self.device, self.mode = device, mode
        self.network: nn.Module = getattr(pipe, network)
        self._pipe = pipe
        pipe.vae.to(device)
        if mode == "streamed":
            for module in (self.network, *self.encoders()):
                stream(module, lambda t: t.to(device))
        else:
            self.network.to(device)
            for encoder in self.encoders() if mode == "resident" else ():
                encoder.to(device)

    def encoders(self) -> list[nn.Module]:
        parts = self._pipe.components.items()
        return [part for name, part in parts if name.startswith("text_encoder") and part is not None]

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """The block uses the text encoders."""
        if self.mode != "swapped":
            yield
            return
        self.network.to("cpu")
        try:
            for encoder in self.encoders():
                encoder.to(self.device)
            yield
        finally:
            for encoder in self.encoders():
                encoder.to("cpu")
            self.network.to(self.device)


def stream(module: nn.Module, moved: Callable[[Tensor], Tensor]) -> None:
    """Blocks of the module's lists are moved when they are called, and their copies dropped after it; the rest at once.

    For frozen networks without gradients: nothing is copied back.
    """
    blocks = list(_blocks(module))
    inside = {id(t) for block in blocks for t in _tensors(block)}
    for tensor in _tensors(module):
        if id(tensor) not in inside:
            tensor.data = moved(tensor.data)
    for block in blocks:
        _stream_block(block, moved)


def _stream_block(block: nn.Module, moved: Callable[[Tensor], Tensor]) -> None:
    homes = [(tensor, tensor.data) for tensor in _tensors(block)]

    def come(*_: Any) -> None:
        for tensor, home in homes:
            tensor.data = moved(home)

    def go(*_: Any) -> None:
        for tensor, home in homes:
            tensor.data = home

    block.register_forward_pre_hook(come)
    block.register_forward_hook(go, always_call=True)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Elements of the outermost lists."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
