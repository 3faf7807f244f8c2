"""The model of both methods: plain splats drawn by our kernels, with our loss terms, start and density control.

It is a SplatfactoModel, as nerfstudio's viewer and exporter ask for one by class, but calls nothing of gsplat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig  # pyright: ignore[reportMissingImports]
from nerfstudio.engine.callbacks import (  # pyright: ignore[reportMissingImports]
    TrainingCallback,
    TrainingCallbackAttributes,
    TrainingCallbackLocation,
)
from nerfstudio.models.base_model import ModelConfig  # pyright: ignore[reportMissingImports]
from nerfstudio.models.splatfacto import SplatfactoModel  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from gs_reg import metrics
from gs_reg.densify import DensifyConfig, Observation
from gs_reg.densify.mcmc import TorchMcmc
from gs_reg.dropout import Dropout
from gs_reg.edit import Edit
from gs_reg.models.free import FreeConfig
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.terms import Context, evaluate
from gs_reg.terms.photometric import L1, Ssim
from gs_reg.terms.scene import SceneTerms
from gs_reg.terms.smoothness import DisparityTV
from gs_reg.types import Cameras, Render, Splats, Views

from .cameras import our_camera, photo_of, training_views
from .controls import Controls
from .optimizer import UNITS, apply_edit, set_rows
from .start import Start, start_splats

COLUMNS = {
    "means": "means",
    "scales": "log_scales",
    "quats": "quats",
    "features_dc": "sh",
    "features_rest": "sh",
    "opacities": "opacity_logits",
}
"""The field of Splats that each of nerfstudio's parameters holds."""
ASPECT_FROM = 8.0
"""Axes of up to this many first sizes are not limited: strokes so short are the texture itself."""


@dataclass
class GsRegModelConfig(ModelConfig):
    """Only what this model reads: plain numbers, as config.yml keeps them."""

    _target: type = field(default_factory=lambda: GsRegModel)
    steps: int = 800
    """Steps that schedules are made for: the decay of rates, density control. --max-num-iterations does not move it."""
    start: Literal["depth", "points", "random", "auto"] = "depth"
    """depth: one Gaussian for every `stride`-th pixel at its measured depth; points: at the data's points; random: in
    what the cameras see; auto: points where the data have them, else random (says which)."""
    stride: int = 2
    """Of a start at depth."""
    opacity: float = 0.02
    """Initial opacity."""
    sh_degree: int = 1
    """Highest degree of view-dependent colour."""
    smooth: float = 0.4
    """Weight of the total variation of disparity; 0 = off."""
    dropout: float = 0.4
    """Share of Gaussians that is left out of every training step; 0 = none."""
    max_aspect: float = 8.0
    """Largest ratio of the longest axis to the second; inf = no limit."""
    densify: Literal["none", "mcmc"] = "none"
    """mcmc: relocate dead Gaussians, add 5 % at a time, move all by noise (3DGS-MCMC)."""
    cap_max: int = 1_000_000
    """mcmc: largest number of Gaussians."""
    background_color: Literal["random", "black", "white"] = "random"
    """Behind the splats while training; pictures are drawn over black, or white where it says so."""
    rasterize_mode: Literal["classic", "antialiased"] = "classic"
    """antialiased: opacity is lowered by what the screen-space low-pass adds to a splat's area."""
    camera_optimizer: CameraOptimizerConfig = field(default_factory=lambda: CameraOptimizerConfig(mode="off"))
    """Refinement of the training cameras."""
    lpips: tuple[str, ...] = ()
    """Files or folders with the published LPIPS weights; without them ns-eval gives no LPIPS."""
    parts: tuple[str, ...] = ()
    """Names of the parts that splats are labelled with, as `gs-reg convert --to nerfstudio` writes them."""
    seed: int = 0
    """Of everything random in the model."""


class GsRegModel(SplatfactoModel):
    config: Any

    def populate_modules(self) -> None:
        """Placeholder rows: the start is made once training begins, or replaced by those of a checkpoint."""
        K = (self.config.sh_degree + 1) ** 2
        widths = {"means": (3,), "scales": (3,), "quats": (4,), "features_dc": (3,), "opacities": (1,)}
        shapes = widths | {"features_rest": (K - 1, 3)}
        self.gauss_params = nn.ParameterDict({name: nn.Parameter(torch.zeros(1, *shapes[name])) for name in COLUMNS})
        with torch.no_grad():
            self.gauss_params["quats"][:, 0] = 1
            self.gauss_params["opacities"].fill_(-10)
        self.register_buffer("unit", torch.ones(1, 1))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.bool))
        if self.config.parts:
            self.register_buffer("part", torch.zeros(1, dtype=torch.int64))
        # in the checkpoint, so that it can be read without config.yml
        self.register_buffer("dropped_share", torch.tensor(float(self.config.dropout)))
        self.register_buffer("photo_viewmats", torch.eye(4)[None])
        self.register_buffer("photo_Ks", torch.eye(3)[None])
        self.register_buffer("photo_sizes", torch.ones(1, 2, dtype=torch.int64))
        self.register_buffer("density_scale", torch.tensor(math.nan, dtype=torch.float64))
        self.camera_optimizer = self.config.camera_optimizer.setup(num_cameras=self.num_train_data, device="cpu")
        self.step, self.started = 0, False
        self.crop_box = None
        self.background_color = torch.full((3,), float(self.config.background_color == "white"))
        self.terms = SceneTerms(L1(0.8), ssim=Ssim(0.2), smooth=DisparityTV(self.config.smooth))
        self.psnr, self.ssim = metrics.psnr, metrics.ssim
        self.density = None
        if self.config.densify == "mcmc":
            self.density = TorchMcmc(DensifyConfig("mcmc", cap_max=self.config.cap_max), self.config.seed)
        self.drawn: tuple[Render, Cameras, Splats] | None = None
        self.gs_reg = Controls(self)  # the name of the folder in the viewer

    # what the exporter and the viewer read

    @property
    def shs_0(self) -> Tensor:
        return self.features_dc

    @property
    def opacities(self) -> Tensor:
        """Logits at test time: none dropped, opacities times the share that a step keeps."""
        return self.splats().opacity_logits[:, None]

    def splats(self, training: bool = False) -> Splats:
        """The splats as drawn, or as trained: without the factor of dropout."""
        p = self.gauss_params
        splats = Splats(
            means=p["means"],
            quats=p["quats"],
            log_scales=p["scales"],
            opacity_logits=p["opacities"][:, 0],
            sh=torch.cat([p["features_dc"][:, None], p["features_rest"]], 1),
            extra=self._extra(),
        )
        return splats if training else self.dropout.with_expected_opacity(splats)

    def _extra(self) -> dict[str, Tensor]:
        """What else belongs to each row; `part` is 0 for the background, else 1 + the place in config.parts."""
        return {"filled": self.filled, "part": self.part} if self.config.parts else {"filled": self.filled}

    @property
    def dropout(self) -> Dropout:
        """Of the checkpoint where there is one: its opacities were trained with it."""
        return Dropout(float(self.dropped_share), self.config.seed)

    def training_cameras(self) -> list[Cameras]:
        """Of the photos, as the checkpoint keeps them: the viewer may run where the photos are not."""
        parts = zip(self.photo_viewmats, self.photo_Ks, self.photo_sizes.tolist(), strict=True)
        return [Cameras(viewmat[None], K[None], *size) for viewmat, K, size in parts]

    # drawing

    def render_config(self) -> RenderConfig:
        """By our kernels, on the GPU too: nerfstudio's gsplat 1.4 would be another renderer."""
        return RenderConfig("native", mode=self.config.rasterize_mode)

    def get_outputs(self, camera: Any) -> dict[str, Tensor]:
        if self.training:
            return self._training_outputs(camera)
        splats, background = self.gs_reg.applied(self.splats()), self.background_color.to(self.device)
        if self.crop_box is not None:
            splats = splats.rows(self.crop_box.within(splats.means).squeeze(-1))
        cameras = self.gs_reg.clamped(our_camera(camera))
        image = render(splats, cameras, self.render_config(), backgrounds=background[None])
        outputs = _outputs(image, background.expand(cameras.height, cameras.width, 3), image.colors.clamp(0, 1))
        return self.gs_reg.recolored(outputs, splats, cameras, self.render_config())

    def _training_outputs(self, camera: Any) -> dict[str, Tensor]:
        cameras = our_camera(camera, self.camera_optimizer.apply_to_camera(camera))
        splats = self.dropout.drop(self.splats(training=True), self.step)
        background = self._background()
        image = render(splats, cameras, self.render_config(), backgrounds=background[None])
        if self.density is not None:
            self.density.step_pre_backward(image, splats, cameras.detach())
        self.drawn = image, cameras, splats
        return _outputs(image, background, image.colors)

    def _background(self) -> Tensor:
        """Random in each step, by seed and step alone, so that a resumed run repeats it."""
        if self.config.background_color != "random":
            return self.background_color.to(self.device)
        generator = torch.Generator().manual_seed(7_919 * self.config.seed + self.step)
        return torch.rand(3, generator=generator).to(self.device)

    # losses and metrics

    def get_loss_dict(self, outputs: Any, batch: Any, metrics_dict: Any = None) -> dict[str, Tensor]:
        photo, mask = self._photo(outputs, batch)
        if self.drawn is None or not self.training:
            difference = (outputs["rgb"] - photo).abs()
            return {"l1": difference.mean() if mask is None else difference[mask].mean()}
        image, cameras, splats = self.drawn
        views = Views(cameras, photo[None], masks=None if mask is None else mask[None])
        shot = Shot(views, self.render_config(), outputs["background"])
        context = Context(min(self.step, self.config.steps), self.config.steps, self, splats, image, shot)
        losses = dict(evaluate(self.terms, context))
        self.camera_optimizer.get_loss_dict(losses)
        return losses

    def _photo(self, outputs: Any, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The photo over the background that was drawn, and the mask of the pixels that count."""
        photo = photo_of(batch["image"].to(self.device))
        if photo.shape[-1] == 4:
            photo = torch.lerp(outputs["background"].expand_as(photo[..., :3]), photo[..., :3], photo[..., 3:])
        mask = batch.get("mask")
        return photo, None if mask is None else mask.to(self.device).bool().reshape(photo.shape[:2])

    @cached_property
    def lpips(self) -> metrics.Lpips | None:
        """LPIPS, where its weights are given or in torch's cache."""
        found, reason = metrics.find_lpips(self.config.lpips)
        if found is None and self.config.lpips:
            print(f"gs-reg: no LPIPS: {reason}")
        return found

    def get_metrics_dict(self, outputs: Any, batch: Any) -> dict[str, Any]:
        photo, mask = self._photo(outputs, batch)
        mask = None if mask is None else mask[None]
        values = {"psnr": self.psnr(outputs["rgb"].detach().clamp(0, 1)[None], photo[None], mask)[0]}
        values["gaussian_count"] = self.num_points
        self.camera_optimizer.get_metrics_dict(values)
        return values

    def get_image_metrics_and_images(self, outputs: Any, batch: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR and SSIM inside the mask, LPIPS where its weights were given, and photo and picture side by side."""
        photo, mask = self._photo(outputs, batch)
        drawn, mask = outputs["rgb"][None], None if mask is None else mask[None]
        values = {name: float(of(drawn, photo[None], mask)) for name, of in (("psnr", self.psnr), ("ssim", self.ssim))}
        if self.lpips is not None:
            values["lpips"] = float(self.lpips(drawn.cpu(), photo[None].cpu()))
        return values, {"img": torch.cat([photo, outputs["rgb"]], 1)}

    # training

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = self.get_gaussian_param_groups()
        self.camera_optimizer.get_param_groups(param_groups=groups)
        return groups

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes) -> list[Any]:
        """nerfstudio asks for these once a checkpoint, if any, is loaded: the place to make the start."""
        attributes = training_callback_attributes
        if not self.started:
            self.begin(attributes.pipeline.datamanager)
        before, after = TrainingCallbackLocation.BEFORE_TRAIN_ITERATION, TrainingCallbackLocation.AFTER_TRAIN_ITERATION
        return [
            TrainingCallback([before], self.step_cb, args=[attributes.optimizers]),
            TrainingCallback([after], self.step_post_backward),
        ]

    def begin(self, manager: Any) -> None:
        """Replaces the placeholder by the start, made from the training photos."""
        c, points = self.config, None if self.seed_points is None else self.seed_points[0]
        start: Start = c.start
        if c.start == "auto":
            start = "random" if points is None else "points"
            print(f"gs-reg: start {start}: the data have {'no' if points is None else len(points)} points")
        free = FreeConfig(opacity=c.opacity, sh_degree=c.sh_degree)
        views = training_views(manager)
        splats = start_splats(views, start, points, free, c.stride, c.seed)
        print(f"gs-reg: {len(splats):,} Gaussians at the start ({start})")
        self.set_splats(splats)
        self.set_photos([view.cameras for view in views])

    def set_splats(self, splats: Splats) -> None:
        """Other rows in the same parameters, and the size of each as its unit."""
        splats = splats.detach()
        values = {name: getattr(splats, of) for name, of in COLUMNS.items()}
        values |= {"features_dc": splats.sh[:, 0], "features_rest": splats.sh[:, 1:]}
        values["opacities"] = splats.opacity_logits[:, None]
        for name, value in values.items():
            set_rows(self.gauss_params[name], value)
        self.unit = splats.log_scales.mean(1, keepdim=True).exp().to(self.device)
        for name in self._extra():
            setattr(self, name, splats.extra[name].to(self.device))
        self._began()

    def set_photos(self, cameras: Sequence[Cameras]) -> None:
        """The cameras that the checkpoint keeps."""
        self.photo_viewmats = torch.cat([camera.viewmats for camera in cameras]).float().to(self.device)
        self.photo_Ks = torch.cat([camera.Ks for camera in cameras]).float().to(self.device)
        self.photo_sizes = torch.tensor([[camera.width, camera.height] for camera in cameras]).to(self.device)

    def _began(self) -> None:
        setattr(self.gauss_params["means"], UNITS, self.unit)
        self.started = True

    @torch.no_grad()
    def step_post_backward(self, step: int) -> None:
        """After the optimisers' update: the limit of the axes, then density control."""
        if math.isfinite(self.config.max_aspect):
            scales = self.gauss_params["scales"]
            limits = scales.median(1, keepdim=True).values + math.log(self.config.max_aspect)
            limits = torch.maximum(limits, self.unit.log() + math.log(ASPECT_FROM))
            scales.copy_(torch.minimum(scales, limits))
        if self.density is not None and self.drawn is not None:
            image, cameras, _ = self.drawn
            decay = self.optimizers["means"].param_groups[0]["lr"] / self.optimizers["means"].defaults["lr"]
            size = cameras.width, cameras.height
            splats = self.splats(training=True).detach()
            edit = self.density.step_post_backward(Observation(step, self.config.steps, splats, image, size, decay))
            self.density_scale = self.density.tensors().get("scale", self.density_scale)
            if edit is not None:
                self.restructure(edit)
        self.drawn = None

    def restructure(self, edit: Edit) -> None:
        """Rows, moments and units after a structural change."""
        for name, of in COLUMNS.items():
            self.gauss_params[name] = apply_edit(edit, self.optimizers[name], self.gauss_params[name], of)
        if edit.rows is not None:
            for name in ("unit", *self._extra()):
                setattr(self, name, getattr(self, name)[edit.rows])
        setattr(self.gauss_params["means"], UNITS, self.unit)

    def load_state_dict(self, dict: Mapping[str, Any], **kwargs: Any) -> Any:  # type: ignore[override]
        """Takes the saved number of rows, in the same parameters, as optimisers hold on to these already."""
        for name, p in self.gauss_params.items():
            set_rows(p, torch.zeros_like(dict[f"gauss_params.{name}"], device=self.device))
        for name in ("unit", *self._extra(), "photo_viewmats", "photo_Ks", "photo_sizes"):
            setattr(self, name, torch.zeros_like(dict[name], device=self.device))
        keys = nn.Module.load_state_dict(self, dict, **kwargs)
        if self.density is not None and self.density_scale.isfinite():
            self.density.load({"scale": self.density_scale})
        self._began()
        return keys

    def update_to_step(self, step: int) -> None:
        self.step = step


def _outputs(image: Render, background: Tensor, colors: Tensor) -> dict[str, Tensor]:
    """The dictionary that nerfstudio expects; depth where nothing is drawn is the largest."""
    depth, alphas = image.expected_depths[0], image.alphas[0]
    depth = torch.where(alphas > 0, depth, depth.detach().max()) if depth.numel() else depth
    return {"rgb": colors[0], "depth": depth, "accumulation": alphas, "background": background}
