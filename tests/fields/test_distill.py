"""Distillation on the toy head: gates, the slit, both kinds of priors, resuming to the same bits."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.apps.avatar.presets import BEST
from gs_reg.data_tools.heads.synth.config import SEQUENCES
from gs_reg.data_tools.heads.synth.sequences import motion
from gs_reg.errors import InputError
from gs_reg.fields.distill import Distillation, DistillConfig, coarse_field, code_statistics, distill, is_linear
from gs_reg.fields.latents import SHARED, first_latents, nearest_rows
from gs_reg.fields.pool import Subject, make_pool
from gs_reg.fields.report import BACKWARD, Errors, gates
from gs_reg.models.avatar.start import CloudConfig, start_cloud
from gs_reg.priors import load_prior
from gs_reg.priors.toy import ToyPrior
from gs_reg.priors.types import Part, SurfaceSample

TOY = ToyPrior().to(dtype=torch.float32)
CODES = TOY.lo + (TOY.hi - TOY.lo) * torch.rand(60, 8, generator=torch.Generator().manual_seed(1))
CLOUD = TOY.surface(None, 2000, 0).to(dtype=torch.float32)
SMALL = DistillConfig(steps=6, width=16, depth=3, points=64, codes=4, pool=256, pool_codes=8, refresh=2, bumps=0)


class Backward:
    """The toy head as a prior that knows only the way back."""

    def __getattr__(self, name):
        return getattr(TOY, name)

    def forward(self, *args, **options):
        return None


class Bent(Backward):
    """The toy head with a mouth that opens with the square of its coefficient."""

    def forward(self, x, z, ident=None, part=None):
        return TOY.forward(x, torch.cat([z[..., :1] ** 2, z[..., 1:]], -1), ident, part)


class Dented(Backward):
    """The toy head with a small spot that moves with the square of a coefficient."""

    def forward(self, x, z, ident=None, part=None):
        spot = (x[..., 2:] < -0.392).to(x)
        return TOY.forward(x, z, ident, part) + 0.01 * spot * z[..., None, 1:2] ** 2


SHORT = DistillConfig(steps=500, width=64, depth=4, points=256, codes=16, pool=8192, pool_codes=48, lr=5e-3, bumps=0)


@pytest.fixture(scope="module")
def distilled():
    """A field of the toy head after a short run."""
    field = coarse_field(TOY, None, CODES[:40], None, SHORT)
    return field, distill(field, CLOUD, TOY, CODES[:40], None, SHORT)


def test_the_field_of_the_toy_head_is_right_to_tenths_of_a_millimetre(distilled):
    field, latents = distilled
    report = gates(field, latents, Subject(TOY, CLOUD, CODES[:40]), CODES[40:])
    assert report.linear
    for table in (report.errors, report.cycle):
        assert table.keys() == {"seen", "held_out", "jittered"}
        for regions in table.values():
            assert regions.keys() == {"all", "lips", "rest"}
            assert regions["all"].mean < 0.3 and regions["all"].p95 < 0.8
    assert not any(report.folds.values())


@pytest.mark.slow
def test_a_longer_run_on_the_toy_head_passes_all_gates():
    config = DistillConfig(steps=2500, width=96, bumps=0)
    field = coarse_field(TOY, None, CODES[:40], None, config)
    latents = distill(field, CLOUD, TOY, CODES[:40], None, config)
    report = gates(field, latents, Subject(TOY, CLOUD, CODES[:40]), CODES[40:])
    assert report.passed, report.failures


def test_the_two_sides_of_the_slit_go_to_their_own_places(distilled):
    field, latents = distilled
    halves = (Part.LIP_UPPER, Part.LIP_LOWER)
    sheet = SurfaceSample(*(getattr(CLOUD, name)[-400:] for name in ("points", "normals", "parts")))
    of_half = [replace(sheet, parts=sheet.parts * 0 + half) for half in halves]
    z = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    with torch.no_grad():
        moved = [field(sheet.points, latents[nearest_rows(CLOUD, half)], None, z) for half in of_half]
    truth = [TOY.forward(sheet.points, z, None, half.parts) - sheet.points for half in of_half]
    apart, wanted = moved[0] - moved[1], truth[0] - truth[1]
    assert float(wanted.norm(dim=1).mean() * 250) > 5.0
    assert float((apart - wanted).norm(dim=1).mean() * 250) < 0.5


def test_a_run_goes_on_from_its_tensors_to_the_same_bits():
    config = replace(SMALL, lr_latent=1e-3)

    def begun():
        return Distillation(coarse_field(TOY, None, CODES, None, config), CLOUD, TOY, CODES, None, config)

    whole, first, second = begun(), begun(), begun()
    losses = [step.losses for step in whole]
    for step in first:
        if step.number == 2:
            break
    saved = {kind: {**values} for kind, values in first.tensors().items()}
    second.load(saved, first.step)
    assert [step.losses for step in second] == losses[3:]
    for name, value in whole.tensors()["model"].items():
        assert torch.equal(value, second.tensors()["model"][name]), name
    assert not torch.equal(whole.latents, begun().latents)


def test_the_closed_form_passes_all_gates_on_the_toy_head():
    config = DistillConfig(bumps=500, solve_points=6000)
    field = coarse_field(TOY, None, CODES[:40], None, config)
    run = Distillation(field, CLOUD, TOY, CODES[:40], None, config)
    (step,) = run
    assert run.step == run.total == 1 and step.losses["left_mm"] < 0.5
    latents = run.latents.detach()
    report = gates(field, latents, Subject(TOY, CLOUD, CODES[:40]), CODES[40:])
    assert report.passed, report.failures
    z = CODES[41]
    assert torch.equal(field(CLOUD.points, latents, None, TOY.neutral), torch.zeros_like(CLOUD.points))
    assert float(field(CLOUD.points + 3, latents, None, z).detach().abs().max()) < 1e-9


def test_the_closed_form_is_the_same_to_the_bit_and_is_resumed():
    config = DistillConfig(bumps=40, solve_points=600)

    def begun():
        return Distillation(coarse_field(TOY, None, CODES, None, config), CLOUD, TOY, CODES, None, config)

    one, two, third = begun(), begun(), begun()
    assert [step.losses for step in one] == [step.losses for step in two]
    third.load(one.tensors(), one.step)
    assert list(third) == []
    for name, value in one.tensors()["model"].items():
        for other in (two, third):
            assert torch.equal(value, other.tensors()["model"][name]), name


def test_the_closed_form_keeps_to_the_scale_and_the_groups_of_a_code():
    config, groups = DistillConfig(bumps=40, solve_points=600), (5, 3, 0, 0, 0, 0)
    plain, scaled = (coarse_field(TOY, None, CODES, groups, config) for _ in range(2))
    scaled.set_codes(TOY.neutral, torch.full((8,), 2.0))
    latents = [distill(field, CLOUD, TOY, CODES, None, config) for field in (plain, scaled)]
    moved = [field(CLOUD.points, latents[0], torch.ones(len(CLOUD.points), 6), CODES[0]) for field in (plain, scaled)]
    assert float(moved[0].detach().abs().max()) > 0.01
    torch.testing.assert_close(*moved)


def test_a_prior_that_knows_only_the_way_back_is_learned_by_its_cycle():
    config = replace(SMALL, steps=120, width=64, points=192, pool=2048, refresh=120, lr=5e-3, linear=True, bumps=9)
    codes = CODES * torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    prior = Backward()
    field = coarse_field(prior, None, codes, None, config)
    assert (
        field.linear and field.bumps is None and not is_linear(prior, None)
    )  # it would be a network, which takes more steps
    before = gates(field, first_latents(CLOUD.parts, 8, 0), Subject(prior, CLOUD, codes))
    latents = distill(field, CLOUD, prior, codes, None, config)
    after = gates(field, latents, Subject(prior, CLOUD, codes))
    assert before.limits == after.limits == BACKWARD and after.direct is None
    assert after.cycle["seen"]["lips"].p95 < 0.6 * before.cycle["seen"]["lips"].p95


def test_a_prior_that_is_not_linear_gets_a_network():
    assert is_linear(TOY, None) and not is_linear(Bent(), None)
    assert is_linear(Dented(), None)  # in a spot of 1 % of its surface it is not
    assert not coarse_field(Bent(), None, CODES, None, SMALL).linear
    assert coarse_field(Bent(), None, CODES, None, replace(SMALL, linear=True)).linear
    field = coarse_field(Bent(), None, CODES, None, SMALL)
    losses = [step.losses for step in Distillation(field, CLOUD, Bent(), CODES, None, SMALL)]
    assert losses[0].keys() == {"direct", "neutral", "far", "fold"}


def test_statistics_are_the_identity_for_coefficients_and_measured_for_others():
    mean, scale = code_statistics(TOY, CODES)
    assert torch.equal(mean, TOY.neutral) and torch.equal(scale, torch.ones(8))

    class Wide(Backward):
        hi = TOY.hi * 3

    mean, scale = code_statistics(Wide(), CODES)
    torch.testing.assert_close(mean, CODES.mean(0))
    torch.testing.assert_close(scale, CODES.std(0, correction=0))


def test_pools_depend_on_the_seed_alone_and_keep_codes_in_range():
    subject = Subject(TOY, CLOUD, CODES[:1].repeat(3, 1))
    one, again, other = (make_pool(subject, 500, 25, seed) for seed in (3, 3, 4))
    assert torch.equal(one.points.points, again.points.points) and torch.equal(one.codes, again.codes)
    assert not torch.equal(one.points.points, other.points.points)
    lo, hi = subject.range()
    assert (one.codes >= lo).all() and (one.codes <= hi).all()
    assert (one.codes - CODES[0]).abs().max() > 0.5  # channels that the capture holds still are drawn too
    truth = TOY.forward(one.points.points, one.codes[7].to(CODES), None, one.points.parts)
    torch.testing.assert_close(one.offsets[:, 7], truth - one.points.points, rtol=0, atol=1e-6)


def test_points_take_the_latents_of_their_own_part():
    lips = [Part.LIP_UPPER, Part.LIP_LOWER]
    rows = nearest_rows(CLOUD, CLOUD)
    assert torch.equal(CLOUD.parts[rows], CLOUD.parts)
    cloud = replace(CLOUD, parts=torch.where(torch.isin(CLOUD.parts, torch.tensor(lips)), Part.SKIN, CLOUD.parts))
    assert torch.equal(nearest_rows(cloud, CLOUD) >= 0, torch.ones(len(CLOUD.parts), dtype=torch.bool))
    latents = first_latents(torch.arange(len(Part)), 8, 0)
    for part, other in SHARED.items():
        assert float((latents[part] - latents[other]).norm()) < 0.2
    own = torch.tensor([part for part in Part if part not in SHARED])
    gaps = torch.cdist(latents[own], latents[own]) + 9 * torch.eye(len(own))
    assert float(gaps.min()) > 1.0


def test_a_report_says_what_failed_and_is_written(distilled, tmp_path):
    field, latents = distilled
    report = gates(field, 0 * latents, Subject(TOY, CLOUD, CODES[:40]))
    assert not report.passed and report.failures[0].startswith("seen codes: 95 % of all within ")
    report.save(tmp_path / "distill_report.json")
    read = json.loads((tmp_path / "distill_report.json").read_text())
    assert read["passed"] is False and read["failures"] == list(report.failures)
    assert read["errors"]["seen"]["lips"]["p95"] == report.errors["seen"]["lips"].p95
    assert "lips" in str(report) and f"failed: {report.failures[0]}" in str(report)
    fine = {"seen": {"all": Errors(0.05, 0.1, 3.0), "lips": Errors(0.1, 0.4, 1.0)}}
    lips = replace(report, direct=fine, folds={"seen": 0.002})
    assert lips.failures == (
        "seen codes: 95 % of lips within 0.40 mm, limit 0.3 mm",
        "seen codes: 0.20% of points fold, limit 0.00%",
    )
    assert replace(lips, limits=BACKWARD, folds={"seen": 0.0005}).passed


def test_wrong_settings_and_losses_are_refused():
    with pytest.raises(InputError, match="distill: steps: expected at least 1, got 0"):
        DistillConfig(steps=0)
    with pytest.raises(InputError, match="distill: fold: expected a finite number"):
        DistillConfig(fold=-1.0)
    run = Distillation(coarse_field(TOY, None, CODES, None, SMALL), CLOUD, TOY, CODES, None, SMALL)
    with pytest.raises(ValueError, match=r"latents: expected \[2000, 8\], got \[3, 8\]"):
        run.load({"model": {"latents": torch.zeros(3, 8)}, "optimizer": {}}, 1)
    with torch.no_grad():
        run.field.hidden[0].weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="distill: step 0: the loss is not finite"):
        next(iter(run))


def sparse(prior, count, seed):
    """Codes of few units each."""
    random = torch.Generator().manual_seed(seed)
    codes = torch.rand(count, prior.dim, generator=random)
    return codes * (torch.rand(count, prior.dim, generator=random) < 3 / prior.dim)


def expressions(prior, *sequences):
    """Codes of a capture's sequences, with noise of a tracker."""
    arkit = torch.from_numpy(np.concatenate([motion(name, 10, 0).arkit for name in sequences])).float()
    return prior.from_arkit(arkit + 0.03 * torch.randn(arkit.shape, generator=torch.Generator().manual_seed(0)))


@pytest.mark.slow
def test_the_closed_form_passes_all_gates_on_ict(real_data):
    folder = real_data / "ict_facekit"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    ict = load_prior("ict", folder)
    ident = ict.random_ident(0)
    cloud = start_cloud(ict, ident, CloudConfig(points=22_000, mouth=1500, eyes=800))[1]
    codes, config = expressions(ict, *(name for name in SEQUENCES if name != "FREE")), BEST.distil
    field = coarse_field(ict, ident, codes, None, config)
    latents = distill(field, cloud, ict, codes, ident, config)
    report = gates(field, latents, Subject(ict, cloud, codes, ident), expressions(ict, "FREE"))
    assert report.passed, report.failures


@pytest.mark.slow
def test_the_closed_form_passes_all_gates_on_anny():
    prior = load_prior("anny")
    ident = prior.random_ident(0)
    cloud = start_cloud(prior, ident, CloudConfig(points=22_000, mouth=1500, eyes=800))[1]
    codes = expressions(prior, "EXP-1-head", "EXP-2-eyes", "EXP-5-mouth", "EMO-1")
    field = coarse_field(prior, ident, codes)
    assert field.bumps is not None
    latents = distill(field, cloud, prior, codes, ident)
    report = gates(field, latents, Subject(prior, cloud, codes, ident), expressions(prior, "FREE"))
    assert report.passed, report.failures
    assert all(table["lids"].p95 < 0.9 and table["all"].max < 6 for table in report.errors.values())
    # any units at once, such as mouthClose with a closed mouth, at which the prior's own mesh folds
    anything = gates(field, latents, Subject(prior, cloud, sparse(prior, 60, 0), ident), sparse(prior, 32, 1))
    assert not [failure for failure in anything.failures if "fold" not in failure], anything.failures
    assert max(anything.folds.values()) < 1e-4
