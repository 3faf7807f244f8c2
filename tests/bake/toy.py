"""A face of some Gaussians that a closed formula moves: a jaw that turns, a smile, a blush, a blink."""

import math

import torch

from gs_reg.sh import C0
from gs_reg.types import Cameras, Splats

CHANNELS = ("jaw", "smile", "blush", "blink")
NEUTRAL = torch.zeros(4)
UNIT_M = 0.25
JAW = 0.5
"""Radians at a jaw of 1."""


def cloud(n=2000, degree=1, seed=0) -> Splats:
    """Flat splats on the front half of an ellipsoid, x to the subject's left, y up, z out of the face."""
    g = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(n, 3, generator=g), dim=1)
    direction[:, 2] = direction[:, 2].abs()
    means = direction * torch.tensor([0.3, 0.4, 0.3])
    normal = torch.nn.functional.normalize(direction / torch.tensor([0.3, 0.4, 0.3]), dim=1)
    # the quaternion that carries z to the normal
    quats = torch.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], torch.zeros(n)], dim=1)
    sizes = torch.tensor([0.02, 0.014, 0.003]) * (48 / n) ** 0.25 * (0.7 + 0.6 * torch.rand(n, 3, generator=g))
    rgb = 0.5 + 0.35 * torch.sin(means @ torch.tensor([[9.0, 4, 0], [2, 11, 7], [5, 0, 13]]))
    sh = torch.zeros(n, (degree + 1) ** 2, 3)
    sh[:, 0] = (rgb - 0.5) / C0
    if degree:
        sh[:, 1:4] = 0.1 * torch.randn(n, 3, 3, generator=g)
    return Splats(means, quats, sizes.log(), torch.full((n,), 2.0), sh)


def deformed(z: torch.Tensor, base: Splats) -> Splats:
    """The cloud under a code; its warps are the Jacobian of what moves it."""
    jaw, smile, blush, blink = z.unbind()

    def moved(x: torch.Tensor) -> torch.Tensor:
        share = torch.sigmoid(-12 * (x[:, 1] + 0.08))  # below the lips
        angle = JAW * jaw * share
        c, s = angle.cos(), angle.sin()
        turned = torch.stack([x[:, 0], c * x[:, 1] - s * x[:, 2], s * x[:, 1] + c * x[:, 2]], dim=1)
        corner = torch.exp(-(((x[:, :2].abs() - x.new_tensor([0.12, 0.1])) / 0.09) ** 2).sum(1))
        return turned + smile * corner[:, None] * torch.stack(
            [0.05 * x[:, 0].sign(), 0 * corner + 0.04, 0 * corner - 0.02], dim=1
        )

    with torch.enable_grad():
        x = base.means.clone().requires_grad_()
        y = moved(x)
        rows = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(3)]
    eye = torch.exp(-(((base.means[:, :2].abs() - torch.tensor([0.11, 0.12])) / 0.05) ** 2).sum(1))
    cheek = torch.exp(-(((base.means[:, :2].abs() - torch.tensor([0.16, -0.02])) / 0.08) ** 2).sum(1))
    sh = base.sh.clone()
    sh[:, 0, 0] += blush * 0.3 / C0 * cheek
    return Splats(
        y.detach(), base.quats, base.log_scales, base.opacity_logits - 3 * blink * eye, sh, {}, torch.stack(rows, 1)
    )


def codes(count: int, seed=0) -> torch.Tensor:
    """Smooth walks within 0 and 1."""
    g = torch.Generator().manual_seed(seed)
    phase, speed = torch.rand(4, generator=g) * 6.28, 0.05 + 0.15 * torch.rand(4, generator=g)
    return 0.5 - 0.5 * torch.cos(torch.arange(count)[:, None] * speed + phase)


def camera(width=160, height=120) -> Cameras:
    up = torch.tensor([0.0, 1, 0])
    return Cameras.look_at(torch.tensor([0.3, 0.1, 2.0]), torch.zeros(3), up, math.radians(28), width, height)
