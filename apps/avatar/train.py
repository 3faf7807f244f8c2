"""`gs-reg avatar train`: capture -> distilled field -> warm-up -> joint training -> figures, avatar file, report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..runs.devices import pick_device
from ..runs.progress import say
from ..runs.training import Clock
from ..view.live.opening import live_page
from .checks import check_flags
from .config import Config
from .distilling import distilled_field
from .evaluation import draw_start, evaluate_avatar
from .files import write_avatar
from .job import Job, start
from .plan import announce
from .report import write_report
from .results import PROTOCOLS, words, write_result
from .sources import open_source
from .training import optimise

if TYPE_CHECKING:
    from ..view.live.page import LivePage

__all__ = ["Config", "main"]


def main(config: Config) -> int:
    check_flags(config)
    clock, device = Clock(), pick_device(config.device)
    say(f"{config.data}:")
    source = open_source(config.data, config.prior_folder, config.held_out, config.held_out_cameras, config.width)
    announce(config, source, device)
    if config.dry_run:
        return 0
    with live_page(config.live, f"avatar of {source.capture.folder.name}") as page:
        job = start(config, source, device)
        with job.run.held(), job.run.recorded("gs-reg avatar train --resume"):
            result = make_avatar(job, clock, page)
            for name in PROTOCOLS:
                say(f"{name.replace('_', ' ')}: {words(result[name])}")
            say(f"wrote {write_report(job.run)}")
    say(f"`gs-reg avatar drive {job.run.path}` makes a video, `gs-reg avatar export {job.run.path}` files for others")
    if config.json:
        print(json.dumps(result))
    return 0


def make_avatar(job: Job, clock: Clock, page: LivePage | None = None) -> dict:
    """All stages; what is done is not repeated."""
    distilled = None if job.config.method == "rig-bound" else distilled_field(job)
    model = optimise(job, distilled, clock, lambda first: draw_start(job, first), page)
    figures = evaluate_avatar(job, model)
    result = write_result(job, model, figures)
    write_avatar(job, model, result)
    return result
