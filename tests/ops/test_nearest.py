"""Nearest neighbours against all distances, and against scipy's tree."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.neighbors import MAX_NEIGHBORS, nearest, nearest_by_tree


def cloud(count, dtype=torch.float64, seed=0):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def squared_distances(queries, points):
    """All, [M, N], added up as the kernel does."""
    square = (queries[:, None] - points).square()
    return square[..., 0] + square[..., 1] + square[..., 2]


def by_brute_force(points, k):
    """All distances; a stable sort gives ties to the lower index."""
    square = squared_distances(points, points)
    rows = torch.arange(len(points))[:, None]
    distances, index = square[rows != rows.T].reshape(len(points), -1).sort(stable=True)
    index += index >= rows  # the point itself was left out
    return index[:, :k].int(), distances[:, :k]


def of_queries_by_brute_force(points, k, queries):
    distances, index = squared_distances(queries, points).sort(stable=True)
    return index[:, :k].int(), distances[:, :k]


def assert_same(got, want):
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "k"), [(2, 1), (17, 16), (65, MAX_NEIGHBORS), (400, 1), (1500, 16), (300, 50)])
def test_equals_brute_force(isa, count, k, dtype):
    points = cloud(count, dtype)
    assert_same(nearest(points, k), by_brute_force(points, k))


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(300, 3),
        torch.zeros(300, 3).index_fill(0, torch.arange(0, 300, 2), 1.0),
        (torch.arange(300)[:, None] % torch.tensor([5, 4, 3])).float(),
        torch.linspace(-1, 1, 300)[:, None] * torch.tensor([1.0, 0.0, 0.0]),
        cloud(300, torch.float32) * 1e-30,
        cloud(300, torch.float32) * 1e30,
    ],
    ids=["one place", "two places", "lattice", "line", "distances underflow", "distances overflow"],
)
def test_ties_go_to_the_lower_index(isa, points):
    assert_same(nearest(points, 16), by_brute_force(points, 16))
    points = points.flip(0)
    assert_same(nearest(points, 5), by_brute_force(points, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (16, 16), (40, 3), (1000, 50), (1500, 20)])
def test_of_queries_equals_brute_force(isa, count, k, dtype):
    """Some lie among the points, some on them, some far away."""
    points = cloud(count, dtype)
    queries = torch.cat([cloud(150, dtype, seed=1), points[::7], cloud(10, dtype, seed=2) * 1e3])
    assert_same(nearest(points, k, queries), of_queries_by_brute_force(points, k, queries))


def test_ties_of_queries_go_to_the_lower_index(isa):
    corners = torch.tensor([[x, y, z] for x in (1.0, -1.0) for y in (1.0, -1.0) for z in (1.0, -1.0)])
    index, distances = nearest(corners, 3, torch.zeros(1, 3))
    assert index.tolist() == [[0, 1, 2]] and distances.tolist() == [[3.0, 3.0, 3.0]]
    points = (torch.arange(300)[:, None] % torch.tensor([5, 4, 3])).float()
    for given in (points, points.flip(0), torch.zeros(300, 3), points * 1e30):
        queries = torch.cat([given, given + 0.5])
        assert_same(nearest(given, 16, queries), of_queries_by_brute_force(given, 16, queries))


def test_a_query_on_a_point_finds_it_and_a_point_does_not_find_itself():
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    index, distances = nearest(points, 2, points)
    assert index.tolist() == [[0, 1], [1, 0], [2, 1]] and distances.tolist() == [[0, 1], [0, 1], [0, 4]]
    index, distances = nearest(points, 2)
    assert index.tolist() == [[1, 2], [0, 2], [1, 0]] and distances.tolist() == [[1, 9], [1, 4], [4, 9]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_queries(dtype):
    """And then there may be too few points."""
    for points in (cloud(9, dtype), cloud(2, dtype)):
        index, distances = nearest(points, 3, torch.zeros(0, 3, dtype=dtype))
        assert index.shape == distances.shape == (0, 3) and index.dtype == torch.int32 and distances.dtype == dtype


@pytest.mark.parametrize("k", [1, 7])
def test_the_tree_answers_queries_as_the_kernel_does(k):
    points, queries = cloud(500), torch.cat([cloud(60, seed=1), cloud(500)[:9]])
    (index, distances), (tree_index, tree_distances) = nearest(points, k, queries), nearest_by_tree(points, k, queries)
    assert torch.equal(index, tree_index)
    torch.testing.assert_close(distances, tree_distances)


def test_a_crowd_at_one_place_is_no_search_through_all():
    index, distances = nearest(torch.ones(200_000, 3), 16)
    assert (distances == 0).all()
    assert index[0].tolist() == list(range(1, 17)) and index[-1].tolist() == list(range(16))
    index, _ = nearest(torch.ones(200_000, 3), 16, torch.ones(20_000, 3))
    assert (index == torch.arange(16)).all()


def test_agrees_with_scipy():
    points = cloud(5000, torch.float32)
    (index, distances), (tree_index, tree_distances) = nearest(points, 16), nearest_by_tree(points, 16)
    assert (index == tree_index).float().mean() > 0.999  # float64 tells some ties apart
    torch.testing.assert_close(distances, tree_distances)


def test_the_tree_leaves_out_the_point_itself_among_coincident_ones():
    index, distances = nearest(torch.zeros(40, 3, dtype=torch.float16), 4)
    assert (index != torch.arange(40)[:, None]).all() and (distances == 0).all()
    assert all(len(set(row)) == 4 for row in index.tolist())


def test_same_bits_for_any_number_of_threads(isa):
    points, before, out = cloud(20_000, torch.float32), torch.get_num_threads(), []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        out.append((*nearest(points, 16), *nearest(points, 50, points[:999] + 0.1)))
    torch.set_num_threads(before)
    for other in out[1:]:
        assert_same(out[0], other)


def test_no_points_and_strided_points():
    assert [t.shape for t in nearest(torch.zeros(0, 3), 16)] == [(0, 16), (0, 16)]
    wide = cloud(100).repeat(1, 2)[:, 1:4]
    assert_same(nearest(wide, 3), nearest(wide.contiguous(), 3))


@pytest.mark.parametrize(
    ("points", "k", "message"),
    [
        (cloud(40), 0, "k: expected 1 to 64, got 0"),
        (cloud(40), 65, "k: expected 1 to 64, got 65"),
        (cloud(16), 16, "points: 16 neighbours need more than 16 points, got 16"),
        (torch.full((40, 3), float("nan")), 4, "points: a coordinate is not finite"),
        (torch.full((40, 3), float("inf")), 4, "points: a coordinate is not finite"),
    ],
)
def test_what_it_refuses(points, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(points, k)


@pytest.mark.parametrize(
    ("points", "queries", "message"),
    [
        (cloud(4), cloud(1), "points: 5 neighbours need at least 5 points, got 4"),
        (cloud(0), cloud(1), "points: 5 neighbours need at least 5 points, got 0"),
        (cloud(9), cloud(1) * float("nan"), "queries: a coordinate is not finite"),
        (cloud(9), cloud(1).float(), "queries: expected torch.float64 on cpu, got torch.float32 on cpu"),
    ],
)
def test_what_it_refuses_of_queries(points, queries, message):
    with pytest.raises(ValueError, match=message):
        nearest(points, 5, queries)


@pytest.mark.parametrize("queries", [None, cloud(7)])
def test_opcheck(queries):
    torch.library.opcheck(_ops.nearest.library_op, (cloud(30), 4, queries))
