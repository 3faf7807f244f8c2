"""`gs-reg reconstruct`: photos -> cameras -> depth -> Gaussians -> training -> splats, figures, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gs_reg import densify
from gs_reg.data_tools.dataset import Dataset, load_scene, read_dataset
from gs_reg.data_tools.depth import DepthMap
from gs_reg.data_tools.depth.sparse import NoSharedPoints
from gs_reg.errors import InputError, reading
from gs_reg.io import checkpoint, save_splats
from gs_reg.stages import Training
from gs_reg.types import Views

from ..look.pictures import save_depth
from ..look.scene_file import write_offset, write_scene
from ..look.viewer_layout import write_viewer_layout
from ..runs.board import Watching
from ..runs.devices import pick_device
from ..runs.folder import Run, check_free, new_run, open_run, write_settings
from ..runs.interrupts import run_child
from ..runs.progress import plural, say, stage_bar
from ..runs.resume import check_same
from ..runs.training import Clock, SaveTimes, details, report_threads, train
from ..view.live.flags import LiveConfig
from ..view.live.opening import live_page
from .config import Config
from .forecast import announce_plan
from .held_out import held_out
from .initial_model import initial_model
from .live import live_subject
from .no_effect import check_effect
from .sources import Sources, find_sources, with_absolute_paths, write_sources
from .stages import check_terms, plan_stages, stages_of, with_layers
from .whole_run import check_backends, with_whole_run

if TYPE_CHECKING:
    from ..view.live.page import LivePage

__all__ = ["Config", "main"]


def main(config: Config) -> int:
    if not config.data:
        raise InputError("no photos named: gs-reg reconstruct DATA, a folder of photos or `motorcycle`")
    config = with_whole_run(config)
    check_terms(config)
    if not config.resume:  # what was new then is said by check_same
        check_effect(config)
    clock, device = Clock(), pick_device(config.device)
    densify.check(config.free.densify, device)
    check_backends(config, device)
    dataset = read_dataset(config.data, config.read)
    announce(dataset, config)
    sources = None if config.resume else find_sources(config, dataset)
    announce_plan(config, dataset, device)
    if config.dry_run:
        return 0
    with live_page(config.live, f"reconstruct {Path(config.data).name}") as page:
        return reconstruct(config, dataset, sources, clock, device, page)


def reconstruct(
    config: Config, dataset: Dataset, sources: Sources | None, clock: Clock, device: torch.device, page: LivePage | None
) -> int:
    """All stages, after everything was checked; `sources` = None continues a run."""
    views = load_scene(dataset).views
    if sources is None:
        run = open_run(config.out or config.home)
        check_same(run, config, dataset.summary()["photos"])
    else:
        run, config, dataset, views = begin(config, dataset, views, sources, clock)
    with run.held(), run.recorded("gs-reg reconstruct --resume"):
        training = restore(run, config, dataset, [view.to(device) for view in views], clock)
        if page is not None:
            page.show(live_subject(training, dataset, views))
        times = SaveTimes(config.checkpoint_every, config.checkpoint_minutes, config.keep_every)
        watching = Watching(config.log, config.eval_every, partial(held_out, config, dataset))
        train(run, training, clock, times, watching, page)
        gaussians = export(run, training, dataset, config)
        timing = {"total": clock.total, "gaussians": gaussians, "steps": training.step, "seed": config.seed}
        run.write_json("timing.json", timing)
        if config.stop_after == "report":
            finish(run, config)
    say(f"wrote {run.splats}")
    return 0


def begin(
    config: Config, dataset: Dataset, views: Sequence[Views], sources: Sources, clock: Clock
) -> tuple[Run, Config, Dataset, Sequence[Views]]:
    """Measures depth, then makes the run's folder with the checkpoint of step 0; if that fails, there is no folder.

    Photos that share nothing with the others are left out: of what is returned, too.
    """
    check_free(config.out)
    try:
        depths, model = initial_model(views, sources, config)
    except NoSharedPoints as error:
        config, dataset = without_apart(config, dataset, error)
        views = [view for view in views if view.names[0] in dataset.train]
        return begin(config, dataset, views, find_sources(config, dataset), clock)
    folder = Path(config.data)
    data = str(folder.resolve()) if folder.is_dir() else config.data
    stored = replace(with_absolute_paths(config), data=data, out=None, config=None, resume=False, json=False)
    stored = replace(stored, live=LiveConfig())

    def fill(run: Run) -> None:
        write_settings(run, stored)
        write_sources(run, sources, depths.details)
        run.write_json("dataset.json", dataset.summary())
        write_scene(run, dataset, torch.zeros(3))
        save_depths(run, views, depths.maps, dataset.stems)
        training = Training.begin(stages_of(config, views, dataset.mask_mode, model))
        training.save(run.checkpoints, keep_every=config.keep_every, **details(clock))

    return new_run(config.out, config.home, fill), config, dataset, views


def without_apart(config: Config, dataset: Dataset, error: NoSharedPoints) -> tuple[Config, Dataset]:
    """The training photos less those that share nothing with the others, so in the run's own config, too.

    Raises:
        NoSharedPoints: fewer than two are left.
    """
    kept = tuple(name for name in dataset.train if name not in error.names)
    if len(kept) < 2:
        raise error
    reason = "shares no visible surface with the other training photos"
    for name in error.names:
        say(f"  left out {name}: {reason}")
    names = dataset.whole_names
    read = replace(config.read, views=None, train=tuple(names[name] for name in kept))
    skipped = (*dataset.skipped, *((name, reason) for name in error.names))
    return replace(config, read=read), replace(dataset, train=kept, skipped=skipped)


def announce(dataset: Dataset, config: Config) -> None:
    """Prints the photos and the split, before anything long starts."""
    width, height = dataset.frames[0].camera.width, dataset.frames[0].camera.height
    say(
        f"{config.data}: {dataset.kind}, {plural(len(dataset.frames), 'photo')}, "
        f"{width}x{height} in use ({dataset.downscale})"
    )
    for name, reason in dataset.skipped:
        say(f"  left out {name}: {reason}")
    for note in dataset.notes:
        say(f"  {note}")
    say(f"  train: {', '.join(dataset.train)}\n  test:  {', '.join(dataset.test) or 'none'}")


def save_depths(run: Run, views: Sequence[Views], depths: Sequence[DepthMap], stems: Mapping[str, str]) -> None:
    """Saves the initial depth maps."""
    for view, depth in zip(views, depths, strict=True):
        save_depth(run.path / "depths" / stems[view.names[0]], depth.depth)


def restore(run: Run, config: Config, dataset: Dataset, views: Sequence[Views], clock: Clock) -> Training:
    """Resumes training from the newest checkpoint, on the device of the views; events after it are dropped.

    New runs go this way too, from the checkpoint of step 0: so a resumed run takes the same path as an unbroken one.

    Raises:
        InputError: the run has no checkpoint, or is past the last stage of this config.
    """
    newest = checkpoint.latest(run.checkpoints)
    if newest is None:
        raise InputError(f"{run.checkpoints}: no checkpoint to continue from; delete {run.path} and start again")
    saved = checkpoint.load(newest)
    device = views[0].photos.device
    with reading(newest):
        seconds, threads = float(saved.state["seconds"]), saved.state.get("threads")
        layered = [view.to(device) for view in with_layers(views, saved.model)]
        try:
            training = Training.resume(stages_of(config, layered, dataset.mask_mode), saved, device)
        except InputError as error:
            remedy = "" if config.stop_after == "report" else f"; leave out --stop-after {config.stop_after}"
            raise InputError(f"{newest}: {error}{remedy}") from None
    if config.resume:
        clock.add(seconds)
        report_threads(threads)
        run.drop_events_after(saved.step)
    return training


def export(run: Run, training: Training, dataset: Dataset, config: Config) -> int:
    """Writes splats.ply in the frame of the source's cameras, less the data set's offset, and the viewer layout.

    Returns the number of splats.
    """
    splats = plan_stages(config)[-1].final_splats(training.state.model).to("cpu")
    offset = dataset.offset.tolist() if dataset.offset.any() else None
    save_splats(run.splats, splats, source_from_world=dataset.file_from_world, offset=offset)
    write_offset(run, dataset)
    write_viewer_layout(run, training.step, splats.sh_degree)
    return len(splats)


def finish(run: Run, config: Config) -> None:
    """Evaluation, video and report.

    Evaluation runs in a process of its own: only that one opens held-out photos, so they cannot leak into training;
    where --log or --eval-every ask for them earlier, they are opened beside it and no gradient sees them.
    """
    from ..look.render import camera_path_video
    from ..look.report import write_report

    say("measuring the held-out photos ...")
    with stage_bar("evaluation") as progress:
        progress("photos", 0.0)
        done = run_child([sys.executable, "-m", "gs_reg", "eval", str(run.path)], progress)
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    if done.returncode:
        raise InputError(f"evaluation failed: {lines[-1].removeprefix('gs-reg: ')}")
    for line in lines:
        say(line)
    say(f"wrote {camera_path_video(run)}")
    say(f"wrote {write_report(run.path)}")
    if config.json:
        print(json.dumps(run.read_json("result.json")))
