import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from gs_reg.errors import InputError
from gs_reg.lpips import NETS
from gs_reg.metrics import Lpips, check_lpips, coverage, find_lpips, psnr, ssim, ssim_map


def pair(h=40, w=52, seed=0, n=1):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(n, h, w, 3, generator=generator, dtype=torch.float64)
    return a, (a + 0.2 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def slow_ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The definition with explicit windows, outside pixels being 0."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    pad = [np.pad(x, 5) for x in (a, b)]
    out = np.empty_like(a)
    for y, x in np.ndindex(a.shape):
        p, q = (image[y : y + 11, x : x + 11] for image in pad)
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq, cov = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2, (window * p * q).sum() - mp * mq
        out[y, x] = (2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
    return out


def test_psnr_of_a_known_error():
    a = torch.full((2, 4, 5, 3), 0.5)
    b = a.clone()
    b[0] += 0.1
    b[1, 0, 0] += 0.5
    expected = [20.0, -10 * np.log10(0.25 / 20)]
    torch.testing.assert_close(psnr(a, b), torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=0)


def test_psnr_counts_only_the_mask():
    a, b = pair(8, 9)
    mask = torch.zeros(1, 8, 9, dtype=torch.bool)
    mask[:, 2:5, 3:7] = True
    inside = psnr(a[:, 2:5, 3:7], b[:, 2:5, 3:7])
    torch.testing.assert_close(psnr(a, b, mask), inside)
    torch.testing.assert_close(psnr(a, b, torch.ones_like(mask)), psnr(a, b))
    assert psnr(a, b, torch.zeros_like(mask)).isnan().all()


def test_ssim_matches_the_definition():
    a, b = pair(14, 17)
    expected = np.stack([slow_ssim_map(a[0, ..., c].numpy(), b[0, ..., c].numpy()) for c in range(3)], axis=-1)
    np.testing.assert_allclose(ssim_map(a, b)[0].numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(float(ssim(a, b)), expected.mean(), atol=1e-9)


def test_ssim_matches_skimage_inside():
    a, b = pair(40, 52)
    _, full = structural_similarity(
        a[0].numpy(), b[0].numpy(), channel_axis=-1, data_range=1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    np.testing.assert_allclose(ssim_map(a, b)[0, 6:-6, 6:-6].numpy(), full[6:-6, 6:-6], atol=1e-9)


def test_ssim_of_equal_images_is_one_and_drops_with_noise():
    a, b = pair(20, 20)
    assert float(ssim(a, a)) == pytest.approx(1, abs=1e-9)
    assert float(ssim(a, b)) < 0.98


def test_masked_ssim():
    a, b = pair(30, 31, n=2)
    mask = torch.zeros(2, 30, 31, dtype=torch.bool)
    mask[:, 5:20, 4:22] = True
    wild = torch.where(mask[..., None], b, torch.rand_like(b))
    torch.testing.assert_close(ssim(a, b, mask), ssim(a, wild, mask))  # outside is white, whatever was there
    torch.testing.assert_close(ssim(a, b, torch.ones_like(mask)), ssim(a, b))
    white = torch.where(mask[..., None], torch.zeros_like(a), torch.ones_like(a))
    assert float(ssim(white[:1], white[:1], mask[:1])) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(coverage(mask), torch.full((2,), 15 * 18 / (30 * 31)))


def test_ssim_map_is_differentiable():
    a, b = pair(12, 12)
    assert torch.autograd.gradcheck(lambda x: ssim_map(x, b[:, :4, :4]).sum(), a[:, :4, :4].clone().requires_grad_())


def test_shapes_must_match():
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked at run time
        psnr(torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 5, 3))


def random_weights(net):
    generator = torch.Generator().manual_seed(1)
    backbone, heads, tap = {}, {}, 0
    for layer in NETS[net]:
        cin, cout = layer.channels
        shape = (cout, cin, layer.size, layer.size)
        backbone[f"features.{layer.index}.weight"] = (
            torch.randn(shape, generator=generator) / (cin * layer.size**2) ** 0.5
        )
        backbone[f"features.{layer.index}.bias"] = torch.randn(cout, generator=generator) * 0.1
        if layer.tap:
            heads[f"lin{tap}.model.1.weight"] = torch.rand(1, cout, 1, 1, generator=generator)
            tap += 1
    return backbone, heads


@pytest.mark.parametrize(("net", "cut"), [("alex", [2, 5, 8, 10, 12]), ("vgg", [4, 9, 16, 23, 30])])
def test_lpips_equals_torchvision_layers(net, cut):
    models = pytest.importorskip("torchvision.models")
    backbone, heads = random_weights(net)
    features = (models.vgg16() if net == "vgg" else models.alexnet()).features
    features.load_state_dict({k.removeprefix("features."): v for k, v in backbone.items()})
    a, b = (x.float() for x in pair(64, 72, n=2))
    expected = torch.zeros(2)
    for i, end in enumerate(cut):
        taps = []
        for x in (a, b):
            x = (x * 2 - 1 - torch.tensor([-0.030, -0.088, -0.188])) / torch.tensor([0.458, 0.448, 0.450])
            y = features[:end](x.permute(0, 3, 1, 2)).detach()
            taps.append(y / y.norm(dim=1, keepdim=True))
        weight = heads[f"lin{i}.model.1.weight"]
        expected += ((taps[0] - taps[1]) ** 2 * weight).sum(1).mean((1, 2))
    lpips = Lpips(net, backbone, heads)
    torch.testing.assert_close(lpips(a, b), expected, rtol=1e-4, atol=1e-6)
    assert float(lpips(a, a).abs().max()) == 0
    assert (lpips(a, b, scaled=False) - expected).abs().min() > 1e-4
    assert lpips.name == f"lpips_{net}"


def test_lpips_wants_every_tensor():
    backbone, heads = random_weights("alex")
    del heads["lin3.model.1.weight"]
    with pytest.raises(ValueError, match=r"lin3.model.1.weight.*\[1, 256, 1, 1\].*nothing"):
        Lpips("alex", backbone, heads)


def test_lpips_is_never_a_look_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    found, reason = find_lpips([tmp_path])
    assert found is None and "no vgg16-*.pth found" in reason and "no vgg.pth found" in reason
    backbone, heads = random_weights("alex")
    torch.save(backbone, tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(heads, tmp_path / "alex.pth")
    found, reason = find_lpips([tmp_path], "alex")
    assert found is None and "not the published file" in reason


def test_heads_alone_are_not_lpips(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found, reason = find_lpips([real_data / "weights"])
    assert found is None
    assert reason == "lpips_vgg: backbone: no vgg16-*.pth found"


def test_weights_of_lpips_must_be_where_they_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    check_lpips(())
    with pytest.raises(InputError, match="nowhere: no such file or folder; expected the weights of LPIPS there"):
        check_lpips([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="lpips_vgg: backbone"):
        check_lpips([tmp_path])
