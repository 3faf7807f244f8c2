"""gs-reg: regularised 3D Gaussian splatting.

The names below load where they are first used (PEP 562): importing `gs_reg` itself loads nothing, torch neither.
docs/api.md lists them with their signatures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors see; tests/test_api.py compares it with _HOME
    from gs_reg import densify as densify
    from gs_reg import init as init
    from gs_reg import io as io
    from gs_reg import metrics as metrics
    from gs_reg import models as models
    from gs_reg import terms as terms
    from gs_reg.densify import DensityControl as DensityControl
    from gs_reg.edit import Edit as Edit
    from gs_reg.errors import InputError as InputError
    from gs_reg.errors import MissingPart as MissingPart
    from gs_reg.fit import FitConfig as FitConfig
    from gs_reg.fit import Step as Step
    from gs_reg.fit import fit as fit
    from gs_reg.io import load_splats as load_splats
    from gs_reg.io import save_splats as save_splats
    from gs_reg.models.free import Free as Free
    from gs_reg.models.free import FreeConfig as FreeConfig
    from gs_reg.optim import OptimConfig as OptimConfig
    from gs_reg.optim import ParameterGroup as ParameterGroup
    from gs_reg.render import RenderConfig as RenderConfig
    from gs_reg.render import composite as composite
    from gs_reg.render import lift as lift
    from gs_reg.render import project as project
    from gs_reg.render import render as render
    from gs_reg.shot import Shot as Shot
    from gs_reg.stages import Stage as Stage
    from gs_reg.stages import Training as Training
    from gs_reg.state import Model as Model
    from gs_reg.state import State as State
    from gs_reg.terms import Context as Context
    from gs_reg.terms import Term as Term
    from gs_reg.terms import cost_of as cost_of
    from gs_reg.types import Cameras as Cameras
    from gs_reg.types import Render as Render
    from gs_reg.types import Scene as Scene
    from gs_reg.types import Splats as Splats
    from gs_reg.types import Views as Views

__version__ = "0.1.0"

_NAMES = {
    "types": "Splats Cameras Views Scene Render",
    "render": "render RenderConfig project composite lift",
    "io": "load_splats save_splats",
    "fit": "fit FitConfig Step",
    "shot": "Shot",
    "terms": "Term Context cost_of",
    "models.free": "Free FreeConfig",
    "state": "State Model",
    "stages": "Stage Training",
    "optim": "OptimConfig ParameterGroup",
    "densify": "DensityControl",
    "edit": "Edit",
    "errors": "InputError MissingPart",
}
_HOME = {name: f"gs_reg.{module}" for module, names in _NAMES.items() for name in names.split()}
_MODULES = ("densify", "init", "io", "metrics", "models", "terms")


def __getattr__(name: str) -> Any:
    if name in ("render", "fit") or name in _MODULES:  # modules; the first two can be called (gs_reg/_callable.py)
        return importlib.import_module(f"gs_reg.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gs_reg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
