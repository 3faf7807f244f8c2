"""L1 and SSIM of images in one pass that also leaves the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point, takes_session
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty_as


class Photometry(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads width height channels
        i64 C stride
        ptr image target mask sums ssim_gradient
        f64 scale_l1 scale_ssim
        ptr v_image scales
    """)


def _pixels(image: Tensor) -> tuple[Tensor, int]:
    """The image and its distance between pixels: a slice of the channels of a larger image is read in place."""
    H, W = image.shape[1:3]
    pitch = image.stride(2)
    if image.numel() and pitch >= image.shape[3] and image.stride() == (H * W * pitch, W * pitch, pitch, 1):
        return image, pitch
    return image.contiguous(), image.shape[3]


def _photometry(image: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Photometry, list]:
    """The struct, and the tensors it points to."""
    C, H, W, D = image.shape
    image, pitch = _pixels(image)
    target, mask = target.contiguous(), None if mask is None else mask.contiguous()
    args = Photometry(**common(image), width=W, height=H, channels=D, C=C, stride=pitch)
    point(args, image=image, target=target, mask=mask)
    return args, [image, target, mask]


@operator("gs_reg::photometric")
def photometric(
    image: Tensor, target: Tensor, mask: Tensor | None, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means of |image - target| and of 1 - SSIM over the pixels of `mask` [C,H,W] (bool), 0 where none counts; their
    number of values; and the gradient of the summed 1 - SSIM (empty unless asked for)."""
    args, _alive = _photometry(image, target, mask)
    l1, dssim, count, gradient = _photometric_outputs(image, with_gradient)
    sums = image.new_empty(3, dtype=torch.float64)
    point(args, sums=sums, ssim_gradient=gradient if with_gradient else None)
    call("gsr_photometric", args, image)
    of_l1, of_dssim, number = sums.unbind()
    torch.clamp_min(number, 1, out=count)
    return torch.div(of_l1, count, out=l1), torch.div(of_dssim, count, out=dssim), count, gradient


def _photometric_outputs(image: Tensor, with_gradient: bool):
    gradient = empty_as(image) if with_gradient else image.new_empty(0)
    return image.new_empty(()), image.new_empty(()), image.new_empty((), dtype=torch.float64), gradient


@photometric.register_fake
def _(image, target, mask, with_gradient):
    return _photometric_outputs(image, with_gradient)


@operator("gs_reg::photometric_vjp")
def photometric_vjp(
    image: Tensor,
    target: Tensor,
    mask: Tensor | None,
    count: Tensor,
    ssim_gradient: Tensor,
    v_l1: Tensor,
    v_dssim: Tensor,
) -> Tensor:
    """Gradient of the image."""
    scales = torch.stack([v_l1, v_dssim]) / count.expand(2)  # of one dimension, so that the result is float64 as well
    args, _alive = _photometry(image, target, mask)
    if takes_session(image):  # no number may come to the host, which would wait for it
        point(args, scales=scales)
    else:
        args.scale_l1, args.scale_ssim = scales.tolist()
    out = empty_as(image)
    point(args, ssim_gradient=ssim_gradient, v_image=out)
    call("gsr_photometric_vjp", args, image)
    return out


@photometric_vjp.register_fake
def _(image, target, mask, count, ssim_gradient, v_l1, v_dssim):
    return torch.empty_like(ssim_gradient)


def _setup(ctx, inputs, output):
    image, target, mask, ctx.with_gradient = inputs
    _l1, _dssim, count, gradient = output
    ctx.mark_non_differentiable(count, gradient)
    ctx.save_for_backward(image, target, mask, count, gradient)


def _backward(ctx, v_l1, v_dssim, _v_count, _v_gradient):
    if not ctx.with_gradient:
        raise RuntimeError("photometric: called without with_gradient, so there is none")
    return photometric_vjp(*ctx.saved_tensors, v_l1, v_dssim), None, None, None


photometric.register_autograd(_backward, setup_context=_setup)
