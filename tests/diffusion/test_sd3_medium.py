"""The configuration of SD3-medium on the meta device: shapes of a prediction, SLaMP and a step of SDS; no weights."""

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.families.base import Text
from gs_reg.diffusion.libraries import diffusers
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.sds import sds_loss
from gs_reg.diffusion.slamp import SlampConfig, regenerate

SIDE = 512


@pytest.fixture(scope="module")
def medium() -> DiffusionModel:
    with torch.device("meta"):
        transformer = diffusers().SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=24,
            attention_head_dim=64,
            num_attention_heads=24,
            joint_attention_dim=4096,
            caption_projection_dim=1536,
            pooled_projection_dim=2048,
            pos_embed_max_size=192,
        )
        vae = diffusers().AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=16,
            norm_num_groups=32,
            sample_size=1024,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    names = ["text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"]
    pipe = diffusers().StableDiffusion3Pipeline(
        transformer=transformer.half().requires_grad_(False),
        vae=vae.requires_grad_(False),
        scheduler=diffusers().FlowMatchEulerDiscreteScheduler(shift=3.0),
        **dict.fromkeys(names),
    )
    model = DiffusionModel(pipe, "meta")
    model.text = lambda prompts: Text(  # type: ignore[method-assign]
        torch.zeros(len(prompts), 77 + 256, 4096, dtype=torch.float16, device="meta"),
        torch.zeros(len(prompts), 2048, dtype=torch.float16, device="meta"),
    )
    return model


def test_its_numbers(medium):
    assert sum(p.numel() for p in medium.network.parameters()) == pytest.approx(2.03e9, rel=0.03)
    assert (medium.kind, medium.factor, medium.channels, medium.native, medium.resolution) == ("flow", 8, 16, 1024, 512)
    assert medium.dtype == torch.float16 and medium.settings.zero_rows == 256 and medium.settings.tau == 0.2


def test_a_prediction_and_pictures(medium):
    z = medium.encode(torch.zeros(2, SIDE, SIDE, 3, device="meta"))
    assert z.shape == (2, 16, 64, 64) and z.dtype == torch.float32
    v = medium.guided(z, 0.5, medium.text(["a"]), medium.text([""]), 6.0, rescale=0.7)
    assert v.shape == z.shape and v.dtype == torch.float32
    assert medium.decode(z).shape == (2, SIDE, SIDE, 3)


@pytest.mark.parametrize("reference", [False, True])
def test_slamp(medium, reference):
    z = torch.zeros(1, 16, 64, 64, device="meta")
    mask = torch.ones(1, 1, 64, 64, device="meta")
    medium.calls_by_purpose.clear()
    out = regenerate(medium, z, mask, "a", SlampConfig(steps=2), 0, reference=z if reference else None)
    assert out.shape == z.shape and out.device.type == "meta" and medium.calls == (8 if reference else 6)


def test_a_step_of_sds(medium):
    pictures = torch.zeros(2, SIDE, SIDE, 3, device="meta", requires_grad=True)
    masks = torch.ones(2, SIDE, SIDE, dtype=torch.bool, device="meta")
    loss = sds_loss(
        medium, pictures, masks, medium.text(["a"]), medium.text(["b"]), generator=torch.Generator().manual_seed(0)
    )
    loss.backward()
    assert pictures.grad is not None and pictures.grad.shape == pictures.shape
