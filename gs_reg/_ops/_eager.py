"""Operators of torch.library, called past it where plain tensors come in: for a small picture the dispatcher's way
through Python takes longer than the kernels."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import itemgetter

import torch

from gs_reg._ops._pages import PLAIN

DEVICES = ("cpu", "cuda")
"""Where both libraries have the operators."""


class Operator:
    """A function of tensors as an operator for torch.compile, export, vmap and modes, and itself otherwise.

    Both ways share the function and its gradient, which may return lists for parameters that are lists of tensors.
    """

    def __init__(self, name: str, function: Callable):
        self.library_op = torch.library.custom_op(name, function, mutates_args=(), device_types=DEVICES)
        self.function = function
        self.defaults = function.__defaults__ or ()
        kinds = [p.annotation for p in inspect.signature(function, eval_str=True).parameters.values()]
        self.parameters, self.required = len(kinds), len(kinds) - len(self.defaults)
        # the first again, as one alone would not be a tuple
        self.tensors = itemgetter(0, *[i for i, kind in enumerate(kinds) if kind not in (bool, int, float)])
        self.differentiable: Callable | None = None
        functools.update_wrapper(self, function)

    def register_fake(self, fake: Callable) -> Callable:
        """As torch.library.CustomOpDef has it."""
        return self.library_op.register_fake(fake)

    def register_autograd(self, backward: Callable, *, setup_context: Callable) -> None:
        """As torch.library.CustomOpDef has it."""
        self.library_op.register_autograd(backward, setup_context=setup_context)
        self.differentiable = _differentiable(self.function, setup_context, backward)

    def __call__(self, *args, **kwargs):
        if torch.compiler.is_compiling() or kwargs or len(args) < self.required or _is_watched():
            return self.library_op(*args, **kwargs)
        if not _are_plain(self.tensors(args)):
            return self.library_op(*args)
        if not (torch.is_grad_enabled() and torch._C._any_requires_grad(*args)):
            return self.function(*args)
        if self.differentiable is None:  # gives results that tell in backward what has no gradient
            return self.library_op(*args)
        left_out = self.parameters - len(args)
        return self.differentiable(*args, *self.defaults[len(self.defaults) - left_out :])


def operator(name: str) -> Callable[[Callable], Operator]:
    """Makes a function an operator of that name, as torch.library.custom_op does."""
    return lambda function: Operator(name, function)


def _is_watched() -> bool:
    """Whether a mode, a transform of torch.func or a tracer is to see what is called."""
    return (
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._get_tracing_state() is not None
    )


def _are_plain(values: Sequence) -> bool:
    """Whether all tensors, where given, are nothing but memory on a device that we have kernels for."""
    for value in values:
        kind = type(value)
        if kind in PLAIN:
            if not (value.is_cpu or value.is_cuda) or value.is_neg():
                return False
        elif kind is list or kind is tuple:
            if not _are_plain(value):
                return False
        elif value is not None:
            return False
    return True


def _differentiable(function: Callable, setup: Callable, backward: Callable) -> Callable:
    class Node(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *args):
            output = function(*args)
            setup(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx, *grads):
            return tuple([None if type(grad) is list else grad for grad in backward(ctx, *grads)])

        @classmethod
        def past_functorch(cls, *args):
            """As `apply`, which looks for what torch.func needs on each call."""
            return super(torch.autograd.Function, cls).apply(*args)  # pyright: ignore[reportAttributeAccessIssue]

    return type(function.__name__, (Node,), {}).past_functorch
