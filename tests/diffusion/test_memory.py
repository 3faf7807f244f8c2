"""Budgets: estimates from files alone, refusals before anything is loaded, networks in turn and block by block."""

import json

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion import memory, model
from gs_reg.diffusion.editors import open_editor, parse_editor
from gs_reg.diffusion.loading import look_into, open_pipeline
from gs_reg.diffusion.memory import Needs, Use, choose, needs
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.placing import Placement, stream
from gs_reg.errors import InputError

from . import tiny as pipelines

CUDA = torch.device("cuda")
USE = Use(side=32)


@pytest.mark.parametrize("name", ["sd3", "sd3-t5", "sd15", "sdxl", "flux"])
def test_weights_are_counted_from_the_files(tiny, name):
    loaded = DiffusionModel.load(tiny(name), device="cpu")
    found = needs(look_into(tiny(name)), torch.float16, USE)

    def numbers(*parts) -> int:
        return sum(p.numel() for part in parts for p in part.parameters())

    assert loaded.placement is not None
    encoders = numbers(*loaded.placement.encoders())
    assert found.vae == 4 * numbers(loaded.pipe.vae)
    assert 2 * numbers(loaded.network) <= found.network <= 2.5 * numbers(loaded.network)  # buffers are in the file
    assert 2 * encoders <= found.encoders <= 2.1 * encoders and 0 < found.block < found.network + found.encoders
    assert found.total("resident") > found.total("swapped") >= found.total("streamed")


def test_weights_in_other_types_and_variants(tmp_path):
    made = pipelines.pipeline("sd3")
    made.save_pretrained(tmp_path / "fp16", variant="fp16")
    made.save_pretrained(tmp_path / "plain")
    made.save_pretrained(tmp_path / "plain", variant="fp16")  # both in one folder are counted once
    half, plain = (needs(look_into(tmp_path / name), torch.float32, USE) for name in ("fp16", "plain"))
    assert half.network == plain.network and half.encoders == plain.encoders
    assert needs(look_into(tmp_path / "plain"), torch.bfloat16, USE).network == plain.network / 2


def test_the_encoder_s_activations_are_within_the_estimate(tiny):
    """What autograd keeps, and at most twice as much."""
    loaded = DiffusionModel.load(tiny("sd3"), device="cpu")
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loaded.encode(torch.rand(2, 64, 64, 3, requires_grad=True))
    size = sum(t.untyped_storage().nbytes() for t in kept.values())
    estimate = needs(look_into(tiny("sd3")), torch.float32, Use(64, pictures=2)).work
    assert size < estimate < 2 * size
    assert needs(look_into(tiny("sd3")), torch.float32, Use(128, pictures=2)).work == pytest.approx(4 * estimate)
    assert needs(look_into(tiny("sd3")), torch.float32, Use(64, pictures=2, gradient=False)).work < estimate


def test_sd3_medium_s_estimate(tmp_path):
    """The known sizes: 2.03 B parameters of the network in half precision; SDS at 512 fits 24 GB, not 8 without T5."""
    config = {"num_attention_heads": 24, "attention_head_dim": 64, "patch_size": 2}
    folder = tmp_path / "sd3"
    pipelines.pipeline("sd3").save_pretrained(folder)
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    (folder / "vae" / "config.json").write_text(json.dumps({"block_out_channels": [128, 256, 512, 512]}))
    work = needs(look_into(folder), torch.float16, Use(512)).work
    assert 4e9 < work < 5e9 and needs(look_into(folder), torch.float16, Use(512, gradient=False)).work < 2.5e9


def test_the_fastest_mode_within_the_budget_is_chosen(tiny, monkeypatch):
    contents = look_into(tiny("sd3"))
    made = Needs(network=4e9, encoders=10e9, vae=0.3e9, block=0.5e9, work=4e9, context=0.6e9)
    monkeypatch.setattr(memory, "needs", lambda *_: made)
    modes = {gb: choose(contents, torch.float16, CUDA, gb, USE) for gb in (24, 18.9, 18, 15, 14, 6)}
    assert list(modes.values()) == ["resident", "resident", "swapped", "swapped", "streamed", "streamed"]
    with pytest.raises(InputError, match=r"5.4 GB.*--vram-gb is 5: .*raise --vram-gb to 5.7"):
        choose(contents, torch.float16, CUDA, 5, USE)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (15e9, 80e9))
    assert choose(contents, torch.float16, CUDA, None, USE) == "swapped"


@pytest.mark.parametrize("name", ["sd3", "sd15", "sdxl", "flux"])
def test_too_little_memory_is_refused_before_anything_is_loaded(tiny, name, monkeypatch):
    monkeypatch.setattr(model, "open_pipeline", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError) as found:
        DiffusionModel.load(tiny(name), device="cpu", vram_gb=1e-4)
    said = str(found.value)
    assert name in said and "--vram-gb is 0.0001" in said and "raise --vram-gb" in said and "\n" not in said


def test_a_resolution_that_would_do_is_named(tiny):
    contents = look_into(tiny("sd3"))
    at_128 = needs(contents, torch.float32, Use(128), context=0).total("resident")
    with pytest.raises(InputError, match="lower the resolution to 128, or raise --vram-gb"):
        choose(contents, torch.float32, torch.device("cpu"), at_128 * 1.01 / 1e9, Use(512))
    with pytest.raises(InputError, match="smaller model"):
        choose(contents, torch.float32, torch.device("cpu"), 1e-6, Use(512))


def test_an_editor_s_own_pipeline_has_a_budget_too(tiny):
    flag = parse_editor(f"diffusers:{tiny('sd15')}")
    with pytest.raises(InputError, match="--vram-gb is 1e-05"):
        open_editor(flag, None, vram_gb=1e-5)
    open_editor(flag, None, vram_gb=1).close()


def test_a_cut_off_file_is_refused(tiny, tmp_path):
    pipelines.pipeline("sd3").save_pretrained(tmp_path / "cut")
    file = tmp_path / "cut" / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="diffusion_pytorch_model"):
        DiffusionModel.load(tmp_path / "cut", device="cpu")


@pytest.mark.parametrize("name", ["sd3-t5", "sdxl", "flux"])
@pytest.mark.parametrize("mode", ["swapped", "streamed"])
def test_every_mode_predicts_the_same(tiny, name, mode):
    plain, other = (DiffusionModel.load(tiny(name), device="cpu") for _ in range(2))
    other.placement = Placement(other.pipe, other.family.network, torch.device("cpu"), mode)
    z = torch.randn(1, plain.channels, 16, 16)
    for prompt in ("a red mug", "a mug with handle"):
        ours, theirs = (m.predict(z, 0.5, m.text([prompt])) for m in (plain, other))
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("name", ["sd3-t5", "sdxl", "flux"])
@pytest.mark.parametrize("mode", ["resident", "swapped", "streamed"])
def test_every_mode_on_a_gpu_predicts_as_the_cpu(tiny, name, mode):
    plain = DiffusionModel.load(tiny(name), device="cpu")
    pipe = open_pipeline(look_into(tiny(name)), torch.float32)
    other = DiffusionModel(pipe, "cuda")
    other.placement = Placement(pipe, other.family.network, CUDA, mode)
    picture = torch.rand(1, 32, 32, 3)
    z = plain.encode(picture)
    assert torch.allclose(other.encode(picture).cpu(), z, atol=1e-3)
    theirs = other.predict(z.cuda(), 0.5, other.text(["a red mug"])).cpu()
    assert torch.allclose(plain.predict(z, 0.5, plain.text(["a red mug"])), theirs, atol=1e-2)
    held = {t.device.type for part in (other.network, *other.placement.encoders()) for t in part.parameters()}
    assert held == ({"cuda"} if mode == "resident" else {"cuda", "cpu"})


def test_streaming_holds_one_block_at_a_time(tiny):
    loaded = DiffusionModel.load(tiny("sd3"), device="cpu")
    z, text = torch.ones(1, 16, 16, 16), loaded.text(["a mug"])
    expected = loaded.predict(z, 0.5, text)
    network, most = loaded.network, [0]
    tensors = [*network.parameters(), *network.buffers()]
    homes = {t.data_ptr() for t in tensors}
    blocks = [sum(p.numel() for p in block.parameters()) for block in network.transformer_blocks]
    rest = sum(t.numel() for t in tensors) - sum(blocks)

    def away() -> int:
        return sum(t.numel() for t in tensors if t.data_ptr() not in homes)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        most[0] = max(most[0], away() + tensor.numel())
        return tensor.clone()

    stream(network, moved)
    assert away() == rest
    for _ in range(2):
        assert torch.allclose(loaded.predict(z, 0.5, text), expected, atol=1e-6) and away() == rest
    assert most[0] == rest + max(blocks)


def test_encoders_can_be_freed(tiny):
    loaded = DiffusionModel.load(tiny("sd3-t5"), device="cpu")
    before = loaded.text(["a mug"])
    loaded.free_encoders()
    assert loaded.pipe.text_encoder_3 is None and torch.equal(loaded.text(["a mug"]).rows, before.rows)
    with pytest.raises(RuntimeError, match="a red mug"):
        loaded.text(["a red mug"])
    assert float(loaded.tokens("a mug", {0: (2, 5)}, 1)[0].sum()) == 1
