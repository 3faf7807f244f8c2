"""`gs-reg edit parts`: which Gaussians are which part of an object, with a preview; nothing is edited."""

from __future__ import annotations

import json

from ..runs.devices import pick_device
from ..runs.progress import say
from .checks import check_parts, check_teacher_of
from .config import PartsConfig as Config
from .labels import PREVIEW, find_parts, warn_of_parts
from .plan import announce_plan
from .report import write_report
from .results import write_parts_result
from .start import look, start

__all__ = ["Config", "main"]


def main(config: Config) -> int:
    check_parts(config)
    device = pick_device(config.device)
    say(f"{config.data}:")
    scene = look(config, device)
    check_teacher_of(scene, config)
    announce_plan(config, scene, device)
    if config.dry_run:
        return 0
    job = start(config, scene, device)
    with job.run.held(), job.run.recorded("gs-reg edit parts --resume"):
        decision = find_parts(job)
        write_parts_result(job, decision)
        write_report(job)
        say(f"wrote {job.run.path / PREVIEW}")
        warn_of_parts(job, decision)
    if config.json:
        print(json.dumps(job.run.read_json("result.json")))
    return 0
