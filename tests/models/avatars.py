"""Toy avatars: a head of the toy prior, a coarse field that knows its motion, and pictures of the prior itself."""

from functools import cache

import torch

from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import HEADS, DetailField
from gs_reg.models.avatar import Avatar, AvatarConfig
from gs_reg.models.avatar.start import CloudConfig, start_cloud
from gs_reg.priors.toy import ToyPrior
from gs_reg.priors.types import HeadPose, Part, Track
from gs_reg.render import render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Splats, Views

PRIOR = ToyPrior()
FRAMES = 7


@cache
def cloud(points=600, seed=0):
    return start_cloud(PRIOR, None, CloudConfig(points=points, mouth=0, eyes=0, rims=0, face=0, seed=seed))


def latents_of(parts):
    """Upper and lower lips apart, as distillation would have it."""
    side = (parts == Part.LIP_UPPER).float() - (parts == Part.LIP_LOWER).float()
    return torch.cat([side[:, None], torch.zeros(len(parts), 7)], 1)


def track(frames=FRAMES, seed=0):
    """Codes within the prior's ranges, the first one neutral, and a head that turns a little."""
    random = torch.Generator().manual_seed(seed)
    codes = PRIOR.lo + (PRIOR.hi - PRIOR.lo) * torch.rand(frames, PRIOR.dim, generator=random)
    codes[0] = PRIOR.neutral
    quats = torch.cat([torch.ones(frames, 1), 0.08 * torch.randn(frames, 3, generator=random)], 1)
    shifts = 0.01 * torch.randn(frames, 3, generator=random)
    pose = HeadPose(quat_to_rotmat(quats), shifts, torch.ones(frames))
    return Track(codes, pose, "toy", tuple(f"{t:05d}" for t in range(frames)))


@cache
def _known_weights(width, steps):
    """Of a coarse field that was fitted to the toy prior's own motion."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        field = CoarseField(PRIOR.dim, width=width, depth=3)
        random = torch.Generator().manual_seed(1)
        _, sample = cloud(3000, seed=5)
        latents = latents_of(sample.parts)
        optimizer = torch.optim.Adam(field.parameters(), 4e-3)
        for step in range(steps):
            z = PRIOR.lo + (PRIOR.hi - PRIOR.lo) * torch.rand(4, PRIOR.dim, generator=random)
            rows = torch.randint(len(latents), (800,), generator=random)
            x, part = sample.points[rows], sample.parts[rows]
            want = PRIOR.forward(x.expand(4, -1, -1), z, part=part.expand(4, -1)) - x
            optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
            optimizer.zero_grad()
            (field(x, latents[rows], None, z) - want).square().mean().backward()
            optimizer.step()
    return field.state_dict()


def known_field(width=32, steps=150):
    field = CoarseField(PRIOR.dim, width=width, depth=3)
    field.load_state_dict(_known_weights(width, steps))
    return field


def stirred(detail, size=0.3, seed=2):
    """The detail field with outputs that are not 0."""
    torch.nn.init.normal_(detail.out.weight, std=size, generator=torch.Generator().manual_seed(seed))
    return detail


def toy_avatar(
    config=AvatarConfig(neighbors=8, sh_degree=1), points=600, heads=tuple(HEADS), coarse=True, frames=FRAMES
):
    """An avatar at the start of training: the coarse field knows the motion, the detail field says 0."""
    splats, sample = cloud(points)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        detail = DetailField(PRIOR.dim, width=32, depth=2, heads=heads)
    tracked = track(frames)
    field = known_field() if coarse else None
    return Avatar.start(
        splats, latents_of(sample.parts), field, detail, tracked, PRIOR.neutral, tracked.codes[: frames - 1], config
    )


def rig(size=48, count=3):
    eyes = [torch.tensor([x, 0.05, 0.42]) for x in torch.linspace(-0.2, 0.2, count).tolist()]
    cameras = [Cameras.look_at(eye, torch.zeros(3), torch.tensor([0.0, 1, 0]), 0.6, size, size) for eye in eyes]
    return Cameras.joined(cameras)


def truth(frame, tracked, points=4000):
    """What is filmed, and the pose of its head: the prior's own motion, stripes, and a blush when the mouth opens."""
    splats, sample = cloud(points, seed=9)
    z = tracked.codes[frame]
    moved = PRIOR.forward(sample.points, z, part=sample.parts)
    stripes = torch.stack([(20 * sample.points[:, axis]).sin() for axis in (0, 1, 2)], 1)
    blush = z[0] * torch.exp(-((sample.points - torch.tensor([0.0, 0.2, 0.35])) / 0.1).square().sum(1))
    sh = 0.8 * stripes + blush[:, None] * torch.tensor([1.0, -1.0, -1.0])
    posed = Splats(moved, splats.quats, splats.log_scales, splats.opacity_logits, sh[:, None])
    return posed, tracked.pose.matrices()[frame]


def filmed(frame, tracked, cameras):
    """Pictures of the truth over black, with their alphas."""
    splats, pose = truth(frame, tracked)
    image = render(splats, cameras.moved(pose))
    names = tuple(f"cam{c}" for c in range(len(cameras)))
    return Views(cameras, image.colors.clamp(0, 1), names, alphas=image.alphas[..., 0], frame=frame)
