"""Learning rates of an avatar's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gs_reg.models.avatar.config import Cosine, Exponential
from gs_reg.optim import ParameterGroup

if TYPE_CHECKING:
    from gs_reg.models.avatar.model import Avatar


def groups_of(avatar: Avatar) -> list[ParameterGroup]:
    """All parameters that are trained, with their learning rates and schedules."""
    c = avatar.config
    columns = {
        "means": (c.lr_means, Exponential(0.01)),
        "quats": (c.lr_quat, None),
        "log_scales": (c.lr_scale, None),
        "opacity_logits": (c.lr_opacity, None),
        "dc": (c.lr_color, None),
        "sh_rest": (c.lr_color / 20, None),
        "latent": (c.lr_latent, Exponential(0.1)),
        "gate_logits": (c.lr_gate if c.gates else 0.0, None),
        "screen_channels": (c.lr_color, None),
        "stretch_colors": (c.lr_color if avatar.has_details else 0.0, None),
    }
    groups = [
        ParameterGroup(name, [getattr(avatar, name)], lr, schedule, axis="gaussians")
        for name, (lr, schedule) in columns.items()
        if getattr(avatar, name).numel() and lr
    ]
    frames = (("code_corrections", c.lr_code), ("pose_corrections", c.lr_pose))
    groups += [ParameterGroup(name, [getattr(avatar, name)], lr, axis="frames") for name, lr in frames if lr]
    # weights in closed form are exact; equal steps for all of them spoil expressions that training shows seldom
    coarse = None if avatar.labelled else avatar.coarse
    networks = {"coarse": (coarse, c.lr_coarse, None), "screen": (avatar.screen, c.lr_screen, None)}
    networks["detail"] = (avatar.detail if avatar.has_details else None, c.lr_detail, Cosine(0.01))
    for name, (network, lr, schedule) in networks.items():
        if network is not None and lr:
            groups.append(ParameterGroup(name, list(network.parameters()), lr, schedule))
    wanted = {"all": [g.name for g in groups], "screen": ["detail", "screen", "screen_channels"]}[c.train]
    return [group for group in groups if group.name in wanted]
