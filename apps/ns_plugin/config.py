"""The methods that `ns-train` lists. It imports little: an error here would end `ns-train` for every method."""

from __future__ import annotations

from typing import Any

from nerfstudio.configs.base_config import ViewerConfig  # pyright: ignore[reportMissingImports]
from nerfstudio.engine.trainer import TrainerConfig  # pyright: ignore[reportMissingImports]
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig  # pyright: ignore[reportMissingImports]
from nerfstudio.plugins.types import MethodSpecification  # pyright: ignore[reportMissingImports]

from .datamanager import GsRegDataManagerConfig
from .dataparser import GsRegDataParserConfig
from .model import GsRegModelConfig
from .optimizer import RowAdamConfig
from .scheduler import DecayConfig

SPARSE_RATES = {"means": 0.2, "quats": 1e-2, "scales": 8e-2, "opacities": 5e-2, "features_dc": 1e-3}
"""As gs_reg.models.free.FreeConfig; of means in units of a Gaussian's first size."""
PLAIN_RATES = {"means": 1.4e-2, "quats": 1e-3, "scales": 5e-3, "opacities": 5e-2, "features_dc": 2.5e-3}
"""As `gs-reg reconstruct --preset plain`."""


def optimizers(rates: dict[str, float], steps: int) -> dict[str, Any]:
    """An optimiser and its schedule for each parameter of the model."""
    rates = {**rates, "features_rest": rates["features_dc"] / 20, "camera_opt": 1e-4}
    return {
        name: {"optimizer": RowAdamConfig(lr=lr), "scheduler": DecayConfig(max_steps=steps)}
        for name, lr in rates.items()
    }


def trainer(name: str, model: GsRegModelConfig, rates: dict[str, float]) -> TrainerConfig:
    """The config of a method, with its viewer on this machine alone."""
    manager = GsRegDataManagerConfig(dataparser=GsRegDataParserConfig())
    return TrainerConfig(
        method_name=name,
        max_num_iterations=model.steps,
        steps_per_eval_batch=0,
        steps_per_eval_image=100,
        steps_per_eval_all_images=1000,
        steps_per_save=500,
        mixed_precision=False,
        pipeline=VanillaPipelineConfig(datamanager=manager, model=model),
        optimizers=optimizers(rates, model.steps),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15, websocket_host="127.0.0.1"),
        vis="viewer",
    )


SPARSE = GsRegModelConfig()
PLAIN = GsRegModelConfig(
    steps=2000,
    start="auto",
    opacity=0.1,
    smooth=0.0,
    dropout=0.0,
    max_aspect=float("inf"),
    densify="mcmc",
)

sparse = MethodSpecification(
    trainer("gs-reg", SPARSE, SPARSE_RATES),
    "gs-reg: splats from few photos, from measured depth, with smooth disparity and dropout; CPU or GPU.",
)
free = MethodSpecification(
    trainer("gs-reg-free", PLAIN, PLAIN_RATES),
    "gs-reg: plain splats with MCMC density control, drawn by gs-reg's kernels; CPU or GPU.",
)
