"""The graph Laplacian against its dense matrix and against plain torch."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.neighbors import gaussian_weights, laplacian_energy, laplacian_energy_reference, make_graph, nearest


def scene(count=300, channels=21, k=6, seed=0):
    """Points, a graph some of whose edges are cut, features and attribute weights."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    neighbors, distances = nearest(points, k)
    mask = torch.rand(distances.shape, generator=generator) > 0.2
    mask[0] = False
    features = torch.randn(count, channels, generator=generator, dtype=torch.float64)
    attributes = torch.rand(channels, generator=generator, dtype=torch.float64)
    return neighbors, gaussian_weights(distances, mask), features, attributes


def value_and_gradient(function, features, *rest):
    leaf = features.detach().clone().requires_grad_()
    value = function(leaf, *rest)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 5, 7, 8, 9, 16, 21, 31, 50, 97])
def test_matches_torch(isa, channels):
    neighbors, weights, features, attributes = scene(channels=channels)
    graph = make_graph(neighbors, weights)
    value, gradient = value_and_gradient(laplacian_energy, features, graph, attributes)
    expected, expected_gradient = value_and_gradient(laplacian_energy_reference, features, graph, attributes)
    torch.testing.assert_close(value, expected, atol=0, rtol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-15, rtol=1e-11)
    value, gradient = value_and_gradient(
        laplacian_energy, features.float(), make_graph(neighbors, weights.float()), attributes.float()
    )
    torch.testing.assert_close(value.double(), expected, atol=0, rtol=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()


def test_is_the_dense_matrix():
    neighbors, weights, features, attributes = scene(count=40)
    W = torch.zeros(40, 40, dtype=torch.float64).scatter(1, neighbors.long(), weights)
    L = W.sum(1).diag() - W
    expected = (attributes * (L @ features).square()).sum() / 40
    value, gradient = value_and_gradient(laplacian_energy, features, make_graph(neighbors, weights), attributes)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, 2 / 40 * attributes * (L.T @ L @ features))
    torch.testing.assert_close(gradient.sum(0), torch.zeros(21, dtype=torch.float64), atol=1e-15, rtol=0)


def test_gradcheck():
    neighbors, weights, features, attributes = scene(count=12, channels=5, k=3)
    graph = make_graph(neighbors, weights)
    assert torch.autograd.gradcheck(lambda f: laplacian_energy(f, graph, attributes), features.requires_grad_())


def test_a_constant_costs_nothing_however_large():
    neighbors, weights, features, _ = scene()
    graph = make_graph(neighbors, weights.float())
    value, gradient = value_and_gradient(laplacian_energy, torch.full_like(features, 1e6).float(), graph)
    assert value == 0 and (gradient == 0).all()


def test_weights_of_a_node_sum_to_one_or_leave_it_free():
    points = torch.cat([torch.zeros(9, 3), torch.randn(50, 3)])
    distances = nearest(points, 8)[1]
    mask = torch.ones(59, 8, dtype=torch.bool)
    mask[20] = False
    weights = gaussian_weights(distances, mask)
    torch.testing.assert_close(weights[:9], torch.full((9, 8), 1 / 8))  # all in one place
    sums = torch.ones(59)
    sums[20] = 0
    torch.testing.assert_close(weights.sum(1), sums)


def test_what_is_cut_is_no_edge():
    neighbors, weights, *_ = scene()
    graph = make_graph(neighbors, weights)
    assert len(graph.nodes) == (weights != 0).sum() and graph.offsets[1] == 0
    assert torch.equal(graph.offsets[-1:], graph.back_offsets[-1:])


@pytest.mark.parametrize(("count", "k"), [(0, 3), (5, 0)])
def test_empty(count, k):
    graph = make_graph(torch.zeros(count, k, dtype=torch.int32), torch.zeros(count, k))
    value, gradient = value_and_gradient(laplacian_energy, torch.ones(count, 4), graph)
    assert value == 0 and gradient.shape == (count, 4) and (gradient == 0).all()


def test_what_it_refuses():
    neighbors, weights, features, _ = scene()
    with pytest.raises(ValueError, match="features: expected 300 rows as the graph has nodes, got 299"):
        laplacian_energy(features[1:], make_graph(neighbors, weights))
    with pytest.raises(ValueError, match="neighbors: expected nodes from 0 to 299, got 0 to 300"):
        make_graph(neighbors + (neighbors == 299), weights)


def test_other_types_go_through_torch():
    neighbors, weights, features, _ = scene()
    graph = make_graph(neighbors, weights)
    torch.testing.assert_close(
        laplacian_energy(features.float(), graph).double(), laplacian_energy(features, graph), atol=0, rtol=1e-5
    )


def test_same_bits_for_any_number_of_threads(isa):
    neighbors, weights, features, attributes = scene(count=5000)
    graph, features, attributes = make_graph(neighbors, weights.float()), features.float(), attributes.float()
    before, out = torch.get_num_threads(), []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        out.append(value_and_gradient(laplacian_energy, features, graph, attributes))
    torch.set_num_threads(before)
    for other in out[1:]:
        assert all(torch.equal(a, b) for a, b in zip(out[0], other, strict=True))


def test_opcheck():
    neighbors, weights, features, attributes = scene(count=20)
    graph = make_graph(neighbors, weights)
    edges = [graph.offsets, graph.nodes, graph.weights]
    transposed = [graph.back_offsets, graph.back_nodes, graph.back_weights, graph.excess]
    torch.library.opcheck(_ops.laplacian.library_op, (features.requires_grad_(), attributes, edges, transposed))
