"""MonoNPHM's networks with random weights under the authors' names, against an evaluation layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.priors import load_prior
from gs_reg.priors.mononphm import MonoNphmPrior
from gs_reg.priors.mononphm_networks import IdentityField, neighbourhood, net_of_slot

CODE = 64 + 66 * 32


def _sizes() -> dict[str, dict[str, tuple[int, int]]]:
    """Shapes of the released file, hidden layers narrower."""
    field = {"compressor.0": (16, CODE + 195), "defDeepSDF.lin0": (40, 119), "defDeepSDF.lin3": (40, 159)}
    field |= {f"defDeepSDF.lin{i}": (40, 40) for i in (1, 2, 4, 5)} | {"defDeepSDF.lin6": (5, 40)}
    head = {"mlp_pos.0": (64, 64), "mlp_pos.2": (64, 64), "mlp_pos.4": (195, 64)}
    head |= {"communcation_bottleneck1": (16, 24), "communcation_bottleneck2": (16, 16)}
    for name, inputs, outputs in (("deepSDFensemble", 101, 1), ("aggr_app", 112, 3)):
        for net in range(36):
            rows = (inputs, 24, 24, 24, 24, outputs)
            head |= {f"{name}.layers.{net}.layers.{2 * i}": (rows[i + 1], rows[i]) for i in range(5)}
    return {"ex_decoder": field, "id_decoder": head}


def _checkpoint() -> dict:
    generator = torch.Generator().manual_seed(0)
    checkpoint = {"epoch": 3, "latent_codes": {}}
    for name, sizes in _sizes().items():
        weights = {}
        for layer, (outputs, inputs) in sizes.items():
            weights[f"module.{layer}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
            weights[f"module.{layer}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        checkpoint[name] = weights
    return checkpoint


def _written(folder: Path, checkpoint: dict) -> Path:
    anchors = np.random.default_rng(0).uniform(-0.3, 0.3, (65, 3))
    np.save(folder / "anchors_65.npy", anchors)
    torch.save(checkpoint, folder / "checkpoint_epoch_3.tar")
    return folder


@pytest.fixture(scope="module")
def checkpoint() -> dict:
    return _checkpoint()


@pytest.fixture(scope="module")
def prior(checkpoint: dict, tmp_path_factory: pytest.TempPathFactory) -> MonoNphmPrior:
    loaded = load_prior("mononphm", _written(tmp_path_factory.mktemp("nphm"), checkpoint))
    assert isinstance(loaded, MonoNphmPrior)
    return loaded


def _layer(checkpoint: dict, name: str, layer: str, x: np.ndarray) -> np.ndarray:
    weight, bias = (checkpoint[name][f"module.{layer}.{end}"].double().numpy() for end in ("weight", "bias"))
    return x @ weight.T + bias


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, 100 * x) / 100


def _points(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    z = 0.3 * torch.randn(100, generator=generator)
    return torch.rand(count, 3, generator=generator) - 0.5, z, 0.3 * torch.randn(2 * CODE, generator=generator)


def _by_hand(
    prior: MonoNphmPrior, checkpoint: dict, x: np.ndarray, z: np.ndarray, z_geo: np.ndarray, swapped: bool = False
):
    hidden = z_geo[:64]
    for i in (0, 2, 4):
        hidden = _layer(checkpoint, "id_decoder", f"mlp_pos.{i}", hidden)
        hidden = np.maximum(hidden, 0) if i < 4 else hidden
    anchors = prior.mean_anchors.double().numpy() + hidden.reshape(65, 3)
    c = _layer(checkpoint, "ex_decoder", "compressor.0", np.concatenate([z_geo, anchors.ravel()]))
    condition = np.concatenate([z, c] if swapped else [c, z])
    given = np.concatenate([x, np.broadcast_to(condition, (len(x), 116))], axis=1)
    h = given
    for i in range(6):
        h = np.concatenate([h, given], axis=1) / np.sqrt(2) if i == 3 else h
        h = _softplus(_layer(checkpoint, "ex_decoder", f"defDeepSDF.lin{i}", h))
    out = _layer(checkpoint, "ex_decoder", "defDeepSDF.lin6", h)
    return x + out[:, :3], out[:, 3:], anchors


def test_backward_is_what_the_layers_say(prior, checkpoint):
    x, z, ident = _points(50)
    canonical, hyper = prior.backward(x, z, ident)
    numbers = [t.double().numpy() for t in (x, z, ident[:CODE])]
    wanted, wanted_hyper, _ = _by_hand(prior, checkpoint, *numbers)
    assert np.abs(canonical.numpy() - wanted).max() < 1e-5 and np.abs(hyper.numpy() - wanted_hyper).max() < 1e-5
    exact = prior.to(dtype=torch.float64)
    canonical, hyper = exact.backward(x.double(), z.double(), ident.double())
    assert np.abs(canonical.numpy() - wanted).max() < 1e-9 and np.abs(hyper.numpy() - wanted_hyper).max() < 1e-9
    swapped = _by_hand(prior, checkpoint, *numbers, swapped=True)
    assert np.abs(canonical.numpy() - swapped[0]).max() > 1e-3
    many = prior.backward(x.repeat(2, 1, 1), torch.stack([z, -z]), ident)[0]
    assert torch.allclose(many[0], prior.backward(x, z, ident)[0], atol=1e-6) and not torch.allclose(many[0], many[1])


def test_distances_and_colours_are_what_the_members_say(prior, checkpoint):
    x, z, ident = _points(6)
    hyper = torch.randn(6, 2, generator=torch.Generator().manual_seed(2))
    distance, color = prior.to(dtype=torch.float64).distance(x.double(), hyper.double(), ident.double())
    z_geo, z_app = ident[:CODE].double().numpy(), ident[CODE:].double().numpy()
    anchors = _by_hand(prior, checkpoint, x.double().numpy(), z.double().numpy(), z_geo)[2]
    for i, (p, w) in enumerate(zip(x.double().numpy(), hyper.double().numpy(), strict=True)):
        lengths = np.linalg.norm(p - anchors, axis=1)
        nearest = np.argsort(lengths)[:12]
        sigma = np.sort(lengths)[7] / 3.75
        members = [(k, p - anchors[k], lengths[k]) for k in nearest] + [(65, p, 0.75)]
        total, shade, weight = 0.0, np.zeros(3), 0.0
        for slot, offset, length in members:
            net = slot // 2 if slot < 60 else slot - 30
            offset = offset * ([-1, 1, 1] if slot < 60 and slot % 2 else [1, 1, 1])
            local = slice(64 + 32 * slot, 96 + 32 * slot)
            h = np.concatenate([z_geo[:64], z_geo[local], offset, w])
            for layer in (0, 2, 4, 6):
                features = _layer(checkpoint, "id_decoder", f"deepSDFensemble.layers.{net}.layers.{layer}", h)
                h = _softplus(features)
            sdf = _layer(checkpoint, "id_decoder", f"deepSDFensemble.layers.{net}.layers.8", h)[0]
            said = np.maximum(_layer(checkpoint, "id_decoder", "communcation_bottleneck1", features), 0)
            said = _layer(checkpoint, "id_decoder", "communcation_bottleneck2", said)
            h = np.concatenate([z_app[:64], z_app[local], said])
            for layer in (0, 2, 4, 6):
                h = np.maximum(_layer(checkpoint, "id_decoder", f"aggr_app.layers.{net}.layers.{layer}", h), 0)
            share = np.exp(-((length / sigma) ** 2) / 2)
            total, weight = total + share * sdf, weight + share
            shade = shade + share * _layer(checkpoint, "id_decoder", f"aggr_app.layers.{net}.layers.8", h)
        assert abs(distance[i] - total / (weight + 1e-8)) < 1e-9
        assert np.abs(color[i].numpy() - shade / (weight + 1e-8)).max() < 1e-9


def test_a_mirrored_point_with_the_codes_of_a_pair_exchanged_asks_the_same(prior):
    """T2: left and right exchanged in all, the head is mirrored, and the blend's weights sum to 1."""
    x, _, ident = _points(40)
    flip = torch.tensor([-1.0, 1, 1])
    order = torch.arange(66)
    order[:60] = order[:60].view(30, 2).flip(1).flatten()
    anchors = torch.rand(65, 3, generator=torch.Generator().manual_seed(3)) - 0.5
    anchors[1:60:2] = anchors[0:60:2] * flip
    anchors[60:, 0] = 0
    hyper = torch.zeros(40, 2)
    slots, deltas, weights = neighbourhood(x, hyper, anchors)
    other, mirrored, shares = neighbourhood(x * flip, hyper, anchors)
    assert torch.allclose(weights.sum(1), torch.ones(40), atol=1e-6) and torch.allclose(weights, shares, atol=1e-6)
    assert torch.equal(order[slots], other) and (slots[:, -1] == 65).all()
    paired = slots < 60
    assert torch.allclose(deltas[paired], mirrored[paired], atol=1e-6)
    assert torch.equal(net_of_slot(slots), net_of_slot(other)) and net_of_slot(
        torch.tensor([0, 1, 59, 60, 65])
    ).tolist() == [0, 0, 29, 30, 35]
    codes = torch.cat([ident[:64], ident[64:CODE].view(66, 32)[order].flatten()])
    for slot, point in ((6, x), (7, x * flip)):
        delta = torch.cat([(point - anchors[slot]) * (flip if slot % 2 else 1), hyper], dim=1)
        said = prior.head._local(3, torch.full((40,), slot), delta, ident[:CODE] if slot == 6 else codes)[0]
        if slot == 6:
            first = said
    assert torch.allclose(first, said, atol=1e-6)


def test_the_width_of_the_blend_is_the_8th_distance():
    anchors = torch.zeros(65, 3)
    anchors[:, 0] = 0.02 * torch.arange(1, 66)
    _, _, weights = neighbourhood(torch.zeros(1, 3), torch.zeros(1, 2), anchors)
    sigma = 0.02 * 8 / 3.75
    lengths = torch.cat([0.02 * torch.arange(1, 13), torch.tensor([0.75])])
    wanted = torch.exp(-((lengths / sigma) ** 2) / 2)
    assert torch.allclose(weights[0], wanted / wanted.sum(), atol=1e-6)


def test_the_surface_is_where_the_distance_is_0(prior):
    """A ball put in place of the ensemble's answer."""

    class Ball(IdentityField):
        def __init__(self):
            torch.nn.Module.__init__(self)

        def anchors(self, z_geo, mean):
            return mean

        def forward(self, x, hyper, z_geo, anchors, z_app=None):
            return (x - torch.tensor([0.0, 0.1, -0.2])).norm(dim=1) - 0.3, None

    still = prior.field
    layer = still.defDeepSDF.get_submodule("lin6")
    kept = layer.weight.clone(), layer.bias.clone()
    layer.weight.zero_(), layer.bias.zero_()
    try:
        ball = MonoNphmPrior(still, Ball(), prior.mean_anchors, resolution=64)
        sample = ball.surface(None, 500, 0)
    finally:
        layer.weight.copy_(kept[0]), layer.bias.copy_(kept[1])
    away = sample.points - torch.tensor([0.0, 0.1, -0.2])
    assert (away.norm(dim=1) - 0.3).abs().max() < 0.002
    assert (torch.nn.functional.cosine_similarity(away, sample.normals) > 0.98).all()


def test_what_the_weights_do_not_say_is_refused(prior, checkpoint, tmp_path: Path):
    x, z, ident = _points(3)
    assert prior.dim == 100 and prior.forward(x, z) is None and prior.posed_mesh(z) is None
    assert prior.from_arkit(torch.zeros(52)) is None and prior.distance(x, torch.zeros(3, 2))[1] is None
    with pytest.raises(ValueError, match="2176 numbers"):
        prior.backward(x, z, ident[:50])
    folder = _written(tmp_path, {**checkpoint, "ex_decoder": dict(list(checkpoint["ex_decoder"].items())[:-1])})
    with pytest.raises(InputError, match=r"checkpoint_epoch_3\.tar: ex_decoder .*lin6\.bias is missing"):
        load_prior("mononphm", folder)
    (folder / "anchors_65.npy").unlink()
    with pytest.raises(InputError, match=r"anchors_65\.npy: not found.*65 mean anchors"):
        load_prior("mononphm", folder)
    np.save(folder / "anchors_65.npy", np.zeros((39, 3)))
    with pytest.raises(InputError, match=r"anchors_65\.npy: expected 65 anchors"):
        load_prior("mononphm", folder)
    folder = _written(
        tmp_path, {**checkpoint, "id_decoder": checkpoint["id_decoder"] | {"module.head.weight": torch.zeros(1)}}
    )
    with pytest.raises(InputError, match=r"head\.weight is unknown"):
        load_prior("mononphm", folder)
    odd = checkpoint["ex_decoder"] | {"module.defDeepSDF.lin1.weight": torch.zeros(40, 39)}
    with pytest.raises(InputError, match="do not fit each other"):
        load_prior("mononphm", _written(tmp_path, {**checkpoint, "ex_decoder": odd}))
    (tmp_path / "second.pt").touch()
    with pytest.raises(InputError, match="found 2: name the file"):
        load_prior("mononphm", tmp_path)
