"""The Laplacian term: its value by hand, its gradient, 0 at its optimum."""

from dataclasses import dataclass, replace

import pytest
import torch

from gs_reg.neighbors import Graph, make_graph
from gs_reg.terms.laplacian import Laplacian
from tests.terms.test_scene_terms import context, photo


@dataclass
class OnAGraph:
    edges: Graph

    def graph(self) -> Graph:
        return self.edges


def seen(step=0, **extra):
    """Two splats, each the only neighbour of the other."""
    graph = make_graph(torch.tensor([[1], [0]], dtype=torch.int32), torch.ones(2, 1, dtype=torch.float64))
    bare = context(photo(), photo(), step=step, steps=11, model=OnAGraph(graph))
    zeros = torch.zeros(2, 4, dtype=torch.float64)
    splats = replace(
        bare.splats, means=zeros[:, :3], quats=zeros, log_scales=zeros[:, :3], opacity_logits=zeros[:, 0],
        sh=zeros[:, None, :3], extra=extra,
    )  # fmt: skip
    return replace(bare, splats=splats)


def column(a, b):
    return torch.tensor([[a], [b]], dtype=torch.float64)


def test_by_hand():
    term = Laplacian(weight=1.0, latent=0.5, offset=2.0)
    assert term(seen(latent=column(1, 4))) == pytest.approx(0.5 * 9)
    assert term(seen(latent=column(1, 4), offset=column(1, 2))) == pytest.approx(0.5 * 9 + 2.0)
    assert term(seen(latent=column(3, 3))) == 0
    assert term(seen(latent=torch.ones(2, 3, 4, dtype=torch.float64))) == 0


def test_falls_along_a_cosine():
    values = [float(Laplacian(weight=1.0, offset=1.0)(seen(step, offset=column(0, 1)))) for step in (0, 5, 10)]
    assert values == pytest.approx([1.0, 0.55, 0.1])


def test_gradient():
    latent = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Laplacian(weight=1.0)(seen(latent=x)), (latent,))


def test_says_what_is_missing():
    with pytest.raises(ValueError, match="extra: expected one of latent, offset"):
        Laplacian(weight=1.0)(seen(label=column(0, 1)))
