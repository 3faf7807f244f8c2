"""Train splats on three photos with a loss term of your own: python docs/examples/own_term.py [STEPS]"""

import sys
from dataclasses import dataclass, replace

import torch

import gs_reg
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.init.random import random_splats
from gs_reg.terms.photometric import L1, Ssim


@dataclass(frozen=True)
class Roundness:
    """Mean of what the longest axis is more than twice the middle one, in log-scales: against needles."""

    weight: float = 0.0

    def __call__(self, context: gs_reg.Context) -> torch.Tensor:
        ordered = context.splats.log_scales.sort(dim=1).values
        return (ordered[:, 2] - ordered[:, 1] - 2**0.5 / 2).relu().mean()


def main(steps: int) -> dict[float, tuple[float, float]]:
    """PSNR of held-out photos, and how long the splats are, by the weight of the term."""
    scene = box_and_sphere(Rig(width=64, height=48))  # ray-cast photos of a box and a ball in a room
    train = [view.to(dtype=torch.float32) for view in scene.train]
    start = random_splats([view.cameras for view in train], [(0.2, 0.5)] * len(train), count=1000, seed=0)
    results = {}
    for weight in (0.0, 0.1):
        model = gs_reg.Free.from_splats(start, gs_reg.FreeConfig(opacity=0.1))
        config = gs_reg.FitConfig(steps)
        state = gs_reg.State.begin(model, config.optim)
        cost = gs_reg.cost_of({"l1": L1(), "ssim": Ssim(), "round": Roundness(weight)})
        for step in gs_reg.fit(state, lambda n: gs_reg.Shot(train[n % len(train)]), cost, config):
            if (step.number + 1) % 20 == 0:
                print(f"step {step.number + 1}: " + ", ".join(f"{name} {v:.4f}" for name, v in step.values.items()))
        splats = model.canonical().detach()
        ordered = splats.log_scales.sort(dim=1).values
        length = float((ordered[:, 2] - ordered[:, 1]).exp().mean())
        views = [replace(view, masks=None).to(dtype=torch.float32) for view in scene.test]
        figures = [gs_reg.metrics.psnr(gs_reg.render(splats, view.cameras).colors, view.photos) for view in views]
        results[weight] = float(torch.cat(figures).mean()), length
        print(f"weight {weight}: held-out PSNR {results[weight][0]:.2f} dB, axes 1 : {length:.2f}")
    return results


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
