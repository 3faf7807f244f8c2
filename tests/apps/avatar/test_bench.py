"""Variants change what they are named after; tables hold means and deviations by hand."""

import dataclasses

import pytest

from gs_reg.apps import cli
from gs_reg.apps.avatar.bench import command
from gs_reg.apps.avatar.bench.table import mean_and_sd, summary
from gs_reg.apps.avatar.bench.variants import USUAL, VARIANTS, file_name
from gs_reg.apps.avatar.config import Config
from gs_reg.data_tools.heads.synth import SynthConfig


def changed(variant: str) -> set[str]:
    whole = Config.of_preset("fast")
    other = VARIANTS[variant](whole)
    return {f.name for f in dataclasses.fields(Config) if getattr(whole, f.name) != getattr(other, f.name)}


@pytest.mark.parametrize(
    ("variant", "fields"),
    [
        ("full", set()),
        ("no latents", {"latents"}),
        ("no Laplacian on latents", {"terms"}),
        ("no Laplacian on dynamics", {"terms"}),
        ("no latents, no Laplacian", {"latents", "terms"}),
        ("no prior field", {"coarse"}),
        ("no detail field", {"heads"}),
        ("rig-bound Gaussians", {"method"}),
        ("mean scores", {"clusters"}),
        ("no Jacobian", {"model"}),
    ],
)
def test_a_variant_changes_one_thing(variant, fields):
    assert changed(variant) == fields


def test_the_laplacian_is_split_into_latents_and_dynamics():
    laplacian = VARIANTS["no Laplacian on latents"](Config()).terms.laplacian
    assert laplacian.latent == 0 and laplacian.offset > 0 and laplacian.weight > 0
    laplacian = VARIANTS["no Laplacian on dynamics"](Config()).terms.laplacian
    others = [laplacian.offset, laplacian.d_rot, laplacian.d_scale, laplacian.d_opacity, laplacian.d_color]
    assert laplacian.latent > 0 and not any(others)
    assert len(USUAL) == 8 and len({file_name(name) for name in VARIANTS}) == len(VARIANTS)


def test_means_and_deviations():
    assert mean_and_sd([1.0, 2.0, 3.0]) == {"mean": 2.0, "sd": 1.0, "seeds": 3}
    assert mean_and_sd([5.0])["sd"] is None

    def result(psnr: float) -> dict:
        masks = {mask: {"psnr": psnr, "ssim": 0.9, "lpips": None} for mask in ("full", "head", "face")}
        return {"self_reenactment": masks, "novel_view": None, "gaussians": 10, "seconds": 3.0}

    figures = summary({"full": [result(30.0), result(32.0)]})
    assert figures["full"]["self_reenactment"]["face"]["psnr"]["mean"] == 31.0
    assert figures["full"]["self_reenactment"]["full"]["lpips"] is None
    assert figures["full"]["novel_view"]["full"]["psnr"] is None


def test_the_capture_is_that_of_its_preset(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(command, "synth", asked.append)
    folder = command.made_capture(command.Config(capture="tiny", out=tmp_path))
    assert [(c.out, c.capture) for c in asked] == [(folder, SynthConfig.preset("tiny"))]


def test_a_capture_that_was_broken_off_is_drawn_anew(monkeypatch, tmp_path):
    asked, folder = [], tmp_path / "capture"
    monkeypatch.setattr(command, "synth", asked.append)
    (folder / "calibration").mkdir(parents=True)
    command.made_capture(command.Config(capture="tiny", out=tmp_path))
    assert len(asked) == 1 and not folder.exists()
    (folder / "calibration").mkdir(parents=True)
    (folder / "synth.json").write_text("{}")
    command.made_capture(command.Config(capture="tiny", out=tmp_path))
    assert len(asked) == 1 and folder.exists()


def test_unknown_variants_are_one_line(capsys, tmp_path):
    assert cli.main(["avatar", "bench", "--variants", "no hair", "--out", str(tmp_path)]) == 2
    assert "--variants: 'no hair' is none of full, no latents" in capsys.readouterr().err
