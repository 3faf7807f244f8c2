"""Avatars in training: they learn to look like a head they never saw, go on from a checkpoint, and come as files."""

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from gs_reg.densify import DensifyConfig, density_control
from gs_reg.densify.clusters import ClusterConfig, ClusterControl, cluster_codes
from gs_reg.errors import InputError
from gs_reg.fit import FitConfig, fit
from gs_reg.io.avatar import AvatarInfo
from gs_reg.models.avatar import Avatar, AvatarConfig, load_avatar, save_avatar
from gs_reg.models.screen_cnn import ScreenCnn
from gs_reg.optim import OptimConfig
from gs_reg.render import render
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of, evaluate
from gs_reg.terms.avatar import AvatarTerms
from gs_reg.terms.screen import cleaned
from tests.models.avatars import FRAMES, PRIOR, filmed, rig, stirred, toy_avatar, track

CONFIG = AvatarConfig(neighbors=8, sh_degree=1, lr_detail=2e-3, lr_means=5e-4, rebuild_every=7)
SELECTIVE = OptimConfig(selective=True)
INFO = AvatarInfo("toy", PRIOR.channels, tuple(PRIOR.lo.tolist()), tuple(PRIOR.hi.tolist()), "CC0", details={"a": 1})


def shoot_of(size=40):
    films = [filmed(frame, track(), rig(size)) for frame in range(FRAMES)]
    return films, lambda step: Shot(films[step % (FRAMES - 1)])


def begin(config=CONFIG, points=400):
    avatar = toy_avatar(config, points)
    density = ClusterConfig(start=0.0, stop=1.0, every=6, score=1e-5, cap=1500, views=1, prune_scale=1, weigh_every=2)
    return State.begin(avatar, SELECTIVE, ClusterControl(density, cluster_codes(track().codes, 2)))


def run(state, shoot, last, total=20, terms=AvatarTerms()):
    loop = fit(state, shoot, cost_of(terms), FitConfig(total, SELECTIVE))
    return [step.loss for _, step in zip(range(state.step, last), loop, strict=False)]


def psnr(avatar, film):
    with torch.no_grad():
        image = render(avatar(film), avatar.cameras(film))
    return -10 * float((image.colors - film.photos).square().mean().log10())


def test_a_known_head_is_learnt_and_a_frame_that_was_held_out_gets_better():
    films, _ = shoot_of(40)
    avatar = toy_avatar(CONFIG, points=700)
    avatar.paint(films[0])
    before = psnr(avatar, films[-1])
    state = State.begin(avatar, SELECTIVE)
    config = FitConfig(150, SELECTIVE)
    losses = [step.loss for step in fit(state, lambda s: Shot(films[s % (FRAMES - 1)]), cost_of(AvatarTerms()), config)]
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
    assert psnr(avatar, films[-1]) > before + 3
    assert not avatar.code_corrections[-1].any() and avatar.code_corrections[:-1].any(1).all()
    assert not avatar.pose_corrections[-1].any() and avatar.pose_corrections[:-1].any(1).all()


def test_it_goes_on_to_the_same_bits_over_changes_of_number_and_graph():
    _, shoot = shoot_of()
    unbroken = begin()
    losses = run(unbroken, shoot, 16)
    other = begin()
    run(other, shoot, 9)
    saved = copy.deepcopy(other.tensors())
    assert len(saved["model"]["means"]) != 400 and int(saved["model"]["built"]) == 6
    template = toy_avatar(CONFIG)
    model = Avatar.loaded(saved["model"], template.coarse, template.detail, CONFIG)
    fresh = State.begin(model, SELECTIVE, ClusterControl(unbroken.density.config, cluster_codes(track().codes, 2)))
    fresh.load(saved, 9)
    assert run(fresh, shoot, 16) == losses[9:]
    assert len(model.means) > len(saved["model"]["means"])
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_the_graph_is_made_anew_when_it_is_old():
    state, (_, shoot) = begin(), shoot_of()
    state.density = None
    first = state.model.graph()
    run(state, shoot, 6)
    assert state.model.graph() is first
    run(state, shoot, 7)
    assert state.model.graph() is not first and int(state.model.built) == 7


def test_a_file_gives_the_same_avatar(tmp_path):
    avatar = toy_avatar(replace(CONFIG, jacobian="none", sh_frame="world"))
    stirred(avatar.detail)
    save_avatar(tmp_path, avatar, INFO)
    loaded, info = load_avatar(tmp_path)
    assert info == INFO and loaded.config == avatar.config
    for name, value in avatar.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    code, pose = avatar.code(2), avatar.pose(2)
    assert torch.equal(avatar.posed(code, pose).sh, loaded.posed(code, pose).sh)
    assert torch.equal(avatar.posed(code, pose).means, loaded.posed(code, pose).means)


@pytest.mark.parametrize("heads, coarse", [((), True), (("opacity", "color"), False)])
def test_a_file_of_an_avatar_with_less(tmp_path, heads, coarse):
    avatar = toy_avatar(CONFIG, heads=heads, coarse=coarse)
    save_avatar(tmp_path, avatar, INFO)
    loaded, _ = load_avatar(tmp_path)
    assert torch.equal(avatar.deformed(avatar.code(2)).means, loaded.deformed(loaded.code(2)).means)
    assert (loaded.coarse is None) == (not coarse) and loaded.detail.heads == heads


def test_channels_have_names_and_ranges():
    with pytest.raises(InputError, match="channels: expected 8 different names"):
        replace(INFO, channels=(INFO.channels[1], *INFO.channels[1:]))
    with pytest.raises(InputError, match=f"{INFO.channels[0]}: expected a range from lo to hi, got 2 to 1"):
        replace(INFO, lo=(2, *INFO.lo[1:]), hi=(1, *INFO.hi[1:]))


def test_files_that_are_no_avatar(tmp_path):
    with pytest.raises(InputError, match=r"avatar\.safetensors: no such file"):
        load_avatar(tmp_path)
    avatar = toy_avatar(CONFIG)
    save_avatar(tmp_path, avatar, INFO)
    header = (tmp_path / "avatar.json").read_text()
    for before, after, what in (
        ('"schema": 1', '"schema": 7', "expected schema 1, got 7"),
        ('"gaussians": 600', '"gaussians": 599', "expected the Gaussians of avatar.safetensors, got 599"),
        ('"width": 32', '"width": 33', "avatar.safetensors: broken"),
        ('"toy"', "toy", "not valid JSON"),
        ('"prior"', '"pryor"', r"avatar\.json"),
        ('"bump7"', '"bump6", "bump7"', r"avatar\.json: lo: expected a finite number for each of 9"),
    ):
        assert before in header
        (tmp_path / "avatar.json").write_text(header.replace(before, after))
        with pytest.raises(InputError, match=what):
            load_avatar(tmp_path)
    with torch.no_grad():
        avatar.latent[3] = torch.nan
    save_avatar(tmp_path, avatar, INFO)
    with pytest.raises(InputError, match="latent has NaN"):
        load_avatar(tmp_path)
    whole = toy_avatar(CONFIG).state_dict()
    for spoiled, what in (
        ({name: tensor for name, tensor in whole.items() if name != "quats"}, "quats' is missing"),
        (whole | {"dc": whole["dc"][:, :, :2]}, r"dc: expected \[600, 1, 3\], got \[600, 1, 2\]"),
        (whole | {"tracked": whole["tracked"][:-1]}, "code_corrections: expected"),
        (whole | {"part": whole["part"].float()}, "part: expected torch.int64"),
        (whole | {"neighbors": whole["neighbors"] + 600}, "neighbors: expected rows of 600 Gaussians"),
        (whole | {"poses": 0 * whole["poses"]}, "poses: expected rotations and a scale above 0"),
    ):
        save_file({name: tensor.contiguous() for name, tensor in spoiled.items()}, tmp_path / "avatar.safetensors")
        with pytest.raises(InputError, match=rf"avatar\.safetensors: .*{what}"):
            load_avatar(tmp_path)


def test_the_screen_network_starts_as_nothing_and_cleans_pictures():
    films, _ = shoot_of(41)
    template = toy_avatar(CONFIG)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        screen = ScreenCnn(4, (6, 8, 10))
    tensors = {name: value for name, value in template.state_dict().items() if "." not in name}
    tensors["screen_channels"] = torch.zeros(len(template.means), 4)
    avatar = Avatar(tensors, template.coarse, template.detail, replace(CONFIG, train="screen"), screen)
    shot = Shot(films[0], features=("screen",))
    image = shot.draw(avatar(films[0]), avatar.cameras(films[0]))
    torch.testing.assert_close(avatar.screen(image).colors, image.colors, rtol=0, atol=0)
    assert [group.name for group in avatar.parameter_groups()] == ["screen_channels", "screen", "detail"]
    terms = AvatarTerms()
    state, config = State.begin(avatar, SELECTIVE), FitConfig(30, SELECTIVE)
    losses = [step.loss for step in fit(state, lambda s: shot, lambda c: evaluate(terms, cleaned(c)), config)]
    assert losses[-1] < 0.9 * losses[0] and avatar.screen_channels.any()
    assert torch.equal(avatar.means, template.means)
    with pytest.raises(ValueError, match=r"name the channels in Shot\.features"):
        avatar.screen(Shot(films[0]).draw(avatar(films[0]), avatar.cameras(films[0])))
    assert sum(p.numel() for p in ScreenCnn().parameters()) < 1_000_000


def test_relocation_moves_latents_and_gates_too():
    _, shoot = shoot_of()
    avatar = toy_avatar(CONFIG, 400)
    with torch.no_grad():
        avatar.opacity_logits[:40] = -9.0
        avatar.gate_logits[:, 1] = torch.arange(400.0)
        avatar.latent[:, 1] = torch.arange(400.0)
    control = density_control(DensifyConfig("mcmc", start=0.0, stop=1.0, every=3, cap_max=410, noise=1e-4))
    state = State.begin(avatar, SELECTIVE, control)
    run(state, shoot, 4)
    assert len(avatar.means) == 410 and len(avatar.graph()) == 410
    gates, latents = avatar.gate_logits.detach()[:, 1], avatar.latent.detach()[:, 1]
    assert int((gates.round() < 40).sum()) == 0 and (gates - latents).abs().max() < 0.2
