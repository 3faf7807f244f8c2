"""`gs-reg reconstruct`: photos -> cameras -> depth -> one Gaussian a pixel -> training -> splats, figures, report."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from gs_reg.data_tools.dataset import Dataset, ReadConfig, load_scene, read_dataset
from gs_reg.data_tools.depth import DepthConfig, DepthMap, estimate_depths
from gs_reg.errors import InputError, MissingPart
from gs_reg.fit import FitConfig, Step, fit, shuffled
from gs_reg.io import checkpoint, save_splats
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.optim import load_optimizer, make_optimizer, optimizer_tensors
from gs_reg.terms.scene import SceneTerms
from gs_reg.types import Views

from .pictures import save_depth
from .progress import say, training_bar
from .run_folder import Run, describe, new_run, open_run
from .scene_file import write_scene


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional]
    """Folder of photos (LLFF, COLMAP, transforms.json, Strecha, Middlebury, or plain photos), or `motorcycle`."""
    read: Annotated[ReadConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadConfig)
    out: Path | None = None
    """Folder of the run; default runs/<name>/<time>."""
    name: str | None = None
    """Name of the run below runs/; default the name of the data folder."""
    config: Path | None = None
    """YAML file of flags, such as the config.yaml of another run; the command line wins over it."""
    resume: bool = False
    """Continue the run in --out (or the latest of its name) from its last checkpoint."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto = cuda where it is usable."""
    seed: int = 0
    """Seed of everything random."""
    depth: DepthConfig = field(default_factory=DepthConfig)
    model: PixelAlignedConfig = field(default_factory=PixelAlignedConfig)
    terms: SceneTerms = field(default_factory=SceneTerms)
    train: FitConfig = field(default_factory=FitConfig)
    stop_after: Literal["init", "train", "report"] = "report"
    """init: stop with the untrained splats; train: without figures and report."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is also written when the run is interrupted."""
    dry_run: bool = False
    """Read the data and print the plan, write nothing."""
    json: bool = False
    """Print result.json on stdout."""
    quiet: bool = False
    """No progress on stderr."""


def main(config: Config) -> int:
    began = time.perf_counter()
    device = pick_device(config.device)
    dataset = read_dataset(config.data, config.read)
    announce(dataset, config)
    if config.dry_run:
        return 0
    if config.resume:
        run = open_run(config.out or Path("runs") / run_name(config))
        model, optimizer, first = restore(run, config, device)
        scene_views = load_scene(dataset).views
    else:
        scene_views = load_scene(dataset).views
        depths = measure_depths(scene_views, config)
        run = new_run(config.out, run_name(config))
        describe(run, config)
        run.write_json("dataset.json", dataset.summary())
        write_scene(run, dataset, mean_color(scene_views))
        save_depths(run, scene_views, depths)
        model = PixelAligned.from_views(scene_views, [d.depth for d in depths], config.model).to(device)
        optimizer, first = make_optimizer(model.parameter_groups()), 0
    steps = 0 if config.stop_after == "init" else config.train.steps
    seconds = train(run, model, optimizer, [v.to(device) for v in scene_views], config, first, steps)
    export(run, model, dataset)
    seconds["total"] = time.perf_counter() - began
    run.write_json("timing.json", {**seconds, "gaussians": len(model.start), "steps": steps, "seed": config.seed})
    if config.stop_after == "report":
        finish(run, config)
    run.status("done", step=steps)
    say(f"wrote {run.splats}", config.quiet)
    return 0


def pick_device(name: str) -> torch.device:
    """The device that was asked for; auto takes CUDA where it is usable.

    Raises:
        MissingPart: cuda was asked for and is not usable.
    """
    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise MissingPart("--device cuda: torch finds no usable GPU here; run `gs-reg doctor`, or use --device cpu")
    return torch.device("cuda" if usable and name != "cpu" else "cpu")


def run_name(config: Config) -> str:
    return config.name or Path(config.data).resolve().name


def announce(dataset: Dataset, config: Config) -> None:
    """Names the photos in use before anything long starts."""
    width, height = dataset.frames[0].camera.width, dataset.frames[0].camera.height
    say(
        f"{config.data}: {dataset.kind}, {len(dataset.frames)} photos, {width}x{height} in use ({dataset.downscale})",
        config.quiet,
    )
    for name, reason in dataset.skipped:
        say(f"  left out {name}: {reason}", config.quiet)
    say(f"  train: {', '.join(dataset.train)}\n  test:  {', '.join(dataset.test) or 'none'}", config.quiet)


def measure_depths(views: Sequence[Views], config: Config) -> tuple[DepthMap, ...]:
    start = time.perf_counter()
    depths = estimate_depths(views, config.depth)
    share = sum(float(d.confident.float().mean()) for d in depths) / len(depths)
    say(f"depth: {share:.0%} of pixels measured, the rest filled, {time.perf_counter() - start:.1f} s", config.quiet)
    return depths


def save_depths(run: Run, views: Sequence[Views], depths: Sequence[DepthMap]) -> None:
    """What was measured before training, one a view."""
    for view, depth in zip(views, depths, strict=True):
        save_depth(run.path / "depths" / Path(view.names[0]).stem, depth.depth)


def train(
    run: Run, model: PixelAligned, optimizer, views: list[Views], config: Config, first: int, steps: int
) -> dict[str, float]:
    """Runs the loop with progress, events and checkpoints; Ctrl-C saves the state first."""
    stop = StopSignal()
    limit = dataclasses.replace(config.train, steps=steps)
    backgrounds = mean_color(views)
    spent = []
    with training_bar(steps, first, config.quiet) as report, stop:
        for step in fit(
            model,
            lambda number: views[shuffled(len(views), number, config.seed)],
            config.terms,
            limit,
            optimizer,
            first=first,
            backgrounds=lambda _number, batch: backgrounds.expand(len(batch), 3),
        ):
            done, psnr = step.number + 1, step_psnr(step)
            spent.append(step.seconds)
            report(done, step.loss, psnr, len(step.splats), 1000 * step.seconds)
            if done % 10 == 0 or done == steps:
                run.event(step=done, loss=step.loss, psnr=psnr, terms=dict(step.values), ms=1000 * step.seconds)
            if done % config.checkpoint_every == 0 or done == steps or stop.asked:
                save(run, model, optimizer, done)
                run.status("running", step=done, steps=steps)
            if stop.asked:
                run.status("interrupted", step=done, steps=steps)
                say(f"interrupted at step {done}; continue with --resume --out {run.path}")
                raise KeyboardInterrupt
    return {"train": sum(spent), "median_step": sorted(spent)[len(spent) // 2] if spent else 0.0}


class StopSignal:
    """Turns the first Ctrl-C into a wish that the loop reads; the second one ends the program."""

    asked = False

    def __enter__(self) -> StopSignal:
        self.previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)


def mean_color(views: Sequence[Views]) -> torch.Tensor:
    """Mean colour of the training photos: what regions that no photo saw are drawn over."""
    return torch.stack([v.images.mean((0, 1, 2)) for v in views]).mean(0)


def step_psnr(step: Step) -> float:
    mse = (step.image.colors - step.views.images).square().mean()
    return float(-10 * torch.log10(mse.clamp_min(1e-12)))


def save(run: Run, model: PixelAligned, optimizer, done: int) -> None:
    state = {"step": done}
    checkpoint.save(run.checkpoints, done, model=model.state_dict(), optim=optimizer_tensors(optimizer), state=state)


def restore(run: Run, config: Config, device: torch.device):
    """Model, optimiser and step of the newest checkpoint.

    Raises:
        InputError: the run has no checkpoint yet.
    """
    newest = checkpoint.latest(run.checkpoints)
    if newest is None:
        raise InputError(f"{run.path}: no checkpoint to resume from; start it again without --resume")
    saved = checkpoint.load(newest)
    model = PixelAligned(saved.model, config.model).to(device)
    optimizer = make_optimizer(model.parameter_groups())
    load_optimizer(optimizer, saved.optim)
    return model, optimizer, int(saved.state["step"])


def export(run: Run, model: PixelAligned, dataset: Dataset) -> None:
    """splats.ply in the frame of the given cameras."""
    with torch.no_grad():
        splats = model().to("cpu")
    save_splats(run.splats, splats, source_from_world=dataset.source_from_world)


def finish(run: Run, config: Config) -> None:
    """Figures from the exported file in a process of its own (the only one that opens test photos), video, report."""
    from .draw import camera_path_video
    from .report import write_report

    done = subprocess.run([sys.executable, "-m", "gs_reg", "eval", str(run.path)], capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"evaluation failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        )
    say(done.stderr.rstrip(), config.quiet)
    camera_path_video(run)
    report = write_report(run.path)
    say(f"wrote {report}", config.quiet)
    if config.json:
        print(json.dumps(run.read_json("result.json")))
