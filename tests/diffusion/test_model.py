"""Every family of pipelines behind one interface, against the pipelines' own calls; the mistakes of users."""

import json
import logging
import math
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion import libraries
from gs_reg.diffusion.families.base import Text
from gs_reg.diffusion.libraries import diffusers, quiet
from gs_reg.diffusion.loading import look_into
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError, MissingPart

from . import tiny as pipelines

FLOWS = ["sd3", "sd3-t5", "sd35", "sd3-inpaint", "sd3-inpaint33", "flux"]
OTHERS = ["sd15", "sd15-v", "sd15-inpaint", "sdxl"]
PROMPTS = ["a red mug", "a mug with green handle"]


def stock_call(model: DiffusionModel, prompt: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, timestep and prediction of the first call that the pipeline itself makes of its network."""
    calls = []

    def record(_, args, kwargs, out):
        z = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        calls.append((z, kwargs["timestep"] if "timestep" in kwargs else args[1], out[0]))

    hook = model.network.register_forward_hook(record, with_kwargs=True)
    with quiet():
        model.pipe.set_progress_bar_config(disable=True)
        model.pipe(
            prompt,
            height=32,
            width=32,
            num_inference_steps=2,
            guidance_scale=1.0,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        )
    hook.remove()
    return calls[1]  # the first one is at the highest noise, where levels could hide


@pytest.mark.parametrize("name", ["sd3", "sd3-t5", "sd35", "flux", "sd15", "sd15-v", "sdxl"])
def test_a_prediction_is_that_of_the_pipeline_itself(tiny, name):
    model = DiffusionModel.load(tiny(name), device="cpu")
    z, timestep, expected = stock_call(model, PROMPTS[0])
    level = float(timestep.reshape(-1)[0])
    level = level if name == "flux" else level / 1000 if model.kind == "flow" else (level + 1) / 1000
    if name == "flux":
        z, expected = (model.pipe._unpack_latents(x, 32, 32, 2) for x in (z, expected))
    ours = model.predict(z, level, model.text(PROMPTS[:1]))
    assert ours.shape == (1, model.channels, 16, 16) and torch.allclose(ours, expected, atol=1e-5)
    assert not torch.allclose(model.predict(z, level, model.text(["headlights"])), expected, atol=1e-5)


@pytest.mark.parametrize("name", FLOWS + OTHERS)
def test_every_family_has_text_latents_and_guided_predictions(tiny, name):
    model = DiffusionModel.load(tiny(name), device="cpu")
    assert model.kind == ("flow" if name in FLOWS else "v" if name == "sd15-v" else "epsilon") and model.factor == 2
    text, null = model.text(PROMPTS), model.text([""])
    pictures = torch.rand(2, 32, 32, 3, requires_grad=True)
    z = model.encode(pictures)
    assert z.shape == (2, model.channels, 16, 16)
    z.square().sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().min()) > 0
    z = z.detach()
    plain, empty = model.predict(z, 0.5, text), model.predict(z, 0.5, null)
    guided = model.guided(z, 0.5, text, null, 7.0)
    assert torch.allclose(guided, empty + 7 * (plain - empty), atol=1e-4) and guided.dtype == torch.float32
    rescaled = model.guided(z, 0.5, text, null, 7.0, rescale=1.0)
    assert torch.allclose(rescaled.flatten(1).std(1), plain.flatten(1).std(1), rtol=1e-4)
    assert model.decode(z).shape == (2, 32, 32, 3)


def test_calls_are_counted_by_purpose(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    text = model.text(PROMPTS)
    with model.counting("teacher"):
        model.predict(torch.zeros(2, 16, 16, 16), 0.5, text)
        with model.counting("sds"):
            model.guided(torch.zeros(1, 16, 16, 16), 0.5, text[:1], text[1:], 2.0)
    model.predict(torch.zeros(3, 16, 16, 16), 0.5, text[:1])
    assert dict(model.calls_by_purpose) == {"teacher": 2, "sds": 2, "other": 3} and model.calls == 7


def test_prompts_are_encoded_once(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    first = model.text(PROMPTS)
    model.pipe.text_encoder = None
    again = model.text([PROMPTS[1], PROMPTS[0]])
    assert torch.equal(again.rows, first.rows.flip(0)) and again.pooled is not None and first.pooled is not None
    assert torch.equal(again.pooled, first.pooled.flip(0)) and len(Text.joined([again, first])) == 4


def test_text_without_t5_has_as_many_zero_rows_as_the_folder_says(tiny, tmp_path):
    stock = DiffusionModel.load(tiny("sd3"), device="cpu")
    assert stock.settings.zero_rows == 256 and stock.settings.blocks is None and stock.resolution == 32
    folder = shutil.copytree(tiny("sd3"), tmp_path / "ours")
    said = {"schema": 1, "zero_rows": 7, "blocks": [0, 1], "u_path": [0.1, 0.4], "tau": 0.3, "resolution": 16}
    (folder / "teacher.json").write_text(json.dumps(said))
    ours = DiffusionModel.load(folder, device="cpu")
    rows = ours.text(PROMPTS).rows
    assert rows.shape == (2, pipelines.LENGTH + 7, 32) and not rows[:, pipelines.LENGTH :].any() and rows[:, -8].all()
    assert ours.settings.blocks == (0, 1) and ours.settings.u_path == (0.1, 0.4) and ours.resolution == 16


def test_a_folder_whose_t5_was_not_copied_is_one_without(tiny, tmp_path):
    folder = shutil.copytree(tiny("sd3-t5"), tmp_path / "half")
    shutil.rmtree(folder / "text_encoder_3")
    shutil.rmtree(folder / "tokenizer_3")
    model = DiffusionModel.load(folder, device="cpu")
    assert model.pipe.text_encoder_3 is None and not model.text(PROMPTS).rows[:, pipelines.LENGTH :].any()
    whole = DiffusionModel.load(tiny("sd3-t5"), device="cpu")
    assert whole.text(PROMPTS).rows[:, pipelines.LENGTH :].any()


def test_levels_are_shifted_once(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    assert [round(model.sigma(u), 4) for u in (0.020, 0.156, 0.292, 0.428)] == [0.0577, 0.3567, 0.5530, 0.6918]
    assert model.sigma(1.0) == 1 and float(model.shares(torch.tensor([0.3]))[0]) == pytest.approx(0.7)
    flux = DiffusionModel.load(tiny("flux"), device="cpu")
    scheduler = diffusers().FlowMatchEulerDiscreteScheduler.from_config(flux.pipe.scheduler.config)
    scheduler.set_timesteps(sigmas=[0.8, 0.4], mu=0.5 + (1.15 - 0.5) * (64 - 256) / (4096 - 256))
    assert [flux.sigma(u, (16, 16)) for u in (0.8, 0.4)] == pytest.approx(scheduler.sigmas[:2].tolist(), abs=1e-6)


def test_levels_of_other_models_follow_their_table(tiny):
    model = DiffusionModel.load(tiny("sd15"), device="cpu")
    table = model.pipe.scheduler.alphas_cumprod
    kept, noise = model.shares(torch.tensor([0.25, 1.0]))
    assert kept.flatten().tolist() == pytest.approx([math.sqrt(table[249]), math.sqrt(table[999])])
    assert torch.allclose(kept**2 + noise**2, torch.ones_like(kept)) and model.sigma(0.3) == 0.3


def test_spans_are_rows_of_the_text(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    prompt = "a mug with headlights"
    spans, count = model.tokens(prompt, {1: (prompt.index("head"), len(prompt))}, 2)
    assert spans.shape == (2, pipelines.LENGTH) and not spans[0].any()
    assert spans[1].nonzero().flatten().tolist() == [4, 5] and float(spans[1].sum()) == 1
    assert count == 7 <= model.longest_prompt == pipelines.LENGTH
    long = "a mug and " * 4 + "a mug with red handle and green rim"  # start and end take two of 16
    assert model.tokens(long, {}, 1)[1] == 22 > model.longest_prompt
    assert model.unread(long) == "with red handle and green rim" and not model.unread(prompt)


def test_latents_are_in_the_network_s_units(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    picture = torch.rand(1, 32, 32, 3)
    mean = model.pipe.vae.encode(picture.movedim(-1, 1) * 2 - 1).latent_dist.mean
    assert torch.allclose(model.encode(picture), (mean - 0.1) * 1.5, atol=1e-6)
    decoded = model.pipe.vae.decode(mean).sample / 2 + 0.5
    assert torch.allclose(model.decode(model.encode(picture)), decoded.movedim(1, -1).clamp(0, 1), atol=1e-5)
    with pytest.raises(InputError, match="multiples of 4"):
        model.encode(torch.rand(1, 30, 32, 3))


@pytest.mark.parametrize("name", ["sd3", "sd15", "sdxl", "flux"])
def test_half_precision_keeps_levels_and_latents_in_single(tiny, name):
    model = DiffusionModel.load(tiny(name), device="cpu", dtype=torch.bfloat16)
    assert model.pipe.vae.dtype == torch.float32 and model.network.dtype == torch.bfloat16
    z = model.encode(torch.rand(1, 32, 32, 3))
    whole = DiffusionModel.load(tiny(name), device="cpu")
    ours, theirs = (m.predict(z, 0.5, m.text(PROMPTS[:1])) for m in (model, whole))
    assert ours.dtype == torch.float32 and 0 < float((ours - theirs).norm() / theirs.norm()) < 0.1


def test_only_half_precision_files_are_found(tmp_path):
    folder = tmp_path / "fp16"
    pipelines.pipeline("sd3").save_pretrained(folder, variant="fp16")
    assert look_into(folder).variant() == "fp16"
    assert DiffusionModel.load(folder, device="cpu").kind == "flow"


def test_nothing_is_asked_of_the_network(tiny, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a look-up"))
    for name in ("sd3-t5", "sdxl", "flux"):
        DiffusionModel.load(tiny(name), device="cpu").text(PROMPTS)
    with pytest.raises(MissingPart):
        DiffusionModel.load("nobody/has-this-model", device="cpu")


def test_a_missing_library_is_named(tiny, monkeypatch):
    def absent(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(libraries.importlib, "import_module", absent)
    refused(tiny("sd3"), MissingPart, "diffusers", "pip install 'gs-reg[edit]'")


def refused(folder, error: type[Exception], *words: str) -> None:
    with pytest.raises(error) as found:
        DiffusionModel.load(folder, device="cpu")
    said = str(found.value)
    assert all(word in said for word in words) and "\n" not in said, said


def test_what_is_no_pipeline_is_refused_in_one_line(tiny, tmp_path):
    refused(tmp_path / "nowhere", InputError, "nowhere", "no such folder")
    refused(tiny("sd3") / "vae", InputError, "model_index.json", "AutoencoderKL")
    (tmp_path / "one.safetensors").write_bytes(b"")
    refused(tmp_path / "one.safetensors", InputError, "a file", "folder")
    refused(tmp_path, InputError, "from_single_file")
    refused("nobody/has-this-model", MissingPart, "nobody/has-this-model", "--allow-download")


def changed_index(folder, **values) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_other_families_and_broken_weights_are_refused_in_one_line(tiny, tmp_path):
    video = shutil.copytree(tiny("sd3"), tmp_path / "video")
    changed_index(video, _class_name="WanPipeline", transformer=["diffusers", "WanTransformer3DModel"])
    refused(video, InputError, "WanPipeline", "family")
    other = shutil.copytree(tiny("sd3"), tmp_path / "vae")
    changed_index(other, vae=["diffusers", "AutoencoderDC"])
    refused(other, InputError, "AutoencoderDC")
    lacking = shutil.copytree(tiny("sd3"), tmp_path / "lacking")
    shutil.rmtree(lacking / "transformer")
    refused(lacking, MissingPart, "transformer", "missing")
    broken = shutil.copytree(tiny("sd3"), tmp_path / "broken")
    (broken / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    refused(broken, InputError, "broken")
    (broken / "model_index.json").write_text("{")
    refused(broken, InputError, "model_index.json")


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae"])
def test_a_folder_that_lacks_tensors_is_refused(tiny, tmp_path, part):
    """The libraries fill them with random numbers and only say so."""
    folder = shutil.copytree(tiny("sd3"), tmp_path / "sd3")
    file = next((folder / part).glob("*.safetensors"))
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.endswith("weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, file, metadata={"format": "pt"})
    refused(folder, InputError, f"1 tensors are missing, such as {name}")


def test_libraries_speak_again_after_a_quiet_block():
    utils, log = diffusers().utils.logging, logging.getLogger("diffusers.some_file")
    before = (logging.getLogger("diffusers").handlers, utils.get_verbosity(), utils.is_progress_bar_enabled())
    with quiet() as heard:
        log.warning("Some weights of A are newly initialized: ['x.weight', 'y']")
        assert not utils.is_progress_bar_enabled()
    assert (logging.getLogger("diffusers").handlers, utils.get_verbosity(), utils.is_progress_bar_enabled()) == before
    with pytest.raises(InputError, match=r"folder: 2 tensors are missing, such as x\.weight"):
        heard.refuse_missing(Path("folder"))
    utils.disable_progress_bar()
    with quiet() as heard:
        log.warning("something else")
    assert not utils.is_progress_bar_enabled()
    utils.enable_progress_bar()
    heard.refuse_missing(Path("folder"))


def test_weights_of_another_size_are_refused_in_one_line(tiny, tmp_path):
    mixed = shutil.copytree(tiny("sd3"), tmp_path / "mixed")
    shutil.rmtree(mixed / "vae")
    shutil.copytree(tiny("sd15") / "vae", mixed / "vae")
    refused(mixed, InputError, "16 channels", "4")


@pytest.mark.parametrize("said", [{"u_path": [0.4, 0.1]}, {"u_path": []}, {"tau": 0}, {"zero_rows": -1}, {"blocks": 3}])
def test_settings_that_cannot_be_are_refused(tiny, tmp_path, said):
    folder = shutil.copytree(tiny("sd3"), tmp_path / "said")
    (folder / "teacher.json").write_text(json.dumps(said))
    refused(folder, InputError, "teacher.json")
