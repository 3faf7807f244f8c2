"""The coarse and the detail field: what each part of them may change, and what nothing may."""

import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.fields.bumps import heights
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import HEADS, LEAN, DetailField

GROUPS = (9, 4, 2, 1, 0, 3)
DIM = sum(GROUPS)


def inputs(count=50, codes=(), seed=0):
    """Points, latents, gates and a code (or several)."""
    random = torch.Generator().manual_seed(seed)
    draw = [torch.randn(*shape, generator=random) for shape in ((count, 3), (count, 8), (count, 6), (*codes, DIM))]
    return 0.3 * draw[0], 0.4 * draw[1], draw[2].sigmoid(), draw[3]


def linear(*args, **options):
    return CoarseField(*args, linear=True, **options)


def bumpy(*args, **options):
    field = linear(*args, bumps=40, **options)
    random = torch.Generator().manual_seed(2)
    assert field.bumps is not None
    field.bumps.place(
        0.3 * torch.randn(40, 3, generator=random), torch.zeros(40, 8), 0.2 + 0.2 * torch.rand(40, generator=random)
    )
    return field


def stirred(field, seed=1):
    """The same field with random weights in its last layer and other code statistics."""
    random = torch.Generator().manual_seed(seed)
    last = field.basis if getattr(field, "linear", False) else field.out.weight
    torch.nn.init.normal_(last, std=0.1, generator=random)
    field.set_codes(torch.randn(DIM, generator=random), 0.5 + torch.rand(DIM, generator=random))
    return field


def naive_first(layer, x, latent, gates, z):
    """The first layer of the whole concatenated input, written point by point."""
    rows = []
    for i in range(len(x)):
        gated = torch.cat([gates[i, g] * part for g, part in enumerate(z.split(layer.groups))])
        angles = [x[i, axis] * torch.pi * 2**octave for octave in range(layer.octaves) for axis in range(3)]
        encoded = [*x[i], *map(torch.sin, angles), *map(torch.cos, angles), *latent[i], *gated]
        rows.append(torch.cat([layer.point.weight, layer.code], 1) @ torch.stack(encoded) + layer.point.bias)
    return torch.stack(rows)


def test_columns_of_a_frame_are_the_naive_concatenation():
    torch.manual_seed(0)
    field = stirred(CoarseField(DIM, GROUPS, width=16)).double()
    x, latent, gates, z = (values.double() for values in inputs(7))
    z = field.standardised(z)
    got = field.first(field.first.features(x, latent), gates, field.first.columns(z))
    want = naive_first(field.first, x, latent, gates, z)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [CoarseField, linear, bumpy, DetailField])
def test_a_closed_gate_hides_its_group_and_an_open_one_does_not(kind):
    torch.manual_seed(0)
    field = stirred(kind(DIM, GROUPS, width=16))
    out = (lambda *a: field(*a)) if kind is not DetailField else (lambda *a: field(*a).raw)
    x, latent, gates, z = inputs()
    starts = [sum(GROUPS[:g]) for g in range(6)]
    for group, (start, size) in enumerate(zip(starts, GROUPS, strict=True)):
        other = z.clone()
        other[start : start + size] += 1
        closed = gates.clone()
        closed[:, group] = 0
        assert torch.equal(out(x, latent, closed, z), out(x, latent, closed, other))
        assert size == 0 or not torch.allclose(out(x, latent, gates, z), out(x, latent, gates, other), atol=1e-4)
    torch.testing.assert_close(out(x, latent, None, z), out(x, latent, torch.ones_like(gates), z))


@pytest.mark.parametrize("kind", [CoarseField, linear, bumpy, DetailField])
def test_fresh_fields_change_nothing(kind):
    x, latent, gates, z = inputs()
    values = kind(DIM, GROUPS)(x, latent, gates, z)
    for value in [values] if kind is not DetailField else [getattr(values, name) for name in HEADS]:
        assert torch.equal(value, torch.zeros_like(value))


@pytest.mark.parametrize("kind", [CoarseField, linear, bumpy])
def test_several_codes_at_once_are_each_code_by_itself(kind):
    torch.manual_seed(0)
    coarse, detail = stirred(kind(DIM, GROUPS)), stirred(DetailField(DIM, GROUPS))
    x, latent, gates, codes = inputs(codes=(4,))
    each = torch.stack([coarse(x, latent, gates, z) for z in codes])
    torch.testing.assert_close(coarse(x, latent, gates, codes), each, atol=1e-6, rtol=1e-5)
    for name in HEADS:
        each = torch.stack([getattr(detail(x, latent, gates, z), name) for z in codes])
        torch.testing.assert_close(getattr(detail(x, latent, gates, codes), name), each, atol=1e-6, rtol=1e-5)


def test_linear_shapes_add_up_over_movements_and_stop_at_gates():
    """Without hidden layers and bound: two movements at once are the sum of both; a closed group adds nothing."""
    torch.manual_seed(0)
    field = DetailField(DIM, GROUPS, width=16)
    torch.nn.init.normal_(field.shapes, std=0.3)
    x, latent, _, codes = inputs(codes=(2,))
    codes[0, GROUPS[0] :] = 0
    codes[1, : GROUPS[0]] = 0
    one, other, both = (field(x, latent, None, z).raw for z in (codes[0], codes[1], codes.sum(0)))
    assert one.abs().mean() > 0.01 and other.abs().mean() > 0.01
    torch.testing.assert_close(one + other, both, atol=1e-5, rtol=1e-4)
    gates = torch.ones(len(x), len(GROUPS))
    gates[:, 0] = 0
    torch.testing.assert_close(field(x, latent, gates, codes.sum(0)).raw, other, atol=1e-5, rtol=1e-4)


def test_a_constant_shape_is_there_under_every_code_and_gate():
    field = DetailField(DIM, GROUPS, width=16, constant=True)
    x, latent, gates, codes = inputs(codes=(3,))
    assert not field(x, latent, gates, codes).raw.any() and "constant" not in dict(DetailField(DIM).named_parameters())
    torch.nn.init.normal_(field.constant, std=0.3)
    raw = field(x, latent, gates, codes).raw
    assert raw[0].abs().mean() > 0.01
    for one in (raw[1], raw[2], field(x, latent, 0 * gates, codes[0]).raw):
        torch.testing.assert_close(one, raw[0], rtol=0, atol=1e-6)
    assert DetailField(**field.arguments).constant.shape == field.constant.shape


@pytest.mark.parametrize("heads", [*[(name,) for name in HEADS], LEAN, tuple(HEADS)])
def test_heads_have_their_bounds_and_no_others_exist(heads):
    torch.manual_seed(0)
    field = DetailField(DIM, GROUPS, width=16, heads=heads)
    torch.nn.init.normal_(field.out.weight, std=100.0)
    x, latent, gates, z = inputs(500)
    values = field(x, latent, gates, z)
    assert field.out.out_features == sum(HEADS[name][0] for name in heads)
    for name, (width, bound) in HEADS.items():
        value = getattr(values, name)
        if name not in heads:
            assert value is None
            continue
        assert value.shape == ((500,) if name == "opacity" else (500, width))
        assert float(value.detach().abs().max()) == pytest.approx(bound, rel=1e-3)


def test_without_heads_there_are_no_weights():
    field = DetailField(DIM, GROUPS, heads=())
    assert not list(field.parameters())
    values = field(*inputs())
    assert all(getattr(values, name) is None for name in (*HEADS, "raw"))


@pytest.mark.parametrize("kind", [CoarseField, linear, bumpy])
def test_jacobian_is_that_of_autograd_and_carries_a_gradient_if_asked(kind):
    torch.manual_seed(0)
    field = stirred(kind(DIM, GROUPS, width=32)).double()
    x, latent, gates, z = (values.double() for values in inputs(6))
    offset, jacobian = field.with_jacobian(x, latent, gates, z)
    torch.testing.assert_close(offset, field(x, latent, gates, z))
    for i in range(len(x)):
        one = slice(i, i + 1)
        slope = torch.autograd.functional.jacobian(lambda p, one=one: p + field(p, latent[one], gates[one], z), x[one])[
            0, :, 0
        ]
        torch.testing.assert_close(jacobian[i], slope, rtol=0, atol=1e-12)
    assert offset.requires_grad and not jacobian.requires_grad
    weights = [value for name, value in field.named_parameters() if not name.endswith("bias")]
    for leaf in [x, *weights]:
        leaf.requires_grad_()
    jacobian = field.with_jacobian(x, latent, gates, z, constant=False)[1]
    assert all(slope is not None for slope in torch.autograd.grad(jacobian.sum(), [x, *weights]))


@pytest.mark.parametrize("kind", [CoarseField, linear, bumpy])
def test_points_prepared_once_serve_every_code(kind):
    torch.manual_seed(0)
    field = stirred(kind(DIM, GROUPS, width=32))
    x, latent, gates, codes = inputs(codes=(3,))
    with torch.no_grad():
        prepared = field.prepare(x, latent, gates)
        for z in codes:
            for got, want in zip(field.at(prepared, z), field.with_jacobian(x, latent, gates, z), strict=True):
                assert torch.equal(got, want)


@pytest.mark.parametrize("kind", [linear, bumpy])
def test_a_linear_field_is_linear_in_the_standardised_code(kind):
    torch.manual_seed(0)
    field = stirred(kind(DIM, GROUPS, width=32)).double()
    x, latent, gates, codes = (values.double() for values in inputs(codes=(2,)))
    assert torch.equal(field(x, latent, gates, field.code_mean), torch.zeros_like(x))
    mixed = field(x, latent, gates, field.code_mean + 2 * (codes[0] - field.code_mean) + (codes[1] - field.code_mean))
    one, two = field(x, latent, gates, codes)
    torch.testing.assert_close(mixed, 2 * one + two, rtol=0, atol=1e-12)


def test_bumps_are_local_and_seen_by_points_of_their_part_alone():
    field = bumpy(DIM, GROUPS)
    torch.nn.init.normal_(field.basis[..., :-1].detach(), generator=torch.Generator().manual_seed(1))
    x, latent, _, z = inputs()
    near = field(x, 0 * latent, None, z)
    assert float(near.detach().norm(dim=1).min()) > 1e-3
    assert torch.equal(field(x + 9, 0 * latent, None, z), torch.zeros_like(x))
    moved, other = torch.full_like(latent, 0.1), torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0]).expand_as(latent)
    torch.testing.assert_close(field(x, moved, None, z), near, rtol=5e-3, atol=1e-3)
    assert float(field(x, other, None, z).detach().abs().max()) < 1e-2


@pytest.mark.parametrize("gated", [False, True])
def test_the_kernel_of_bumps_does_what_the_products_do(gated, monkeypatch):
    field = stirred(bumpy(DIM, GROUPS))
    x, latent, gates, codes = inputs(codes=(4,))
    latent, gates = 0.1 * latent, gates if gated else None
    leaves = [t.requires_grad_() for t in (x, codes, gates) if t is not None]
    upstream = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(5))

    def found():
        assert field.has_kernel(x, latent) == (not products)
        offset, jacobian = field.with_jacobian(x, latent, gates, codes[1])
        assert not jacobian.requires_grad
        return offset, jacobian, field(x, latent, gates, codes), *torch.autograd.grad((offset * upstream).sum(), leaves)

    products = False
    ours = found()
    products = True
    monkeypatch.setattr("gs_reg.fields.coarse.fits_kernel", lambda *_: False)
    for mine, judge in zip(ours, found(), strict=True):
        torch.testing.assert_close(mine, judge, rtol=0, atol=1e-4 * float(judge.detach().abs().max()))


def test_latents_that_are_trained_take_the_products():
    field, (x, latent, _, z) = stirred(bumpy(DIM, GROUPS)), inputs()
    latent = (1.2 * latent).requires_grad_()
    assert not field.has_kernel(x, latent) and not field.has_kernel(x.double(), latent.detach())
    assert torch.autograd.grad(field(x, latent, None, z).sum(), latent)[0].any()


def test_bumps_that_points_do_not_see_are_left_out_and_change_nothing():
    field = stirred(bumpy(DIM, GROUPS))
    x, latent, _, z = inputs(count=400)
    latent = 0.1 * latent
    beside = x[:40] + torch.tensor([2.0, 0, 0])
    assert 0 < len(field.bumps.near(beside, latent[:40]).radii) < 40
    assert len(field.bumps.near(beside, latent[:40] + 2.0).radii) == 0
    x = torch.cat([x, x + 1.5])
    latent = latent.repeat(2, 1)
    whole = field.with_jacobian(x, latent, None, z)
    parts = [field.with_jacobian(x[rows], latent[rows], None, z) for rows in x[:, 0].argsort().split(40)]
    for a, b in zip(whole, map(torch.cat, zip(*parts, strict=True)), strict=True):
        torch.testing.assert_close(b, a[x[:, 0].argsort()], rtol=0, atol=2e-4 * float(a.detach().abs().max()))


def test_gradients_of_bumps():
    bumps = bumpy(DIM, GROUPS).bumps.double()
    x, latent, _, _ = inputs(count=6)
    torch.nn.init.normal_(bumps.latents, std=0.4, generator=torch.Generator().manual_seed(4))
    columns = (x.double().requires_grad_(), latent.double().requires_grad_())
    values = heights(*columns, bumps.centers, bumps.latents, bumps.radii)
    assert 0.1 < float((values > 1e-3).double().mean()) < 0.9  # on both sides of the edge between parts
    assert torch.autograd.gradcheck(lambda *c: heights(*c, bumps.centers, bumps.latents, bumps.radii), columns)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="bumps: only a linear field"):
        CoarseField(DIM, GROUPS, bumps=3)
    with pytest.raises(ValueError, match="groups: expected 6 sizes that sum to 19"):
        CoarseField(DIM, (19,))
    with pytest.raises(ValueError, match="depth: expected at least 3"):
        CoarseField(DIM, GROUPS, depth=2)
    with pytest.raises(ValueError, match="depth: expected at least 1"):
        DetailField(DIM, GROUPS, depth=0)
    with pytest.raises(ValueError, match="modes: expected at least 0, got -1"):
        DetailField(DIM, GROUPS, modes=-1)
    with pytest.raises(InputError, match="heads: expected some of pos, rot, scale, opacity, color, got hue"):
        DetailField(DIM, GROUPS, heads=("pos", "hue"))
    with pytest.raises(ValueError, match="scale: expected numbers above 0"):
        CoarseField(DIM).set_codes(torch.zeros(DIM), torch.zeros(DIM))
