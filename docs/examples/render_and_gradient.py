"""Write a splat file, read it, draw it, and take a gradient: python docs/examples/render_and_gradient.py [FILE.ply]"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import gs_reg

RED, GREEN, BLUE = torch.eye(3)


def three_splats() -> gs_reg.Splats:
    """A red, a green and a blue one, 2 units in front of the camera."""
    return gs_reg.Splats(
        means=torch.tensor([[-0.5, 0.0, 2.0], [0.0, 0.1, 2.0], [0.5, 0.0, 2.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(3, 1),  # w, x, y, z
        log_scales=torch.tensor([[0.2, 0.1, 0.1]]).log().repeat(3, 1),
        opacity_logits=torch.full((3,), 0.9).logit(),
        sh=(torch.stack([RED, GREEN, BLUE])[:, None] - 0.5) / 0.28209479,  # the colour is 0.5 + 0.282 sh
    )


def camera(width: int = 160, height: int = 120) -> gs_reg.Cameras:
    """One camera at the origin: x right, y down, z forward; the focal length is as long as the picture is wide."""
    K = torch.tensor([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
    return gs_reg.Cameras(torch.eye(4)[None], K[None], width, height)


def redness(splats: gs_reg.Splats) -> torch.Tensor:
    """Sum of the red channel of the picture."""
    return gs_reg.render(splats, camera()).colors[..., 0].sum()


def main(file: Path) -> None:
    if not file.exists():
        gs_reg.save_splats(file, three_splats())
    splats = gs_reg.load_splats(file)
    image = gs_reg.render(splats, camera())
    print(f"{len(splats)} splats from {file.name}: {list(image.colors.shape)}, alpha to {image.alphas.max():.3f}")

    logits = splats.opacity_logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(redness(replace(splats, opacity_logits=logits)), logits)
    step = torch.zeros_like(logits)
    step[0] = 0.01
    more, less = (redness(replace(splats, opacity_logits=splats.opacity_logits + s)) for s in (step, -step))
    print(f"d redness / d logit of splat 0: {gradient[0]:.2f}, by differences {(more - less) / 0.02:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "three.ply"))
