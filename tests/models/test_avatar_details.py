"""Which Gaussians of a head avatar have details, and the colours of their own for skin that is stretched."""

from dataclasses import replace

import pytest
import torch

from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.fields.still import farthest
from gs_reg.models.avatar import Avatar, AvatarConfig
from gs_reg.models.avatar.start import LATER
from gs_reg.sh import C0
from gs_reg.types import Views
from tests.models.avatars import rig, stirred, toy_avatar

CONFIG = AvatarConfig(neighbors=8, sh_degree=2)


def views(frame=2):
    return Views(rig(), frame=frame)


def test_gaussians_that_no_expression_moves_have_no_details():
    avatar = toy_avatar(CONFIG)
    stirred(avatar.detail)
    reach = farthest(avatar.coarse, avatar.means, avatar.label, avatar.gates(), avatar.probes)
    begin, full = reach.quantile(0.3).item(), reach.quantile(0.6).item()
    everywhere = replace(CONFIG, detail_full=0.0)
    some = replace(CONFIG, detail_from=begin, detail_full=full)
    whole, part = (Avatar.loaded(avatar.state_dict(), avatar.coarse, avatar.detail, c) for c in (everywhere, some))
    whole.lively.fill_(1)
    part.rebuild()
    expected = ((reach - begin) / (full - begin)).clamp(0, 1)
    torch.testing.assert_close(part.lively, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        code = avatar.code(2)
        all_of_it, less = (one.motion(code, one.prepare()) for one in (whole, part))
    assert torch.equal(less.offset, all_of_it.offset)
    for name in ("pos", "rot", "scale", "opacity", "color"):
        got, given = getattr(less.residuals, name), getattr(all_of_it.residuals, name)
        factors = expected.view(-1, *[1] * (given.ndim - 1))
        assert given[expected == 0].abs().max() > 1e-4
        torch.testing.assert_close(got, factors * given, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="detail_from: expected 0 or more and less than detail_full"):
        replace(CONFIG, detail_from=0.01, detail_full=0.01)


def test_an_avatar_of_an_earlier_version_has_details_everywhere():
    avatar = toy_avatar(CONFIG)
    state = {name: value for name, value in avatar.state_dict().items() if name not in LATER}
    earlier = Avatar.loaded(state, avatar.coarse, avatar.detail, CONFIG)
    assert earlier.lively.eq(1).all() and earlier.stretch_colors.shape == (len(avatar.means), 0, 3)
    assert "stretch_colors" not in [group.name for group in earlier.parameter_groups()]
    earlier.edit(Edit(torch.arange(50), None, {}))
    assert torch.equal(
        earlier(views()).means, Avatar.loaded(earlier.state_dict(), *fields(avatar), CONFIG)(views()).means
    )


def fields(avatar):
    return avatar.coarse, avatar.detail


def test_colors_of_compressed_and_of_stretched_skin():
    avatar = toy_avatar(CONFIG)
    with torch.no_grad():
        before = avatar(views())
        avatar.stretch_colors.copy_(torch.tensor([[-0.2, -0.3, -0.4], [0.1, 0.2, 0.3]]))
        after = avatar(views())
        change = C0 * (after.sh - before.sh)
        least, most = (torch.linalg.svdvals(before.warps).log()[:, k] for k in (2, 0))
        wanted = 5 * ((-least).clamp(0, 1)[:, None] * avatar.stretch_colors[:, 0])
        wanted += 5 * (most.clamp(0, 1)[:, None] * avatar.stretch_colors[:, 1])
        torch.testing.assert_close(change[:, 0], wanted, rtol=1e-3, atol=1e-4)
        assert not change[:, 1:].any() and wanted.abs().max() > 0.02
        still = Avatar.loaded(avatar.state_dict(), *fields(avatar), replace(CONFIG, detail=False))
        assert torch.equal(still(views()).sh, before.sh)  # as while warming up
    assert toy_avatar(replace(CONFIG, stretch_colors=False)).stretch_colors.shape[1] == 0
