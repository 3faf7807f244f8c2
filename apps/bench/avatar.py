"""`gs-reg bench avatar`: fields, Laplacian, composing, drawing, a step and a driven frame; beside torch, pytorch3d."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypedDict

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg.densify.clusters import ClusterConfig, ClusterControl
from gs_reg.fit import FitConfig, fit
from gs_reg.models.avatar import AvatarConfig
from gs_reg.models.avatar.compose import composed
from gs_reg.neighbors import gaussian_weights, laplacian_energy, make_graph, nearest
from gs_reg.optim import OptimConfig
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.avatar import AvatarTerms
from gs_reg.types import Cameras

from . import avatar_rivals as rivals
from .avatar_scene import AvatarScene, avatar_scene, with_still

MOST_MS = {"training step": 1500.0, "driven frame": 150.0, "baked frame": 30.0}
"""On two cores with the sizes of Config."""
WARM_UP = 2


@dataclass(frozen=True)
class Config:
    gaussians: int = 30_000
    width: int = 200
    height: int = 292
    cameras: int = 4
    """Of a training step."""
    neighbors: int = 16
    """Of the graph."""
    channels: int = 21
    """Of the Laplacian."""
    repeats: int = 7
    """Timed runs of each, of which the median counts."""
    threads: int = 2
    rivals: bool = True
    """Also plain torch, and pytorch3d where it is installed."""
    json: Path | None = None
    """File for the rows."""


class Row(TypedDict):
    job: str
    ms: float
    torch_ms: float | None
    """The same in plain torch."""
    pytorch3d_ms: float | None
    most_ms: float | None
    how: str


Rival = Callable[[], object] | None


def main(config: Config) -> int:
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        rows = list(measured(config))
    finally:
        torch.set_num_threads(before)
    print_rows(config, rows)
    if config.json:
        sizes = {name: value for name, value in vars(config).items() if name != "json"}
        found = {"isa": _ops.native_info()["isa"], "load_average": os.getloadavg()[0], **sizes, "rows": rows}
        config.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def measured(config: Config) -> Iterator[Row]:
    sizes, settings = (config.gaussians, config.width, config.height), AvatarConfig(neighbors=config.neighbors)
    scene = avatar_scene(*sizes, config.cameras, settings)
    network = avatar_scene(*sizes, config.cameras, settings, field="network")
    yield from graph_rows(config, scene)
    yield from bump_rows(config, scene)
    yield from network_rows(config, network)
    yield from frame_rows(config, scene)
    yield from frames_of(config, network, ", network")
    yield from baked_rows(config, scene)


def graph_rows(config: Config, scene: AvatarScene) -> Iterator[Row]:
    points, k = scene.avatar.means.detach(), config.neighbors
    yield timed(
        config, "neighbours", lambda: nearest(points, k), f"{k} nearest of each canonical point",
        lambda: rivals.neighbors_torch(points, k), rivals.neighbors_pytorch3d(points, k) if config.rivals else None,
    )  # fmt: skip
    index, distances = nearest(points, k)
    weights = gaussian_weights(distances)
    graph = make_graph(index, weights)
    features = torch.randn(len(points), config.channels)
    yield timed(
        config, "Laplacian", lambda: with_gradient(lambda x: laplacian_energy(x, graph), features),
        f"{config.channels} channels, with gradient; pytorch3d's has uniform weights",
        lambda: with_gradient(lambda x: rivals.laplacian_torch(x, index, weights), features),
        rivals.laplacian_pytorch3d(points, index, features) if config.rivals else None,
    )  # fmt: skip


@torch.no_grad()
def bump_rows(config: Config, scene: AvatarScene) -> Iterator[Row]:
    """Of the field in closed form and the detail field."""
    avatar, z = scene.avatar, scene.codes[1]
    coarse, detail, gates = avatar.coarse, avatar.detail, avatar.gates()
    assert coarse is not None and detail is not None
    x, label = avatar.means, avatar.label
    yield timed(
        config, "bumps with J", lambda: coarse.with_jacobian(x, label, gates, z),
        "coarse field in closed form: offsets and Jacobians",
        lambda: rivals.bumps_torch(coarse, x, label, gates, z),
    )  # fmt: skip
    yield timed(config, "detail field", lambda: detail(x, avatar.latent, gates, z), "all heads")
    base, motion = avatar.canonical(), avatar.motion(z, avatar.prepare())
    yield timed(config, "compose", lambda: composed(base, motion), "attributes of the splats from both fields")


@torch.no_grad()
def network_rows(config: Config, scene: AvatarScene) -> Iterator[Row]:
    """Of a coarse field that is a network."""
    avatar, z = scene.avatar, scene.codes[1]
    coarse, gates = avatar.coarse, avatar.gates()
    assert coarse is not None
    x, latent = avatar.means, avatar.latent
    yield timed(
        config, "network", lambda: coarse(x, latent, gates, z), "offsets",
        lambda: rivals.field_torch(coarse, x, latent, gates, z),
    )  # fmt: skip
    yield timed(
        config, "network with J", lambda: coarse.with_jacobian(x, latent, gates, z),
        "offsets and Jacobians; torch by three forward-mode products",
        lambda: rivals.jacobian_torch(coarse, x, latent, gates, z),
    )  # fmt: skip
    prepared = coarse.prepare(x, latent, gates)
    yield timed(config, "network with J, prepared", lambda: coarse.at(prepared, z), "as in a player")


def frame_rows(config: Config, scene: AvatarScene) -> Iterator[Row]:
    avatar, views = scene.avatar, scene.views
    cameras, one = avatar.cameras(views).detach(), avatar.cameras(views[0]).detach()
    with torch.no_grad():
        splats = avatar(views)
        yield timed(config, "render, 1 camera", lambda: render(splats, one), "drawing alone")
        yield timed(config, "render, all cameras", lambda: render(splats, cameras), f"{config.cameras} cameras")
    yield from frames_of(config, scene)
    with torch.no_grad():
        with_still(avatar)
        what = f"{float((~avatar.moving).float().mean()):.0%} of the Gaussians skip both fields"
        yield timed(config, "driven frame, still rows", driver(scene, one), what)
        avatar.moving.fill_(True)


def frames_of(config: Config, scene: AvatarScene, kind: str = "") -> Iterator[Row]:
    """A driven frame and a training step, with a coarse field of some kind."""
    one = scene.avatar.cameras(scene.views[0]).detach()
    with torch.no_grad():
        how = "fields, compose, drawing; 1 camera, new code"
        yield timed(config, f"driven frame{kind}", driver(scene, one), how)
    yield timed_steps(config, scene, kind)


def driver(scene: AvatarScene, camera: Cameras) -> Callable[[], Tensor]:
    """A player's frame: what does not depend on the code is prepared once."""
    prepared = scene.avatar.prepare()

    def frame() -> Tensor:
        return render(scene.avatar.deformed(scene.codes[2], prepared=prepared), camera, RenderConfig()).colors

    return frame


def baked_rows(config: Config, scene: AvatarScene) -> Iterator[Row]:
    """Of the linear basis that players have."""
    from .avatar_baked import baked_frame

    yield timed(config, "baked frame", baked_frame(scene), "linear basis, compose, drawing; 1 camera, new code")


def timed_steps(config: Config, scene: AvatarScene, kind: str) -> Row:
    avatar = scene.avatar
    density = ClusterControl(ClusterConfig(), torch.zeros(len(scene.codes), dtype=torch.long))
    state = State.begin(avatar, OptimConfig(selective=True), density)
    shot = Shot(scene.views, background=torch.zeros(3))
    ticks = [time.perf_counter()]
    for _ in fit(state, lambda _step: shot, cost_of(AvatarTerms()), FitConfig(WARM_UP + config.repeats)):
        ticks.append(time.perf_counter())
    times = [after - before for before, after in itertools.pairwise(ticks)][WARM_UP:]
    how = f"{config.cameras} cameras, all terms, density control's sums"
    return _row(f"training step{kind}", times, how)


def timed(
    config: Config, job: str, run: Callable[[], object], how: str, torch_run: Rival = None, pytorch3d_run: Rival = None
) -> Row:
    row = _row(job, seconds_of(run, config.repeats), how)
    if config.rivals:
        for name, rival in (("torch_ms", torch_run), ("pytorch3d_ms", pytorch3d_run)):
            if rival is not None:
                row[name] = round(1000 * median(seconds_of(rival, min(config.repeats, 3))), 2)
    return row


def seconds_of(run: Callable[[], object], repeats: int) -> list[float]:
    """Wall seconds, after a run that warms up."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def with_gradient(function: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    leaf = features.detach().requires_grad_()
    function(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad


def _row(job: str, times: list[float], how: str) -> Row:
    return {
        "job": job,
        "ms": round(1000 * median(times), 2),
        "torch_ms": None,
        "pytorch3d_ms": None,
        "most_ms": MOST_MS.get(job),
        "how": how,
    }


def print_rows(config: Config, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{config.gaussians:,} Gaussians, {config.width}x{config.height}; threads: {config.threads}"
    table = Table("job", "ms", "torch", "pytorch3d", "at most", "how", title=title)
    for row in rows:
        numbers = [row["ms"], row["torch_ms"], row["pytorch3d_ms"], row["most_ms"]]
        table.add_row(row["job"], *("-" if n is None else f"{n:,.1f}" for n in numbers), row["how"])
    Console(width=150).print(table)
