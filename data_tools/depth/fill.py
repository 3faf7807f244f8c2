"""Edge-aware completion of inverse depth: a weighted least-squares problem on the pixel grid.

The data term weighs measured pixels by their variance, the smoothness term neighbours by the likeness of their colours.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

EDGE = 0.05
"""RGB distance (of images in [0, 1]) at which the smoothness weight of neighbours is 1/e."""


def fill_inverse_depth(
    w: Float[Tensor, "H W"],
    sd: Float[Tensor, "H W"],
    image: Float[Tensor, "H W 3"],
    smooth: float = 1.0,
    prior: Float[Tensor, "H W"] | None = None,
    start: Float[Tensor, "H W"] | None = None,
    cut: tuple[Bool[Tensor, "H V"], Bool[Tensor, "U W"]] | None = None,
    rounds: int = 300,
) -> Float[Tensor, "H W"]:
    """Minimise sum k (x - w)^2 + smooth sum e_pq ((x_p - m_p) - (x_q - m_q))^2 by conjugate gradients.

    k = 1/sd^2 relative to its median over measured pixels; sd infinite = not measured. e = exp(-|I_p - I_q| / 0.05).
    m is `prior`, an inverse depth of right shape (from a network), 0 without. `start` is a first guess. `cut` marks
    pairs of neighbours (left-right, up-down) that lie on two surfaces: their weight is all but 0.
    """
    known = torch.isfinite(sd)
    if not known.any():
        raise ValueError("fill_inverse_depth: expected measured pixels (finite sd), got none")
    m = torch.zeros_like(w, dtype=torch.float64) if prior is None else prior.double()
    target = torch.where(known, w.double(), 0.0) - torch.where(known, m, 0.0)
    k = torch.where(known, (sd[known].double().median() / sd.double()).square(), 0.0)
    weight_x, weight_y = (smooth * e for e in _smoothness_weights(image.double(), cut))
    x = (_spread(target, known) if start is None else start.double() - m).clone()
    diagonal = (
        k
        + F.pad(weight_x, (1, 0))
        + F.pad(weight_x, (0, 1))
        + F.pad(weight_y, (0, 0, 1, 0))
        + F.pad(weight_y, (0, 0, 0, 1))
    )
    diagonal = diagonal.clamp_min(1e-12)

    def apply(v: Tensor) -> Tensor:
        across, down = weight_x * (v[:, 1:] - v[:, :-1]), weight_y * (v[1:] - v[:-1])
        out = k * v
        out[:, 1:] += across
        out[:, :-1] -= across
        out[1:] += down
        out[:-1] -= down
        return out

    # conjugate gradients with the diagonal as preconditioner: the variances span many orders of magnitude
    residual = k * target - apply(x)
    step = residual / diagonal
    energy = (residual * step).sum()
    goal = 1e-12 * (k * target.square()).sum()
    for _ in range(rounds):
        if energy <= goal:
            break
        moved = apply(step)
        length = energy / (step * moved).sum()
        x += length * step
        residual -= length * moved
        scaled = residual / diagonal
        energy, before = (residual * scaled).sum(), energy
        step = scaled + energy / before * step
    return (x + m).to(w.dtype)


def _smoothness_weights(
    image: Float[Tensor, "H W 3"], cut: tuple[Bool[Tensor, "H V"], Bool[Tensor, "U W"]] | None
) -> tuple[Float[Tensor, "H V"], Float[Tensor, "U W"]]:
    # The floor keeps an island without a measured pixel from being singular.
    weight_x = torch.exp(-(image[:, 1:] - image[:, :-1]).norm(dim=-1) / EDGE).clamp_min(1e-5)
    weight_y = torch.exp(-(image[1:] - image[:-1]).norm(dim=-1) / EDGE).clamp_min(1e-5)
    if cut is not None:
        weight_x, weight_y = weight_x.masked_fill(cut[0], 1e-5), weight_y.masked_fill(cut[1], 1e-5)
    return weight_x, weight_y


def _spread(values: Float[Tensor, "H W"], known: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Every pixel takes the value of the nearest known one."""
    from scipy.ndimage import distance_transform_edt

    indices = distance_transform_edt(~known.numpy(), return_distances=False, return_indices=True)
    y, x = torch.from_numpy(np.asarray(indices)).long()
    return values[y, x]
