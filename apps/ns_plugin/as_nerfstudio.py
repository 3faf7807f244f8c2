"""A gs-reg run written as a run of nerfstudio."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.frames import transform_splats
from gs_reg.parts.store import LABELS_FILE
from gs_reg.parts.types import Decision

from ..edit.labels import known_decision
from ..edit.start import VIEWS
from ..look.scene_file import splats_frame, stored_splats
from ..runs.folder import Run, open_run
from ..scenes.config import Config as ReconstructConfig
from ..scenes.evaluate import render_config_of
from .bridge import MODELS, TRANSFORMS
from .config import SPARSE, sparse
from .dataparser import GsRegDataParser, GsRegDataParserConfig, upright
from .model import GsRegModel


def write(run_folder: Path, out: Path) -> Path:
    """See bridge.write_nerfstudio."""
    run, labels = _labelled(open_run(run_folder))
    scene, config = splats_frame(run), run.config(ReconstructConfig)
    parser = GsRegDataParser(GsRegDataParserConfig(data=run.path.absolute()))
    dataset = parser.dataset()
    turn = upright(dataset)
    splats = transform_splats(turn, stored_splats(run, scene))
    decision = None if labels is None else known_decision(labels, len(splats))
    splats = replace(splats, extra={"filled": torch.zeros(len(splats), dtype=torch.bool), **_parts(decision)})
    trainer = copy.deepcopy(sparse.config)
    mode, step = render_config_of(config).mode, int(run.read_json("timing.json")["steps"])
    model_config = replace(SPARSE, sh_degree=splats.sh_degree, dropout=0.0, rasterize_mode=mode)
    model_config.parts = () if decision is None else decision.names[1:]
    trainer.pipeline.model = model_config
    trainer.pipeline.datamanager.dataparser = parser.config
    trainer.pipeline.datamanager.data = trainer.data = parser.config.data
    # nerfstudio finds a run's folder again as output_dir / experiment_name / method_name / timestamp
    trainer.output_dir, trainer.experiment_name = out.absolute(), Path(config.name or config.data).name
    trainer.timestamp = run.path.resolve().name
    folder = trainer.get_base_dir()
    if folder.exists():
        raise InputError(f"{folder}: exists; name another folder than {out}")
    outputs = parser.get_dataparser_outputs("train")
    model = GsRegModel(model_config, outputs.scene_box, num_train_data=len(outputs.image_filenames))
    model.set_splats(splats)
    model.set_photos([scene.cameras[name].moved(torch.linalg.inv(turn).float()) for name in dataset.train])
    state = {f"_model.{name}": value for name, value in model.state_dict().items()}
    with atomic_path(folder / MODELS / f"step-{step:09d}.ckpt") as temporary:
        torch.save({"step": step, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}, temporary)
    outputs.save_dataparser_transform(folder / TRANSFORMS)
    with atomic_path(folder / "config.yml") as temporary:
        temporary.write_text(yaml.dump(trainer), encoding="utf-8")
    return folder / "config.yml"


def _labelled(run: Run) -> tuple[Run, Path | None]:
    """The run whose splats are shown, and the labels of its parts: of the run itself, or, of a run of `gs-reg edit`,
    those in it, with the run whose parts they are."""
    labels = run.path / LABELS_FILE
    if not (run.path / VIEWS).is_file():
        return run, labels if labels.is_file() else None
    source = Path(str(run.read_json(VIEWS).get("source", "")))
    if not labels.is_file() or not (source.parent / "scene.json").is_file():
        raise InputError(f"{run.path}: expected parts of the splats of a run with photos, got those of {source}")
    return open_run(source.parent), labels


def _parts(decision: Decision | None) -> dict[str, torch.Tensor]:
    return {} if decision is None else {"part": decision.ids}
