"""The published method through the command line: it runs, goes on to the same bits, and every part can be left out."""

from dataclasses import replace

import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.scenes.coherent import _initial_depths, coherent_start
from gs_reg.apps.scenes.presets import PRESETS
from gs_reg.apps.scenes.stages import with_layers
from gs_reg.data_tools.depth import DepthMap
from gs_reg.data_tools.depth.ray_matches import RayMatches
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.errors import InputError
from gs_reg.io import checkpoint, load_splats
from gs_reg.metrics import psnr
from gs_reg.models.coherent import Coherent, CoherentConfig
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.terms import Context, evaluate

SHORT = ["--preset", "paper-short", "--train.steps", "6", "--coherent.decoders.capacity", "2", "--stop-after", "train"]


def test_a_run_leaves_baked_splats_and_goes_on_to_the_same_bits(photos, tmp_path, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert cli.main(["reconstruct", str(photos), "--out", str(whole), *SHORT]) == 0
    log = capsys.readouterr().err
    assert "flow from that depth" in log and "train_01.png: 1/z = " in log
    assert len(load_splats(whole / "splats.ply")) == 3 * 64 * 48
    assert cli.main(["reconstruct", str(photos), "--out", str(broken), *SHORT, "--checkpoint-every", "2"]) == 0
    newest = checkpoint.latest(broken / "checkpoints")
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assert cli.main(["reconstruct", "--resume", "--out", str(broken)]) == 0
    assert (broken / "splats.ply").read_bytes() == (whole / "splats.ply").read_bytes()


@pytest.fixture(scope="module")
def start():
    scene = box_and_sphere(Rig(64, 48, held_out=0, samples=1))
    views = [view.to(dtype=torch.float32) for view in scene.views]
    certain = [torch.ones(48, 64) for _ in views]
    depths = [DepthMap(view.depths[0], sd, sd > 0, sd.long()) for view, sd in zip(views, certain, strict=True)]
    return views, depths


def test_alignment_finds_the_depths_again_and_can_be_left_out(start):
    views, depths = start
    stage = replace(PRESETS["paper"].coherent, decoders=CoherentConfig(capacity=1))
    truth = torch.cat([view.depths.flatten() for view in views])
    errors = []
    for align in (True, False):
        model = coherent_start(views, depths, None, replace(stage, align=align), PixelAlignedConfig(), 0)
        errors.append(float((model.start / truth - 1).abs().median()))
    assert errors[0] < 1e-3 and errors[1] > 0.02
    assert isinstance(model, Coherent) and (model.match_pixels > 0).any(1).float().mean() > 0.6


def test_a_photo_that_overlaps_with_no_other_takes_the_scale_of_the_rest(start, caplog):
    caplog.set_level("INFO")
    views, depths = start
    around = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    away = replace(views[2], cameras=replace(views[2].cameras, viewmats=around @ views[2].cameras.viewmats))
    stage = replace(PRESETS["paper"].coherent, decoders=CoherentConfig(capacity=1))
    model = coherent_start([*views[:2], away], depths, None, stage, PixelAlignedConfig(), 0)
    assert f"{views[2].names[0]}: 0 flow matches are too few" in caplog.text
    error = (model.start / torch.cat([view.depths.flatten() for view in views]) - 1).abs().unflatten(0, (3, -1))
    assert error[:2].median() < 1e-3 and error[2].median() < 0.5
    with pytest.raises(InputError, match="no photo has 20 flow matches"):
        coherent_start([views[0], away], depths[1:], None, stage, PixelAlignedConfig(), 0)


def test_one_scale_for_all_photos_needs_few_matches(start):
    """Fewer than what alignment asks for."""
    views = start[0]
    disparities = [1 / view.depths[0] for view in views]
    pixels = torch.zeros(48, 64, 2)
    pixels[20, 30:35, 0] = 100.0
    matches = [RayMatches(torch.where(pixels > 0, 0.5, 0.0), pixels)] * 3
    stage = replace(PRESETS["paper"].coherent, align=False)
    found = _initial_depths(views, disparities, matches, stage)
    scale = 0.5 / disparities[0][20, 30:35].median()
    torch.testing.assert_close(found[0], 1 / (scale * disparities[0]), rtol=0.1, atol=0)
    with pytest.raises(InputError, match="no photo has 20 flow matches"):
        _initial_depths(views, disparities, matches, replace(stage, align=True))


def test_views_take_the_layers_that_the_model_keeps(start):
    views, depths = start
    stage = replace(PRESETS["paper"].coherent, decoders=CoherentConfig(capacity=1, layers=4))
    model = coherent_start(views, depths, None, stage, PixelAlignedConfig(), 0)
    layered = with_layers(views, model.state_dict())
    assert all(view.layers.shape == (1, 48, 64) and view.layers.max() == 3 for view in layered)
    near, far = (views[0].depths[layered[0].layers == n].mean() for n in (3, 0))
    assert near < far
    assert with_layers(views, model.rows.state_dict()) == views


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_scale_of_the_world_changes_nothing(start, scale):
    """T16: pictures, and every term's value."""
    preset = PRESETS["paper-short"]
    stage = replace(preset.coherent, decoders=CoherentConfig(capacity=2))

    def seen(views, depths):
        model = coherent_start(views, depths, None, stage, PixelAlignedConfig(), 0)
        view, config = with_layers(views, model.state_dict())[0], RenderConfig(near=1e-6)
        splats = model()
        image = render(splats, view.cameras, config)
        return image.colors.detach(), evaluate(preset.terms, Context(0, 10, model, splats, image, Shot(view)))

    moved = torch.tensor([1, 1, 1, scale])
    views = [replace(v, cameras=replace(v.cameras, viewmats=v.cameras.viewmats * moved)) for v in start[0]]
    for view, kept in zip(views, start[0], strict=True):
        view.cameras.viewmats[:, 3] = kept.cameras.viewmats[:, 3]
    colors, values = seen(*start)
    others, other_values = seen(views, [replace(d, depth=scale * d.depth) for d in start[1]])
    assert float(psnr(colors, others, None)) > 40
    assert {k: float(v.detach()) for k, v in values.items()} == pytest.approx(
        {k: float(v.detach()) for k, v in other_values.items()}, rel=0.02, abs=1e-5
    )


def test_presets_switch_every_part_of_the_method_on():
    for name in ("paper", "paper-short"):
        preset = PRESETS[name]
        assert preset.coherent.on and preset.coherent.align and preset.train.multisample > 1 and preset.train.sh_from
        assert preset.coherent.decoders.decode_depth and preset.coherent.decoders.decode_opacity
        weights = {k: getattr(preset.terms, k).weight for k in ("l1", "pyramid", "ssim", "layered", "flow")}
        assert weights.pop("l1") == 0 and all(weight > 0 for weight in weights.values())


def test_terms_without_their_layers_or_matches_are_refused(photos, capsys):
    words = ["reconstruct", str(photos), "--dry-run"]
    refused = {
        (
            "rays",
            "terms.flow",
        ): "PixelAligned: it needs Gaussians on rays, with matches of their pixels",
        ("rays", "terms.layered"): "it needs views with layers; add --coherent.on, or start from --preset paper",
        ("paper", "terms.anchor"): "Coherent: it needs Gaussians on rays whose depth was measured",
        ("paper", "free.terms.layered"): "it needs views with layers; only Gaussians on the rays",
        ("best", "free.terms.anchor"): "not available for Free: it needs Gaussians on rays whose depth was measured",
    }
    for (preset, term), reason in refused.items():
        assert cli.main([*words, "--preset", preset, f"--{term}.weight", "0.1"]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert errors[-1].startswith(f"gs-reg: --{term}.weight: not available") and reason in errors[-1]
    for preset in ("best", "plain"):  # their steps are those of free Gaussians alone
        assert cli.main([*words, "--preset", preset, "--terms.l1.weight", "0.1"]) == 2
        assert "--terms.l1.weight: no effect" in capsys.readouterr().err
    assert cli.main([*words, "--preset", "paper"]) == 0
    assert cli.main([*words, "--preset", "paper", "--start", "random"]) == 2
    assert "starts from depth" in capsys.readouterr().err
