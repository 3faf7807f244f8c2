"""Parts of the plugin with the real classes of nerfstudio, in this process."""

import math
from copy import deepcopy

import pytest
import torch

pytest.importorskip("nerfstudio", reason="nerfstudio has a venv of its own: make test-nerfstudio")
pytestmark = pytest.mark.nerfstudio

from nerfstudio.cameras.cameras import Cameras as TheirCameras  # noqa: E402
from nerfstudio.data.scene_box import SceneBox  # noqa: E402
from nerfstudio.engine.optimizers import Optimizers  # noqa: E402

from gs_reg import Splats, load_splats  # noqa: E402
from gs_reg.apps.ns_plugin.cameras import our_camera  # noqa: E402
from gs_reg.apps.ns_plugin.config import PLAIN_RATES, free, optimizers, sparse  # noqa: E402
from gs_reg.apps.ns_plugin.dataparser import GsRegDataParser, GsRegDataParserConfig  # noqa: E402
from gs_reg.apps.ns_plugin.model import GsRegModel, GsRegModelConfig  # noqa: E402
from gs_reg.apps.ns_plugin.optimizer import UNITS, RowAdam  # noqa: E402
from gs_reg.apps.ns_plugin.scheduler import DecayConfig  # noqa: E402
from gs_reg.apps.view.looks import part_colors  # noqa: E402
from gs_reg.errors import InputError  # noqa: E402

N = 40


def camera(x: float = 0.0) -> TheirCameras:
    """Looks along -z from (x, 0, 3)."""
    pose = torch.eye(4)[:3].clone()
    pose[:, 3] = torch.tensor([x, 0, 3])
    return TheirCameras(pose[None], fx=20.0, fy=20.0, cx=10.0, cy=8.0, width=20, height=16)


def some_splats(count: int = N, degree: int = 1) -> Splats:
    generator = torch.Generator().manual_seed(3)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    return Splats(
        means=0.4 * randn(count, 3),
        quats=randn(count, 4),
        log_scales=0.1 * randn(count, 3) - 2,
        opacity_logits=randn(count),
        sh=0.3 * randn(count, (degree + 1) ** 2, 3),
        extra={"filled": torch.zeros(count, dtype=torch.bool), "part": torch.arange(count) % 3},
    )


def make(**settings) -> GsRegModel:
    torch.manual_seed(0)
    model = GsRegModel(GsRegModelConfig(**settings), SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3])), num_train_data=2)
    model.set_splats(some_splats())
    model.set_photos([our_camera(camera(x)) for x in (-0.2, 0.0, 0.2)])
    return model


def batch(alpha: bool = False):
    image = torch.randint(0, 255, (16, 20, 3 + alpha), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    return {"image": image}


def step_once(model, groups, step, data=None):
    model.train()
    model.step_cb(groups, step)
    groups.zero_grad_all()
    data = data or batch()
    outputs = model.get_outputs(camera())
    losses = model.get_loss_dict(outputs, data, model.get_metrics_dict(outputs, data))
    sum(losses.values()).backward()
    groups.optimizer_step_all()
    groups.scheduler_step_all(step)
    model.step_post_backward(step)
    return {name: float(value) for name, value in losses.items()}


def groups_of(model):
    return Optimizers(optimizers(PLAIN_RATES, model.config.steps), model.get_param_groups())


def test_density_control_grows_parameters_and_moments_alike():
    model = make(densify="mcmc", steps=1000, dropout=0.0, parts=("nose", "ear"))
    groups = groups_of(model)
    step_once(model, groups, 99)
    assert model.num_points == N
    held = model.get_outputs(camera())  # as the trainer holds the losses of a step, and with them its graph
    step_once(model, groups, 100)
    assert model.num_points == len(model.unit) == len(model.filled) == len(model.part) == int(1.05 * N)
    assert float(model.density_scale) == pytest.approx(3, abs=1)
    for name, p in model.gauss_params.items():
        assert p is groups.optimizers[name].param_groups[0]["params"][0]
        assert len(p) == model.num_points
        assert groups.optimizers[name].state[p]["exp_avg"].shape == p.shape
    values = {name: p.detach().clone() for name, p in model.gauss_params.items()}
    step_once(model, groups, 101)
    assert all(not torch.equal(values[name], p) for name, p in model.gauss_params.items())
    assert held["rgb"].requires_grad


def test_a_loaded_model_goes_on_as_the_saved_one():
    model = make(densify="mcmc", steps=1000, dropout=0.3, parts=("nose", "ear"))
    groups = groups_of(model)
    for step in (100, 101):
        step_once(model, groups, step)
    fresh = GsRegModel(model.config, model.scene_box, num_train_data=2)
    again, ids = groups_of(fresh), {name: id(p) for name, p in fresh.gauss_params.items()}
    fresh.update_to_step(101)
    # copies, as from a file: torch would share the moments
    fresh.load_state_dict(deepcopy(model.state_dict()), strict=True)
    again.load_optimizers({name: deepcopy(o.state_dict()) for name, o in groups.optimizers.items()})
    again.load_schedulers({name: deepcopy(s.state_dict()) for name, s in groups.schedulers.items()})
    assert fresh.started and {name: id(p) for name, p in fresh.gauss_params.items()} == ids
    for step in (102, 103):
        assert step_once(fresh, again, step) == step_once(model, groups, step)
    for name, p in model.gauss_params.items():
        assert torch.equal(p, fresh.gauss_params[name])
    assert torch.equal(model.part, fresh.part) and len(model.part) > N


def test_the_longest_axis_is_limited():
    model = make(max_aspect=4.0)
    with torch.no_grad():
        model.gauss_params["scales"][0] = torch.tensor([1.0, -3.0, -3.0])
    model.step_post_backward(0)
    longest = model.gauss_params["scales"][0, 0].item()
    assert longest == pytest.approx(max(-3 + math.log(4), model.unit[0].log().item() + math.log(8)), abs=1e-5)


def test_what_is_drawn_has_the_expected_opacities_and_the_exporter_sees_them():
    model = make(dropout=0.25).eval()
    raw = model.gauss_params["opacities"].sigmoid()
    torch.testing.assert_close(model.opacities.sigmoid(), 0.75 * raw)
    outputs = model.get_outputs(camera())
    assert outputs["rgb"].shape == (16, 20, 3) and outputs["depth"].shape == outputs["accumulation"].shape == (
        16,
        20,
        1,
    )
    assert outputs["background"].shape == (16, 20, 3)


def test_masked_pixels_enter_no_loss_and_alpha_shows_the_background():
    model, mask = make(dropout=0.0), torch.ones(16, 20, 1, dtype=torch.bool)
    mask[:, :10] = False
    data, other = {**batch(), "mask": mask}, batch()
    other["image"][:, :10] = 255 - other["image"][:, :10]
    other["mask"] = mask
    model.train()
    outputs = model.get_outputs(camera())
    losses = [model.get_loss_dict(outputs, of) for of in (data, other, batch())]
    assert float(losses[0]["l1"]) == pytest.approx(float(losses[1]["l1"]), abs=1e-7)
    assert float(losses[0]["l1"]) != pytest.approx(float(losses[2]["l1"]), abs=1e-4)
    clear = batch(alpha=True)
    clear["image"][..., 3] = 0
    photo, _ = model._photo(outputs, clear)
    torch.testing.assert_close(photo, outputs["background"].expand(16, 20, 3))
    values, images = model.eval().get_image_metrics_and_images(model.get_outputs(camera()), data)
    assert set(values) == {"psnr", "ssim"} and images["img"].shape == (16, 40, 3)


def test_controls_change_the_picture_alone(tmp_path, monkeypatch):
    model = make(dropout=0.0).eval()
    plain, controls = model.get_outputs(camera()), model.gs_reg
    monkeypatch.setattr(controls.scale, "default_value", 0.05)
    assert model.get_outputs(camera())["accumulation"].sum() < plain["accumulation"].sum()
    monkeypatch.setattr(controls.scale, "default_value", 1.0)
    monkeypatch.setattr(controls.floor, "default_value", 1.0)
    assert float(model.get_outputs(camera())["accumulation"].max()) == 0
    monkeypatch.setattr(controls.floor, "default_value", 0.0)
    monkeypatch.setattr(controls.degree, "default_value", 0)
    assert not torch.equal(model.get_outputs(camera())["rgb"], plain["rgb"])
    monkeypatch.setattr(controls.degree, "default_value", 4)
    monkeypatch.setattr(controls.clamp, "default_value", True)
    torch.testing.assert_close(model.get_outputs(camera(9.0))["rgb"], model.get_outputs(camera(0.2))["rgb"])
    monkeypatch.setattr(controls.clamp, "default_value", False)
    monkeypatch.setattr(controls.path, "default_value", str(tmp_path / "a.ply"))
    controls.save.cb_hook(controls.save)
    assert torch.equal(load_splats(tmp_path / "a.ply").means, model.means)
    assert torch.equal(model.get_outputs(camera())["rgb"], plain["rgb"])


def test_confidence_counts_the_photos_that_show_a_splat(monkeypatch):
    model = make(dropout=0.0).eval()
    with torch.no_grad():
        model.gauss_params["means"][0] = torch.tensor([0.0, 0.0, 50.0])  # behind all cameras
        model.gauss_params["opacities"][1:3] = 4
        model.gauss_params["means"][1] = torch.tensor([0.0, 0.0, 1.5])  # before all others
    counts = model.gs_reg.photo_counts()
    assert counts[0] == 0 and counts[1] == 3
    monkeypatch.setattr(model.gs_reg.cut, "default_value", 3)
    assert len(model.gs_reg.applied(model.splats())) == int((counts == 3).sum()) < N
    monkeypatch.setattr(model.gs_reg.color, "default_value", "confidence")
    rgb = model.get_outputs(camera())["rgb"]
    assert torch.equal(rgb[..., 0], rgb[..., 1]) and float(rgb.max()) > 0.3
    monkeypatch.setattr(model.gs_reg.color, "default_value", "depth")
    assert not torch.equal(model.get_outputs(camera())["rgb"], rgb)


def test_a_part_is_shown_alone_and_parts_in_their_colours(monkeypatch):
    model = make(dropout=0.0, parts=("nose", "ear")).eval()
    monkeypatch.setattr(model.gs_reg.color, "default_value", "parts")
    both = model.get_outputs(camera())["rgb"]
    monkeypatch.setattr(model.gs_reg.part, "default_value", "ear")
    assert torch.equal(model.gs_reg.applied(model.splats()).means, model.means[model.part == 2])
    outputs = model.get_outputs(camera())
    ear = part_colors(torch.tensor([2]))
    torch.testing.assert_close(outputs["rgb"], outputs["accumulation"] * ear)
    assert float(outputs["accumulation"].max()) > 0.3
    assert not torch.equal(outputs["rgb"], both)


def test_steps_are_in_units_of_the_rows():
    p = torch.nn.Parameter(torch.zeros(2, 3))
    setattr(p, UNITS, torch.tensor([[1.0], [10.0]]))
    p.grad = torch.ones(2, 3)
    RowAdam([p], lr=0.1).step()
    torch.testing.assert_close(p.detach(), torch.tensor([[-0.1] * 3, [-1.0] * 3]))


def test_rates_are_plain_floats():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = DecayConfig(final_rate=0.01, max_steps=2).setup().get_scheduler(optimizer, 0.5)
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.5, 0.05, 0.005, 0.005])
    assert {type(rate) for rate in [*rates, optimizer.param_groups[0]["lr"]]} == {float}


def test_methods_have_an_optimiser_for_each_parameter():
    for method in (sparse, free):
        model = GsRegModel(method.config.pipeline.model, None, num_train_data=2)
        assert set(model.get_param_groups()) <= set(method.config.optimizers)
        assert method.config.viewer.websocket_host == "127.0.0.1"


def test_the_dataparser_splits_by_name_and_turns_up_to_z(small, tmp_path, capsys):
    parser = GsRegDataParser(GsRegDataParserConfig(data=small, cache_dir=tmp_path, long_side=64))
    train, test = (parser.get_dataparser_outputs(split) for split in ("train", "val"))
    names = sorted(path.name for path in (small / "images").iterdir())
    assert [path.stem for path in test.image_filenames] == [names[3][:-4], names[8][:-4]]
    assert len(train.image_filenames) == 10
    up = train.cameras.camera_to_worlds[:, :, 1].mean(0)
    assert float(up[2]) > 0.9 * float(up.norm())
    (small / "run").mkdir()
    for name in ("config.yaml", "scene.json"):
        (small / "run" / name).write_text("{}")
    with pytest.raises(InputError, match="a run has its own long_side"):
        GsRegDataParser(GsRegDataParserConfig(data=small / "run", long_side=64)).dataset()
    with pytest.raises(InputError, match="no such folder"):
        GsRegDataParser(GsRegDataParserConfig(data=small / "nowhere")).dataset()
