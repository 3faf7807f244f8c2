"""Gaussians that a network shifts by a code for each frame: `python -m tests.training.app FOLDER`, again to go on."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gs_reg.apps.runs.folder import Run
from gs_reg.apps.runs.training import Clock, SaveTimes, train
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.densify import DensityControl
from gs_reg.edit import Edit
from gs_reg.fit import FitConfig
from gs_reg.init.random import random_splats
from gs_reg.models.free import Free, FreeConfig
from gs_reg.optim import OptimConfig, ParameterGroup
from gs_reg.shot import Shot
from gs_reg.stages import Stage, Training
from gs_reg.terms import cost_of
from gs_reg.terms.photometric import L1, Ssim


class Shifted(nn.Module):
    def __init__(self, tensors):
        super().__init__()
        torch.manual_seed(0)
        rows = {name.removeprefix("free."): value for name, value in tensors.items() if name.startswith("free.")}
        self.free, self.codes, self.network = Free(rows, FreeConfig()), nn.Parameter(torch.randn(3, 2)), nn.Linear(5, 3)
        self.load_state_dict(tensors, strict=False)
        self.canonical, self.edit = self.free.forward, self.free.edit

    def forward(self, views):
        rows = self.free()
        inputs = torch.cat([rows.means.detach(), self.codes[views.frame].expand(len(rows), 2)], 1)
        return replace(rows, means=rows.means + 0.05 * self.network(inputs))

    def parameter_groups(self):
        network = ParameterGroup("network", list(self.network.parameters()), 1e-3)
        return [*self.free.parameter_groups(), ParameterGroup("codes", [self.codes], 1e-2, axis="frames"), network]


class CopyBrightest(DensityControl):
    copies = torch.zeros(())

    def step_post_backward(self, seen):
        if seen.step % 4 < 3:
            return None
        self.copies = self.copies + 1
        return Edit(torch.cat([torch.arange(len(seen.splats)), seen.splats.opacity_logits.argmax()[None]]))

    def tensors(self):
        return {"copies": self.copies}

    def load(self, tensors):
        self.copies = tensors["copies"]


def stages(views):
    def begin(before):
        start = random_splats([view.cameras for view in views], [(0.2, 0.5)] * len(views), 300, seed=0)
        rows = Free.from_splats(start, FreeConfig(opacity=0.1)).state_dict()
        return before or Shifted({f"free.{name}": value for name, value in rows.items()})

    def shoot(step):
        return Shot(views[step % len(views)])

    cost, more = cost_of({"l1": L1(), "ssim": Ssim()}), {"grow": {"density": CopyBrightest}}
    configs = {name: FitConfig(8, OptimConfig(selective=name == "last")) for name in ("first", "grow", "last")}
    return [Stage(n, config, shoot, cost, begin, Shifted, **more.get(n, {})) for n, config in configs.items()]


if __name__ == "__main__":
    run, scene = Run(Path(sys.argv[1])), box_and_sphere(Rig(width=40, height=30))
    views = [replace(view.to(dtype=torch.float32), frame=n % 3) for n, view in enumerate(scene.train)]
    with run.recorded("python -m tests.training.app"):
        train(run, Training.open(stages(views), run.checkpoints), Clock(), SaveTimes(every=1))
