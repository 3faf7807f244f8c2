"""Adam on the CPU: against plain torch, torch's own, and numbers by hand."""

import pytest
import torch

from gs_reg import _ops

BETAS, EPS = (0.9, 0.999), 1e-15


def moved_rows(values, gradients, mean, square, *, lr, rows, steps):
    """Values and both means after one step in plain torch, in which only `rows` (bool [N]) move. Means are corrected
    for `steps` [N], unless that is None."""
    (beta1, beta2), column = BETAS, (-1, *[1] * (values.ndim - 1))
    new_mean = beta1 * mean + (1 - beta1) * gradients
    new_square = beta2 * square + (1 - beta2) * gradients.square()
    rest1 = rest2 = 1.0
    if steps is not None:
        rest1, rest2 = ((1 - beta ** steps.double()).to(values).view(column) for beta in BETAS)
    moved = values - lr / rest1 * new_mean / ((new_square / rest2).sqrt() + EPS)
    pairs = ((moved, values), (new_mean, mean), (new_square, square))
    return [torch.where(rows.view(column), new, old) for new, old in pairs]


def state(shape, dtype=torch.float64, seed=0):
    """Values, gradients and the two means; steps are no longer than a few rates."""
    generator = torch.Generator().manual_seed(seed)
    values, gradients, mean, square = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)
    )
    return values, gradients, mean, square.square() + 0.1


def some_rows(count, seed=0):
    """Some rows, and then many that rest, so that whole blocks do."""
    rows = torch.rand(count, generator=torch.Generator().manual_seed(seed)) > 0.4
    rows[count // 2 :] = False
    return rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (2000,), (700, 3), (300, 4), (9, 4, 3), (5, 300), (3000, 45)], ids=str)
@pytest.mark.parametrize("correction", ["none", "global", "rows"])
def test_is_plain_torch(isa, shape, correction, dtype):
    values, gradients, mean, square = state(shape, dtype)
    rows, row_steps = some_rows(shape[0]), torch.arange(shape[0], dtype=torch.int32) % 97 + 1
    steps = {"none": None, "global": torch.full((shape[0],), 4), "rows": row_steps}[correction]
    given = {"none": {}, "global": {"step": 4}, "rows": {"row_steps": row_steps}}[correction]
    before = [t.double() for t in (values, gradients, mean, square)]
    expected = moved_rows(*before, lr=0.01, rows=rows, steps=steps)
    _ops.adam(values, gradients, mean, square, lr=0.01, betas=BETAS, eps=EPS, visible=rows, **given)
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 1e-6}
    for got, want, old in zip((values, mean, square), expected, (before[0], *before[2:]), strict=True):
        torch.testing.assert_close(got.double(), want, **tolerance)
        assert torch.equal(got.double()[~rows], old[~rows])


def test_a_step_by_hand():
    """The first step goes by the rate against the gradient, whatever its size; without correction, by 0.1 / sqrt(0.001)
    of the rate."""
    values, gradients = (
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(),
        torch.tensor([[1e-3, -5.0], [7.0, 1e4]]).double(),
    )
    mean, square = torch.zeros_like(values), torch.zeros_like(values)
    _ops.adam(values, gradients, mean, square, lr=0.5, betas=BETAS, eps=EPS, step=1)
    torch.testing.assert_close(values, torch.tensor([[0.5, 2.5], [2.5, 3.5]]).double())
    torch.testing.assert_close(mean, 0.1 * gradients)
    torch.testing.assert_close(square, 0.001 * gradients.square())
    values, mean, square = torch.ones(1).double(), torch.zeros(1).double(), torch.zeros(1).double()
    _ops.adam(values, torch.ones(1).double(), mean, square, lr=0.5, betas=BETAS, eps=EPS)
    torch.testing.assert_close(values, torch.tensor([1 - 0.5 * 0.1 / 0.001**0.5]).double())


@pytest.mark.parametrize("per_row", [False, True])
def test_is_torchs(per_row):
    values, gradients, *_ = state((70, 3))
    theirs = values.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.02, eps=EPS)
    mean, square = torch.zeros_like(values), torch.zeros_like(values)
    for step in range(1, 6):
        theirs.grad = gradients * step
        optimizer.step()
        given = {"row_steps": torch.full((70,), step, dtype=torch.int32)} if per_row else {"step": step}
        _ops.adam(values, gradients * step, mean, square, lr=0.02, betas=BETAS, eps=EPS, **given)
    torch.testing.assert_close(values, theirs.detach(), atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 30, 1000, 200_000])
def test_corrections_lose_no_digits_in_single_precision(isa, steps):
    """Where the first mean is a gradient of 1, and the second was 0, a step is sqrt(rest2 / (1 - beta2)) rates."""
    values, gradients, mean, square = torch.zeros(40), torch.ones(40), torch.zeros(40), torch.zeros(40)
    row_steps = torch.full((40,), steps, dtype=torch.int32)
    _ops.adam(values, gradients, mean, square, lr=1.0, betas=(0.0, 0.999), eps=EPS, row_steps=row_steps)
    beta2 = torch.tensor(0.999).double()  # as single precision has it
    expected = -(-torch.expm1(steps * beta2.log()) / (1 - beta2)).sqrt()
    torch.testing.assert_close(values, expected.float().expand(40), rtol=5e-7, atol=0)


def test_what_rests_may_hold_anything():
    values, gradients, mean, square = state((50, 3), torch.float32)
    rows = torch.arange(50) % 2 == 0
    for tensor in (values, gradients, mean, square):
        tensor[1::2] = float("nan")
    _ops.adam(values, gradients, mean, square, lr=0.1, betas=BETAS, eps=EPS, visible=rows)
    assert torch.isfinite(values[::2]).all() and values[1::2].isnan().all()


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)], ids=str)
def test_nothing_to_move(shape):
    values, gradients, mean, square = state(shape, torch.float32)
    _ops.adam(values, gradients, mean, square, lr=0.1, betas=BETAS, eps=EPS, visible=torch.ones(shape[0]).bool())


def test_memory_that_is_not_aligned(isa):
    tensors = [t.flatten()[1:] for t in state((40, 3), torch.float32)]
    whole = [t.clone() for t in tensors]
    for given in (tensors, whole):
        _ops.adam(*given, lr=0.1, betas=BETAS, eps=EPS, step=2)
    assert all(torch.equal(a, b) for a, b in zip(tensors, whole, strict=True))


def test_same_bits_for_any_number_of_threads(isa):
    before, out = torch.get_num_threads(), []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        values, gradients, mean, square = state((20_000, 3), torch.float32)
        steps = torch.arange(20_000, dtype=torch.int32) % 50 + 1
        fixed = {"lr": 0.1, "betas": BETAS, "eps": EPS}
        _ops.adam(values, gradients, mean, square, row_steps=steps, visible=some_rows(20_000), **fixed)
        out.append((values, mean, square))
    torch.set_num_threads(before)
    for other in out[1:]:
        assert all(torch.equal(a, b) for a, b in zip(out[0], other, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"now": torch.ones(3, dtype=torch.float64)}, "now: rates on the device are for the CUDA library"),
        ({"counts": torch.ones(2, dtype=torch.int64), "most": (5, 5)}, "counts: those of a drawing"),
    ],
)
def test_what_is_for_cuda_alone(given, message):
    with pytest.raises(RuntimeError, match=message):
        _ops.adam(*state((4, 3)), lr=0.1, betas=BETAS, eps=EPS, **given)


def test_what_is_changed_in_place_has_no_gaps():
    values, gradients, mean, square = state((4, 3))
    with pytest.raises(ValueError, match="exp_avg: expected a contiguous tensor"):
        _ops.adam(values, gradients, mean.T.contiguous().T, square, lr=0.1, betas=BETAS, eps=EPS)
