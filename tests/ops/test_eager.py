"""Operators called past torch.library: the same results, and past it only where nothing is to see them."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from gs_reg import _ops
from gs_reg._library import Projection
from gs_reg._ops import _args
from gs_reg.neighbors import make_graph
from tests.render.scenes import random_scene

PROJECTION = (75, 64, 0.01, 1e10, 0.0, 0.3, 1 / 255, False, False)
CUTOFFS = (75, 64, 1 / 255, 0.999, 1e-4)


def leaf(*shape):
    return torch.rand(*shape, dtype=torch.float64, requires_grad=True)


def splats():
    torch.manual_seed(3)
    s, cameras = random_scene(count=20)
    *leaves, viewmats = [
        t.detach().requires_grad_() for t in (s.means, s.quats, s.scales, s.opacities, cameras.viewmats)
    ]
    return (*leaves, None, viewmats, cameras.Ks, *PROJECTION)


def warped():
    *rows, _, viewmats, Ks = splats()[:7]
    return (*rows, leaf(20, 3, 3), viewmats, Ks, *PROJECTION)


def projected():
    means2d, depths, conics, opacities, shapes, radii, _ = [t.detach() for t in _ops.project(*splats())]
    leaves = [t.requires_grad_() for t in (means2d, conics, opacities)]
    return (
        *leaves,
        leaf(2, 20, 3),
        leaf(2, 3),
        torch.zeros_like(means2d).requires_grad_(),
        shapes,
        depths,
        radii,
        *CUTOFFS,
    )


def harmonics():
    return leaf(20, 9, 3), leaf(20, 3), leaf(2, 3), leaf(2, 20), 2, 0.5, True


def graph():
    torch.manual_seed(4)
    neighbors = torch.stack([torch.randperm(19)[:4] for _ in range(20)]).int()
    g = make_graph(neighbors, torch.rand(20, 4, dtype=torch.float64))
    edges, transposed = [g.offsets, g.nodes, g.weights], [g.back_offsets, g.back_nodes, g.back_weights, g.excess]
    return leaf(20, 5), leaf(5).detach(), edges, transposed


def map_with_holes():
    return leaf(1, 9, 8), torch.rand(1, 9, 8) > 0.2, None, leaf(1, 9, 8, 3).detach(), 0.1


def bump_field():
    centers, latents, radii = (leaf(*shape).detach() for shape in ((7, 3), (7, 2), (7,)))
    return leaf(9, 3), leaf(9, 2).detach(), centers, latents, radii + 0.2, leaf(7, 4), True, 0.15, 32.0, 38.0


CASES = {
    "project": (_ops.project, splats),
    "project warped": (_ops.project, warped),
    "rasterize": (_ops.rasterize, projected),
    "sh_channels": (_ops.sh_channels, harmonics),
    "photometric": (_ops.photometric, lambda: (leaf(1, 14, 13, 3), leaf(1, 14, 13, 3).detach(), None, True)),
    "laplacian": (_ops.laplacian, graph),
    "along_rays": (
        _ops.along_rays,
        lambda: (leaf(9), *[leaf(9).detach(), *[leaf(9, 3).detach()] * 2], leaf(9, 3), 0.3),
    ),
    "variation": (_ops.variation, map_with_holes),
    "bumps": (_ops.bumps, bump_field),
}
case = pytest.mark.parametrize(("op", "inputs"), CASES.values(), ids=CASES)


def results(op, inputs):
    """All results, and the gradients of a random linear function of those that have one."""
    found = op(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    flat = [t for item in found for t in (item if isinstance(item, list) else [item])]
    generator = torch.Generator().manual_seed(1)
    values = [t for t in flat if t.requires_grad]
    upstream = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in values]
    wanted = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    return flat, values, torch.autograd.grad(values, wanted, upstream, allow_unused=True)


@pytest.fixture
def past_the_library(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("called through torch.library")

    for op in {op for op, _ in CASES.values()} | {_ops.project_vjp, _ops.rasterize_vjp, _ops.nearest}:
        monkeypatch.setattr(op, "library_op", forbidden)


@case
def test_same_results_and_gradients_as_through_the_library(op, inputs):
    given = inputs()
    ours, ours_with_graph, gradients = results(op, given)
    theirs, theirs_with_graph, want = results(op.library_op, given)
    assert len(ours_with_graph) == len(theirs_with_graph) > 0
    assert [t.requires_grad for t in ours] == [t.requires_grad for t in theirs]
    for a, b in zip((*ours, *gradients), (*theirs, *want), strict=True):
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and a.shape == b.shape)
        assert a is None or a.dtype == torch.uint8 or torch.equal(a, b)  # bytes are memory that may have gaps


@case
def test_plain_tensors_go_past_the_library(op, inputs, past_the_library):
    results(op, inputs())


@case
def test_no_graph_without_need(op, inputs, past_the_library):
    given = inputs()
    with torch.no_grad():
        found = op(*given)
    detached = op(*[t.detach() if isinstance(t, torch.Tensor) else t for t in given])
    for out in (found, detached):
        assert not any(t.requires_grad for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t))


@case
def test_no_gradient_of_a_gradient(op, inputs):
    def second(way):
        given = inputs()
        first = next(t for t in given if t.requires_grad)
        found = way(*given)
        value = (found if isinstance(found, tuple) else (found,))[0].sum()
        (gradient,) = torch.autograd.grad(value, first, create_graph=True)
        with pytest.raises(RuntimeError, match=r"no autograd formula was registered|does not require grad") as raised:
            torch.autograd.grad(gradient.sum(), first)
        return str(raised.value)

    assert second(op) == second(op.library_op)


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@case
def test_modes_and_tracers_see_the_operator(op, inputs):
    given, name = inputs(), op.__name__
    with Seen() as seen:
        op(*given)
    assert f"gs_reg.{name}.default" in seen.names
    if name != "rasterize":  # whose state has sizes that only the data knows
        assert f"gs_reg.{name}" in make_fx(op, tracing_mode="fake")(*given).code


@case
def test_fakes_go_through_the_library(op, inputs):
    given = inputs()
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(t) if isinstance(t, torch.Tensor) else t for t in given]
        fakes = [[mode.from_tensor(t) for t in item] if isinstance(item, list) else item for item in fakes]
    if op is not _ops.rasterize:
        found = op(*fakes)
        assert all(isinstance(t, FakeTensor) for t in (found if isinstance(found, tuple) else (found,)))


def test_compiled_whole():
    given = harmonics()
    compiled = torch.compile(lambda *t: _ops.sh_channels(*t).square().sum(), fullgraph=True, backend="aot_eager")
    want = torch.autograd.grad(_ops.sh_channels(*given).square().sum(), given[:4])
    for a, b in zip(torch.autograd.grad(compiled(*given), given[:4]), want, strict=True):
        torch.testing.assert_close(a, b)


def test_vmap_goes_through_the_library():
    points = torch.rand(2, 9, 3)
    index = torch.vmap(lambda cloud: _ops.nearest(cloud, 2, None)[0])(points)
    assert torch.equal(index, torch.stack([_ops.nearest(cloud, 2, None)[0] for cloud in points]))


def test_a_sign_that_torch_put_off_counts():
    rest = [torch.rand(9), torch.rand(9, 3), torch.rand(9, 3), torch.rand(9, 3)]
    negative = torch.rand(9, dtype=torch.complex64).conj().imag
    assert negative.is_neg()
    got, want = _ops.along_rays(negative, *rest, 0.3), _ops.along_rays(negative.resolve_neg(), *rest, 0.3)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_by_name_and_by_default():
    given = projected()
    image = _ops.rasterize(*given)[0]
    assert torch.equal(_ops.rasterize(*given, 0, most_intersections=0)[0], image)
    assert torch.equal(_ops.rasterize(*given, 0)[0], image)
    with pytest.raises(RuntimeError, match="missing value for argument 'opacities'"):
        _ops.project(*given[:3])


def test_operators_of_no_gradient(past_the_library):
    points = torch.rand(9, 3)
    index, _ = _ops.nearest(points, 2, None)
    with torch.no_grad():
        assert torch.equal(_ops.nearest(points.requires_grad_(), 2, None)[0], index)


def test_what_fails_in_a_callback_is_raised(monkeypatch):
    given = projected()

    def full(*_, **__):
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr(_args, "empty", full)
    with pytest.raises(torch.OutOfMemoryError, match="no memory is left"):
        _ops.rasterize(*given)
    assert not _args.IN_CALLS


def test_fields():
    fields = _args.Fields(Projection, "orthographic width height C N near_plane")
    args = Projection(threads=3, far_plane=5.0)
    fields.fill(args, True, 1, 2, 3, 4, 0.5)
    names = ("threads", "orthographic", "width", "height", "C", "N", "near_plane", "far_plane")
    assert [getattr(args, name) for name in names] == [3, 1, 1, 2, 3, 4, 0.5, 5.0]
    with pytest.raises(ValueError, match="not fields in this order"):
        _args.Fields(Projection, "height width")
