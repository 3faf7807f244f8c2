"""The two networks of MonoNPHM, built so that the authors' weights load into them by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

GLOBAL = 64
LOCAL = 32
PAIRS, MIDLINE = 30, 5
ANCHORS = 2 * PAIRS + MIDLINE
SLOTS = ANCHORS + 1
"""Local codes: one an anchor, and that of the member at the origin."""
CODE = GLOBAL + SLOTS * LOCAL
NEAREST, RANK = 12, 8
"""Members that a point asks, and whose distance sets the width of the blend."""
WIDTH_SHARE = 3.75
ORIGIN_DISTANCE = 0.75


def softplus(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    return F.softplus(x, beta=100)


class BackwardField(nn.Module):
    """Offsets from posed to canonical and two hyper coordinates: DeepSDF's shape with the input fed in again halfway.

    Sizes are those of the weights. The input is the point, the compressed identity, then the expression, in this order.
    """

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.compressor = nn.Sequential(_linear(shapes, "compressor.0"))
        self.defDeepSDF = nn.Module()  # the name in the file
        for layer in range(7):
            self.defDeepSDF.add_module(f"lin{layer}", _linear(shapes, f"defDeepSDF.lin{layer}"))

    @property
    def expressions(self) -> int:
        return self.defDeepSDF.get_submodule("lin0").weight.shape[1] - 3 - self.compressor[0].out_features  # type: ignore[operator]

    def forward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B E"],
        z_geo: Float[Tensor, "G"],
        anchors: Float[Tensor, "A 3"],
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N w"]]:
        """Canonical points and hyper coordinates."""
        identity = self.compressor(torch.cat([z_geo, anchors.flatten()]))
        condition = torch.cat([identity.expand(*z.shape[:-1], -1), z], dim=-1)[..., None, :]
        given = torch.cat([x, condition.expand(*x.shape[:-1], -1)], dim=-1)
        hidden = given
        for layer in range(6):
            if layer == 3:
                hidden = torch.cat([hidden, given], dim=-1) / math.sqrt(2)
            hidden = softplus(self.defDeepSDF.get_submodule(f"lin{layer}")(hidden))
        out = self.defDeepSDF.get_submodule("lin6")(hidden)
        return x + out[..., :3], out[..., 3:]


class IdentityField(nn.Module):
    """The canonical head as a signed distance: an ensemble of small networks around anchors, mirrored in pairs."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.mlp_pos = _layers(shapes, "mlp_pos", (0, 2, 4), nn.ReLU())
        members = PAIRS + MIDLINE + 1
        self.deepSDFensemble = _ensemble(shapes, "deepSDFensemble", members, nn.Softplus(beta=100))
        self.communcation_bottleneck1 = _linear(shapes, "communcation_bottleneck1")
        self.communcation_bottleneck2 = _linear(shapes, "communcation_bottleneck2")
        self.aggr_app = _ensemble(shapes, "aggr_app", members, nn.ReLU())

    def anchors(self, z_geo: Float[Tensor, "G"], mean: Float[Tensor, "65 3"]) -> Float[Tensor, "65 3"]:
        """Of a person: pairs of left and right first, then the middle line."""
        return mean + self.mlp_pos(z_geo[:GLOBAL]).view(ANCHORS, 3)

    def forward(
        self,
        x: Float[Tensor, "N 3"],
        hyper: Float[Tensor, "N w"],
        z_geo: Float[Tensor, "G"],
        anchors: Float[Tensor, "65 3"],
        z_app: Float[Tensor, "G"] | None = None,
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"] | None]:
        """Signed distances, and colours where a code of appearance is given."""
        slots, deltas, weights = neighbourhood(x, hyper, anchors)
        distances = x.new_zeros(slots.shape)
        colors = x.new_zeros(*slots.shape, 3)
        nets = net_of_slot(slots)
        for net in nets.unique().tolist():
            rows = (nets == net).nonzero(as_tuple=True)
            distance, features = self._local(net, slots[rows], deltas[rows], z_geo)
            distances = distances.index_put(rows, distance)
            if z_app is not None:
                colors = colors.index_put(rows, self._color(net, slots[rows], features, z_app))
        distance = (weights * distances).sum(-1)
        return distance, None if z_app is None else (weights[..., None] * colors).sum(-2)

    def _local(
        self, net: int, slots: Int[Tensor, "M"], deltas: Float[Tensor, "M q"], z_geo: Float[Tensor, "G"]
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M F"]]:
        """The distance, and what its last hidden layer says before it is bent."""
        layers = self.deepSDFensemble.get_submodule(f"layers.{net}.layers")
        hidden = torch.cat([_codes(z_geo, slots), deltas], dim=-1)
        for layer in layers[:-2]:  # type: ignore[index]
            hidden = layer(hidden)
        return layers[-1](layers[-2](hidden))[..., 0], hidden  # type: ignore[index]

    def _color(
        self, net: int, slots: Int[Tensor, "M"], features: Float[Tensor, "M F"], z_app: Float[Tensor, "G"]
    ) -> Float[Tensor, "M 3"]:
        said = self.communcation_bottleneck2(F.relu(self.communcation_bottleneck1(features)))
        return self.aggr_app.get_submodule(f"layers.{net}.layers")(torch.cat([_codes(z_app, slots), said], dim=-1))


def net_of_slot(slots: Int[Tensor, "*B"]) -> Int[Tensor, "*B"]:
    """Both anchors of a pair ask one network; those of the middle line and the origin each their own."""
    return torch.where(slots < 2 * PAIRS, slots // 2, slots - PAIRS)


def neighbourhood(
    x: Float[Tensor, "N 3"], hyper: Float[Tensor, "N w"], anchors: Float[Tensor, "65 3"]
) -> tuple[Int[Tensor, "N 13"], Float[Tensor, "N 13 q"], Float[Tensor, "N 13"]]:
    """The members that each point asks: slots, the point as each sees it, and the weights of the blend, whose sum is 1.

    The right one of a pair sees the point mirrored. The last member is that at the origin.
    """
    distances, slots = torch.cdist(x, anchors, compute_mode="donot_use_mm_for_euclid_dist").topk(NEAREST, largest=False)
    offsets = x[:, None] - anchors[slots]
    mirrored = (slots < 2 * PAIRS) & (slots % 2 == 1)
    offsets = torch.where(mirrored[..., None], offsets * offsets.new_tensor([-1.0, 1, 1]), offsets)
    offsets = torch.cat([offsets, x[:, None]], dim=1)
    deltas = torch.cat([offsets, hyper[:, None].expand(-1, NEAREST + 1, -1)], dim=-1)
    width = distances[:, RANK - 1 : RANK] / WIDTH_SHARE
    far = torch.cat([distances, torch.full_like(width, ORIGIN_DISTANCE)], dim=1)
    weights = torch.exp(-0.5 * (far / width).square())
    slots = torch.cat([slots, slots.new_full((len(x), 1), ANCHORS)], dim=1)
    return slots, deltas, weights / (weights.sum(1, keepdim=True) + 1e-8)


def _codes(code: Float[Tensor, "G"], slots: Int[Tensor, "M"]) -> Float[Tensor, "M 96"]:
    """The global code beside the local one of each slot."""
    local = code[GLOBAL:].view(SLOTS, LOCAL)[slots]
    return torch.cat([code[:GLOBAL].expand(len(slots), GLOBAL), local], dim=-1)


def _linear(shapes: Mapping[str, torch.Size], name: str) -> nn.Linear:
    """As large as the weights are."""
    outputs, inputs = shapes[f"{name}.weight"]
    return nn.Linear(inputs, outputs)


def _layers(shapes: Mapping[str, torch.Size], name: str, numbers: tuple[int, ...], bend: nn.Module) -> nn.Sequential:
    """Linear layers with a bend between any two, numbered as in the file."""
    layers: list[nn.Module] = []
    for number in numbers:
        layers += [_linear(shapes, f"{name}.{number}"), bend]
    return nn.Sequential(*layers[:-1])


def _ensemble(shapes: Mapping[str, torch.Size], name: str, members: int, bend: nn.Module) -> nn.Module:
    """Under name.layers.{member}.layers.{number}, as in the file."""
    ensemble = nn.Module()
    nets = []
    for member in range(members):
        net = nn.Module()
        net.add_module("layers", _layers(shapes, f"{name}.layers.{member}.layers", (0, 2, 4, 6, 8), bend))
        nets.append(net)
    ensemble.add_module("layers", nn.ModuleList(nets))
    return ensemble
