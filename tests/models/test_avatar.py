"""Head avatars: what fields, gates and poses may change and what they may not."""

from dataclasses import replace

import pytest
import torch

from gs_reg.edit import Edit
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import HEADS, DetailField
from gs_reg.models.avatar import Avatar, AvatarConfig
from gs_reg.models.avatar.head_pose import placed
from gs_reg.models.avatar.start import CloudConfig, _facing, seen_colors, start_cloud
from gs_reg.neighbors import laplacian_energy
from gs_reg.priors.toy import ToyPrior
from gs_reg.priors.types import Part
from gs_reg.render import RenderConfig, render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.state import Constrained, Editable, Model, Posed
from gs_reg.terms import check_needs
from gs_reg.terms.avatar import AvatarTerms
from gs_reg.types import Views
from tests.models.avatars import PRIOR, cloud, filmed, latents_of, rig, stirred, toy_avatar, track

CONFIG = AvatarConfig(neighbors=8, sh_degree=2)
SMOOTH = RenderConfig(alpha_min=0, transmittance_min=0)
COLUMNS = ("means", "quats", "log_scales", "opacity_logits", "sh", "warps")


def views(frame=2):
    return Views(rig(), frame=frame)


def test_it_is_a_model_that_has_what_its_terms_need():
    avatar = toy_avatar()
    assert all(isinstance(avatar, kind) for kind in (Model, Editable, Constrained, Posed))
    check_needs(AvatarTerms(), type(avatar), ("images", "alphas"))


def test_the_coarse_field_alone_moves_means_and_warps():
    avatar = toy_avatar(CONFIG, heads=())
    base, moved = avatar.canonical(), avatar(views())
    want = PRIOR.forward(base.means, avatar.tracked[2], part=avatar.part)
    assert (base.means - want).norm(dim=1).max() > 0.02
    assert (moved.means - want).norm(dim=1).median() < 0.003
    assert all(getattr(moved, name) is getattr(base, name) for name in ("quats", "log_scales", "opacity_logits"))
    x = base.means.detach()[:50].double().requires_grad_()
    field = avatar.coarse.double()
    offset = field(x, avatar.latent[:50].double(), avatar.gates()[:50].double(), avatar.tracked[2].double())
    rows = [torch.autograd.grad(offset[:, axis].sum(), x, retain_graph=True)[0] for axis in range(3)]
    torch.testing.assert_close(moved.warps[:50].double(), torch.stack(rows, 1) + torch.eye(3), rtol=0, atol=1e-5)
    assert not moved.warps.requires_grad


def test_a_detail_field_at_its_start_changes_nothing():
    with_details, without = toy_avatar(CONFIG)(views()), toy_avatar(replace(CONFIG, detail=False))(views())
    none = toy_avatar(CONFIG, heads=())(views())
    for name in COLUMNS:
        assert torch.equal(getattr(without, name), getattr(none, name)), name
        torch.testing.assert_close(getattr(with_details, name), getattr(without, name), rtol=0, atol=0)


@pytest.mark.parametrize("head", HEADS)
def test_each_head_changes_its_own_attribute_alone(head):
    column = {"pos": "means", "rot": "quats", "scale": "log_scales", "opacity": "opacity_logits", "color": "sh"}[head]
    plain, avatar = toy_avatar(CONFIG, heads=())(views()), toy_avatar(CONFIG, heads=(head,))
    stirred(avatar.detail)
    changed = avatar(views())
    for name in COLUMNS:
        same = torch.equal(getattr(plain, name), getattr(changed, name))
        assert same == (name != column), name
    if head == "color":
        assert torch.equal(plain.sh[:, 1:], changed.sh[:, 1:])
        assert (changed.sh - plain.sh).abs().max() * 0.28209479 <= HEADS["color"][1]


def test_a_closed_group_has_no_influence():
    avatar = toy_avatar(CONFIG)
    stirred(avatar.detail)
    with torch.no_grad():
        avatar.gate_logits[:100, 0] = -100
        avatar.code_corrections[3] += 0.1
    code = avatar.code(3)
    before, after = avatar.deformed(code), avatar.deformed(code + 0.3)
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh", "warps"):
        was, now = getattr(before, name), getattr(after, name)
        assert torch.equal(was[:100], now[:100]) and not torch.equal(was[100:], now[100:]), name
    off = toy_avatar(replace(CONFIG, gates=False))
    assert off.gates() is None and "gate_logits" not in [group.name for group in off.parameter_groups()]


@pytest.mark.parametrize("frame, degree", [("head", 2), ("world", 2), ("world", 0)])
def test_head_and_camera_turn_together(frame, degree):
    """T7: with colours of the head's frame nothing changes; with those of the world at degree 0 alone."""
    avatar = toy_avatar(replace(CONFIG, sh_frame=frame, sh_degree=degree)).double()
    stirred(avatar.detail)
    with torch.no_grad():
        avatar.dc.normal_(generator=torch.Generator().manual_seed(0))
        avatar.sh_rest.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    cameras = rig().to(dtype=torch.float64)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = quat_to_rotmat(torch.tensor([0.8, 0.3, -0.4, 0.2], dtype=torch.float64))
    turn[:3, 3] = torch.tensor([0.3, -0.1, 0.2])

    def draw(cameras):
        shot = Views(cameras, frame=2)
        return render(avatar(shot), avatar.cameras(shot), SMOOTH).colors

    before = draw(cameras)
    avatar.poses.copy_(turn @ avatar.poses)
    after = draw(cameras.moved(torch.linalg.inv(turn)))
    assert ((after - before).abs().max() < 1e-4) == (frame == "head" or degree == 0)


@pytest.mark.parametrize("frame", ["head", "world"])
def test_splats_in_the_world_are_the_same_picture(frame):
    """The pose on the cameras, and the pose in the splats as exports have it."""
    avatar = toy_avatar(replace(CONFIG, sh_frame=frame)).double()
    stirred(avatar.detail)
    with torch.no_grad():
        avatar.sh_rest.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
        avatar.pose_corrections[2] = torch.tensor([0.1, -0.05, 0.2, 0.02, 0.01, -0.03])
    shot = Views(rig().to(dtype=torch.float64), frame=2)
    moved = render(avatar(shot), avatar.cameras(shot), SMOOTH)
    posed = render(avatar.posed(avatar.code(2), avatar.pose(2)), shot.cameras, SMOOTH)
    torch.testing.assert_close(posed.colors, moved.colors, rtol=0, atol=1e-7)
    torch.testing.assert_close(posed.depths, moved.depths, rtol=0, atol=1e-7)


def test_placing_without_warps_and_with_a_shear():
    splats, _ = cloud()
    pose = track().pose.matrices()[1]
    torch.testing.assert_close(placed(splats, pose).warps[0], pose[:3, :3])
    pose[0, 1] += 0.2
    with pytest.raises(ValueError, match="similarity"):
        placed(splats, pose)


def test_gradients_reach_the_pose_and_the_code_of_the_frame():
    avatar = toy_avatar().double()
    stirred(avatar.detail)
    target = torch.rand(3, 48, 48, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shot = Views(rig().to(dtype=torch.float64), frame=2)

    def loss():
        return ((render(avatar(shot), avatar.cameras(shot), SMOOTH).colors - target) ** 2).sum()

    loss().backward()
    got = avatar.pose_corrections.grad
    for axis in range(6):
        with torch.no_grad():
            avatar.pose_corrections[2, axis] = 1e-6
            above = loss()
            avatar.pose_corrections[2, axis] = -1e-6
            below = loss()
            avatar.pose_corrections[2, axis] = 0
        assert float(above - below) / 2e-6 == pytest.approx(float(got[2, axis]), rel=1e-4, abs=1e-4)
    for corrections in (got, avatar.code_corrections.grad):
        assert corrections[2].any() and not corrections[[0, 1, 3, 4, 5, 6]].any()


def test_a_step_of_several_cameras_is_the_mean_of_its_single_ones():
    """T11."""
    avatar = toy_avatar().double()
    stirred(avatar.detail)
    shots = filmed(2, track(), rig(40, 4)).to(dtype=torch.float64)

    def gradient(part):
        avatar.zero_grad()
        image = render(avatar(part), avatar.cameras(part))
        (image.colors - part.photos).abs().mean().backward()
        return torch.cat([p.grad.flatten() for p in avatar.parameters() if p.grad is not None])

    whole, single = gradient(shots), torch.stack([gradient(shots[c]) for c in range(4)]).mean(0)
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-9)
    assert whole.abs().max() > 1e-4


@pytest.mark.parametrize("jacobian", ["exact", "knn"])
def test_rows_that_nothing_moves_skip_both_fields(jacobian):
    avatar = toy_avatar(replace(CONFIG, jacobian=jacobian))
    with torch.no_grad():
        avatar.gate_logits[:200] = -100  # under no code do they move; the points themselves may
        avatar.coarse.out.bias.zero_()
    before = avatar.deformed(avatar.code(2))
    still = before.extra["coarse"].norm(dim=1)
    avatar.skip_still()
    assert 0 < int((~avatar.moving).sum()) < len(avatar.means)
    after = avatar.deformed(avatar.code(2))
    moving = avatar.moving
    torch.testing.assert_close(after.means[moving], before.means[moving], rtol=0, atol=1e-6)
    tolerance = 1e-5 if jacobian == "exact" else 0.01  # a still neighbour had moved by next to nothing
    torch.testing.assert_close(after.warps[moving], before.warps[moving], rtol=0, atol=tolerance)
    assert torch.equal(after.means[~moving], avatar.means[~moving]) and still[~moving].max() < 2e-4
    assert torch.equal(after.warps[~moving][0], torch.eye(3))
    after.means.sum().backward()
    assert avatar.means.grad[~moving].eq(1).all()


def test_no_fields_at_all_leave_the_canonical_cloud():
    avatar = toy_avatar(replace(CONFIG, detail=False), coarse=False)
    assert torch.equal(avatar(views()).means, avatar.canonical().means) and avatar(views()).warps is None
    only_details = toy_avatar(CONFIG, coarse=False)
    stirred(only_details.detail)
    assert not torch.equal(only_details(views()).means, only_details.canonical().means)


def test_the_first_gaussians_are_discs_on_the_surface():
    splats, sample = cloud()
    turned = quat_to_rotmat(splats.quats)
    torch.testing.assert_close(turned[:, :, 2], sample.normals, rtol=0, atol=1e-5)
    ratio = (splats.log_scales[:, 2:] - splats.log_scales[:, :2]).exp()
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.3))
    facing = _facing(torch.tensor([[0.0, 0, -1], [0, 0, 2], [1, 1, 0]]))
    want = torch.tensor([[0.0, 0, -1], [0, 0, 1], [0.5**0.5, 0.5**0.5, 0]])
    torch.testing.assert_close(quat_to_rotmat(facing)[:, :, 2], want)


def test_colours_of_the_start_are_those_of_the_photos():
    avatar, shot = toy_avatar(points=2000), filmed(0, track(), rig(96, 3))
    avatar.paint(shot)
    image = render(replace(avatar(shot), opacity_logits=torch.full((2000,), 4.0)), avatar.cameras(shot))
    inside = shot.alphas > 0.95
    assert (image.colors - shot.photos)[inside].abs().median() < 0.05
    away = replace(shot, cameras=shot.cameras.moved(torch.diag(torch.tensor([1.0, -1, -1, 1]))))
    with pytest.raises(ValueError, match="cam0, cam1, cam2: none shows a point of the head"):
        avatar.paint(replace(away, alphas=torch.zeros_like(shot.alphas)))


@pytest.mark.parametrize("frame", [None, -1, 7])
def test_a_frame_that_is_not_there(frame):
    with pytest.raises(ValueError, match=f"frame: expected 0 to 6, got {frame}"):
        toy_avatar()(Views(rig(), frame=frame))


def test_edges_between_the_lips_are_cut():
    """T8: points of the two lips coincide while the mouth is shut; no term may hold them together."""
    cut, whole = (toy_avatar(replace(CONFIG, cut_slits=cut, neighbors=16), points=1500) for cut in (True, False))
    lips = {Part.LIP_UPPER: 1, Part.LIP_LOWER: -1}
    side = torch.tensor([lips.get(part, 0) for part in cut.part.tolist()])
    inside = side.bool() & (cut.means[:, 1].abs() < 0.02) & (cut.means[:, 2] > 0.32) & (cut.means[:, 0].abs() < 0.08)
    across = side[:, None] * side[cut.neighbors.long()] < 0
    assert inside.sum() > 30

    def share(avatar):
        return float((avatar.neighbor_weights * across)[inside].sum(1).mean())

    assert share(whole) > 0.3 and share(cut) < 0.05
    for avatar in (cut, whole):
        torch.testing.assert_close(avatar.neighbor_weights.sum(1), torch.ones(1500))
        assert len(avatar.graph().nodes) == int((avatar.neighbor_weights != 0).sum())
    opened = cut.deformed(cut.neutral + torch.eye(8)[0]).extra["offset"].detach()
    assert float(laplacian_energy(opened, cut.graph())) < 0.3 * float(laplacian_energy(opened, whole.graph()))


@pytest.mark.parametrize("mode, tolerance", [("knn", 0.03), ("none", 0)])
def test_other_ways_to_carry_the_shape_along(mode, tolerance):
    exact = toy_avatar(CONFIG, points=3000, heads=())
    other = toy_avatar(replace(CONFIG, jacobian=mode), points=3000, heads=())
    a, b = exact(views()), other(views())
    assert torch.equal(a.means, b.means)
    if mode == "none":
        assert b.warps is None
        return
    # along the skin: how motion changes away from it neighbours do not tell
    moved = (a.extra["offset"].norm(dim=1) > 0.004) & (exact.part == Part.SKIN)
    normals = torch.nn.functional.normalize(exact.means[moved], dim=1)
    along = torch.eye(3) - normals[:, :, None] * normals[:, None, :]
    difference, change = (((a.warps - w)[moved] @ along).norm(dim=(1, 2)) for w in (b.warps, torch.eye(3)))
    assert difference.median() < tolerance < change.median()


def test_a_fold_becomes_a_rotation_and_is_reported():
    avatar = toy_avatar(CONFIG, heads=())
    assert not avatar(views()).extra["folded"].any()
    with torch.no_grad():
        avatar.coarse.out.weight *= 40
    splats = avatar(views())
    folded = splats.extra["folded"]
    assert 0 < int(folded.sum()) < len(folded) and not folded.requires_grad
    turned = splats.warps[folded] @ splats.warps[folded].mT
    torch.testing.assert_close(turned, torch.eye(3).expand_as(turned), rtol=0, atol=1e-5)


def test_a_frame_played_from_what_was_prepared_is_the_same():
    avatar = toy_avatar(CONFIG)
    stirred(avatar.detail)
    with torch.no_grad():
        ready = avatar.prepare()
        for frame in range(3):
            a, b = avatar.deformed(avatar.code(frame)), avatar.deformed(avatar.code(frame), prepared=ready)
            assert torch.equal(a.means, b.means) and torch.equal(a.warps, b.warps) and torch.equal(a.sh, b.sh)


def test_trained_latents_do_not_take_gaussians_from_the_bumps_of_their_part():
    field = CoarseField(PRIOR.dim, width=16, linear=True, bumps=60)
    splats, sample = cloud(600)
    labels = latents_of(sample.parts)
    field.bumps.place(sample.points[::10], labels[::10], torch.full((60,), 0.15))
    torch.nn.init.normal_(field.basis, std=0.05, generator=torch.Generator().manual_seed(0))
    tracked = track()
    detail = DetailField(PRIOR.dim, width=16, depth=2, heads=("color",))
    avatar = Avatar.start(splats, labels, field, detail, tracked, PRIOR.neutral, tracked.codes[:6], CONFIG)
    before = avatar(views())
    whole = field(avatar.means, avatar.distilled_latent, avatar.gates(), avatar.tracked[2])
    torch.testing.assert_close(before.extra["coarse"], whole, rtol=0, atol=1e-4)
    assert before.extra["coarse"].norm(dim=1).median() > 0.01
    with torch.no_grad():
        avatar.latent += 3.0
    assert torch.equal(avatar(views()).means, before.means)
    assert "coarse" not in {group.name for group in avatar.parameter_groups()}  # its weights are in closed form
    assert "coarse" in {group.name for group in toy_avatar(CONFIG).parameter_groups()}
    assert avatar(views()).means.sum().requires_grad


def test_no_latents_at_all():
    template = toy_avatar(CONFIG)
    coarse, detail = CoarseField(8, latent=0, width=16, depth=3), DetailField(8, latent=0, width=16, depth=2)
    state = {name: value for name, value in template.state_dict().items() if "." not in name}
    state |= {name: torch.zeros(600, 0) for name in ("latent", "distilled_latent")}
    avatar = Avatar(state, coarse, stirred(detail), CONFIG)
    assert "latent" not in avatar(views()).extra
    assert "latent" not in [group.name for group in avatar.parameter_groups()]
    avatar.edit(Edit(torch.arange(500), torch.ones(500, dtype=torch.bool)))
    assert len(avatar(views())) == 500 == len(avatar.graph())


def test_what_the_first_frame_hides_has_the_colours_of_the_next_that_shows_it():
    avatar, cameras = toy_avatar(points=2000), rig(96, 3)
    front = filmed(0, track(), cameras[1])
    all_around = filmed(0, track(), cameras)
    avatar.paint(front)
    alone = avatar.dc.clone()
    seen = ~seen_colors(avatar(front), replace(front, cameras=avatar.cameras(front))).isnan().any(1)
    later = replace(all_around, images=1 - all_around.photos)
    avatar.paint(front, later)
    changed = (avatar.dc - alone).detach().abs().amax((1, 2)) > 0.05
    assert 0.05 < seen.float().mean() < 0.8
    assert not changed[seen].any() and changed[~seen].float().mean() > 0.1


def test_small_parts_have_more_of_the_first_gaussians_and_eyeballs_have_them_in_front():
    class Eyed(ToyPrior):
        def surface(self, ident, n, seed):
            drawn = super().surface(ident, n, seed)
            return replace(drawn, parts=torch.where(drawn.points[:, 1] > 0.1, int(Part.EYE), drawn.parts).long())

    even = start_cloud(Eyed(), None, CloudConfig(2000, mouth=0, eyes=0, rims=0, face=0))[1]
    sample = start_cloud(Eyed(), None, CloudConfig(2000, mouth=0, eyes=300, rims=500, face=100))[1]
    lips = torch.tensor([Part.LIP_UPPER, Part.LIP_LOWER])
    assert len(sample.points) == 2000 + 900
    assert torch.isin(sample.parts, lips).sum() - torch.isin(even.parts, lips).sum() == 500
    eyes = (sample.parts == Part.EYE)[2000:]
    assert eyes.sum() == 300 and (sample.normals[2000:][eyes, 2] > 0).all()
    assert not (even.normals[even.parts == Part.EYE, 2] > 0).all()
