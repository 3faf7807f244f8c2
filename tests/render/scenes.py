"""Small random scenes for the rasterizer's tests."""

import torch

from gs_reg.types import Cameras, Splats


def random_scene(
    count: int = 150, width: int = 75, height: int = 64, cameras: int = 2, degree: int = 1, seed: int = 1
) -> tuple[Splats, Cameras]:
    """Overlapping splats in front of `cameras` cameras, float64; some beside, behind or nearly transparent."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    means = (rand(count, 3) - 0.5) * torch.tensor([4.0, 3.0, 5.0]) + torch.tensor([0, 0, 2.5])
    splats = Splats(
        means.double(),
        randn(count, 4),
        (rand(count, 3) * 0.3 + 0.01).log(),
        (rand(count) * 0.98 + 0.002).logit(),
        randn(count, (degree + 1) ** 2, 3) * 0.3,
    )
    viewmats = torch.eye(4, dtype=torch.float64).repeat(cameras, 1, 1)
    viewmats[:, 0, 3] = torch.arange(cameras) * 0.3
    K = torch.tensor([[60.0, 0, width / 2], [0, 62.0, height / 2 - 2], [0, 0, 1]], dtype=torch.float64)
    return splats, Cameras(viewmats, K.repeat(cameras, 1, 1), width, height)


def random_warps(count: int, seed: int = 2) -> torch.Tensor:
    """[count, 3, 3], float64: most near the identity; some mirror, some flatten (rank 2), and one is zero."""
    generator = torch.Generator().manual_seed(seed)
    warps = torch.eye(3) + 0.4 * torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    warps[1::5, :, 0] *= -1
    warps[2::5, :, 1] = warps[2::5, :, 0]
    warps[3] = 0
    return warps


def leaves(splats: Splats, cameras: Cameras) -> dict[str, torch.Tensor]:
    """Every differentiable input, as leaves."""
    tensors = {
        "means": splats.means,
        "quats": splats.quats,
        "log_scales": splats.log_scales,
        "opacity_logits": splats.opacity_logits,
        "sh": splats.sh,
        "viewmats": cameras.viewmats,
    }
    if splats.warps is not None:
        tensors["warps"] = splats.warps
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in tensors.items()}


def rebuilt(leaf: dict[str, torch.Tensor], cameras: Cameras) -> tuple[Splats, Cameras]:
    names = ("means", "quats", "log_scales", "opacity_logits", "sh")
    splats = Splats(*[leaf[name] for name in names], warps=leaf.get("warps"))
    return splats, Cameras(leaf["viewmats"], cameras.Ks.to(leaf["viewmats"].dtype), cameras.width, cameras.height)
