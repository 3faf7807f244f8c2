"""Every editor through one contract, on random pipelines; what is particular to each."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from PIL import Image

from gs_reg.diffusion.editors import EditorChoice, PartEditor, open_editor, parse_editor
from gs_reg.diffusion.editors.inpaint import InpaintConfig
from gs_reg.diffusion.libraries import diffusers
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.slamp import SlampConfig
from gs_reg.errors import InputError, MissingPart

PROMPT = "a mug with green handle"
GENERATIVE = [
    "slamp:sd3", "slamp:sd15", "sd3-inpaint:sd3", "sd3-inpaint:sd3-t5", "sd3-inpaint:sd35", "sd3-inpaint:sd3-inpaint33",
    "diffusers:sd3", "diffusers:sd3-inpaint", "diffusers:sd15", "diffusers:sd15-inpaint", "diffusers:sdxl",
    "diffusers:flux",
]  # fmt: skip
Opener = Callable[[str], PartEditor]


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    pixels = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(1))
    return (pixels * 255).round() / 255


@pytest.fixture(scope="module")
def mask() -> torch.Tensor:
    out = torch.zeros(32, 32, dtype=torch.bool)
    out[8:18, 10:20] = True
    return out


def save(pixels: torch.Tensor, path: Path) -> None:
    Image.fromarray((pixels * 255).round().byte().numpy()).save(path)


@pytest.fixture(scope="module")
def opened(tiny, picture, tmp_path_factory) -> Opener:
    folder = tmp_path_factory.mktemp("edited")
    save(1 - picture, folder / "front.png")
    short = {"slamp": SlampConfig(steps=3), "inpaint": InpaintConfig(steps=3)}

    def open_one(name: str) -> PartEditor:
        kind, _, of = name.partition(":")
        if kind == "folder":
            return open_editor(parse_editor(f"folder:{folder}"), None)
        if kind == "diffusers":
            return open_editor(parse_editor(f"diffusers:{tiny(of)}"), None, **short)
        return open_editor(parse_editor(kind), DiffusionModel.load(tiny(of), device="cpu"), **short)

    return open_one


def edit(editor: PartEditor, picture: torch.Tensor, mask: torch.Tensor, seed: int = 0, **more) -> torch.Tensor:
    depth = torch.linspace(1, 2, picture[..., 0].numel()).view(picture.shape[:2])
    return editor.edit(picture, mask, depth, PROMPT, "photo of headlights", None, seed, view="front", **more)


@pytest.mark.parametrize("name", [*GENERATIVE, "folder:"])
def test_the_contract(opened, picture, mask, name):
    editor = opened(name)
    assert isinstance(editor, PartEditor)
    out = edit(editor, picture, mask)
    assert out.shape == picture.shape and out.dtype == picture.dtype and 0 <= out.min() <= out.max() <= 1
    away = ~(torch.nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0)
    assert torch.equal(out[away], picture[away]) and float((out - picture)[mask].abs().mean()) > 0.05
    assert torch.equal(edit(editor, picture, mask), out)
    assert torch.equal(edit(editor, picture, torch.zeros_like(mask)), picture)
    if name in GENERATIVE:
        assert editor.views is None and editor.calls > 0 and not editor.notes
        assert not torch.equal(edit(editor, picture, mask, seed=1), out)
    else:
        assert editor.views == ("front",) and editor.calls == 0
    editor.close()


@pytest.mark.parametrize("name", ["slamp:sd3", "sd3-inpaint:sd3", "diffusers:sd15", "diffusers:flux"])
def test_any_size_is_taken(opened, name):
    picture, mask = torch.rand(31, 27, 3), torch.zeros(31, 27, dtype=torch.bool)
    mask[20:, 20:] = True
    assert edit(opened(name), picture, mask).shape == picture.shape


@pytest.mark.parametrize("name", ["sd3-inpaint:sd3", "diffusers:sd3"])
def test_a_later_start_is_fewer_steps(opened, picture, mask, name):
    editor = opened(name)
    edit(editor, picture, mask)
    whole = editor.calls
    edit(editor, picture, mask, start=0.4)
    assert whole == 6 and editor.calls == whole + 4  # 2 of 3 steps


def test_inpainting_on_the_model_leaves_it_alone(tiny, picture, mask):
    """No second copy of weights, the scheduler as it was, calls counted, and the folder's own zero rows."""
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    table, shift = model.pipe.scheduler.sigmas.clone(), model.sigma(0.5)
    editor = open_editor(parse_editor("sd3-inpaint"), model, inpaint=InpaintConfig(steps=3))
    seen = []
    hook = model.network.register_forward_hook(lambda *a: seen.append(a[2]), with_kwargs=True)
    edit(editor, picture, mask)
    hook.remove()
    assert torch.equal(model.pipe.scheduler.sigmas, table) and model.sigma(0.5) == shift
    assert model.calls_by_purpose["sd3-inpaint"] == 6 == editor.calls
    assert torch.equal(seen[0]["encoder_hidden_states"][1:], model.text([PROMPT]).rows)
    assert [float(s["timestep"][0]) for s in seen] == pytest.approx([1000 * model.sigma(u) for u in (1, 2 / 3, 1 / 3)])
    editor.close()
    edit(open_editor(parse_editor("slamp"), model, slamp=SlampConfig(steps=2)), picture, mask)
    assert model.calls_by_purpose["sd3-inpaint"] == 6


def test_a_teacher_s_folder_is_asked_with_its_own_zero_rows(tiny, picture, mask, tmp_path):
    folder = shutil.copytree(tiny("sd3"), tmp_path / "ours")
    (folder / "teacher.json").write_text('{"zero_rows": 5}')
    for path, rows in ((folder, 5), (tiny("sd3"), 256)):
        editor = open_editor(parse_editor(f"diffusers:{path}"), None, inpaint=InpaintConfig(steps=2))
        seen = []
        editor.pipe.transformer.register_forward_hook(lambda *a, seen=seen: seen.append(a[2]), with_kwargs=True)
        edit(editor, picture, mask)
        assert seen[0]["encoder_hidden_states"].shape[1] == 16 + rows


def test_half_precision_on_the_model(tiny, picture, mask):
    model = DiffusionModel.load(tiny("sd3"), device="cpu", dtype=torch.bfloat16)
    editor = open_editor(parse_editor("sd3-inpaint"), model, inpaint=InpaintConfig(steps=2))
    assert edit(editor, picture, mask).isfinite().all() and model.pipe.vae.dtype == torch.float32


def test_edited_pictures_of_other_sizes_and_changes_elsewhere(picture, mask, tmp_path):
    big = torch.from_numpy(np.kron((1 - picture).numpy(), np.ones((3, 3, 1), np.float32)))
    save(big, tmp_path / "front.jpg")
    small = picture.clone()
    small[mask] = 0.5
    save(small, tmp_path / "back.png")
    editor = open_editor(EditorChoice("folder", str(tmp_path)), None)
    assert editor.views == ("back", "front")
    out = edit(editor, picture, mask)
    assert float((out - (1 - picture))[mask].abs().mean()) < 0.1 and torch.equal(out[28:], picture[28:])
    assert len(editor.notes) == 1 and "front.jpg" in editor.notes[0] and "put back" in editor.notes[0]
    editor.edit(picture, mask, None, "", "", None, 0, view="back")
    assert len(editor.notes) == 1  # nothing changed outside


def test_a_folder_s_mistakes_are_named(picture, mask, tmp_path):
    def refused(*words: str, view: str = "front") -> None:
        with pytest.raises(InputError) as found:
            editor = open_editor(parse_editor(f"folder:{tmp_path / 'edits'}"), None)
            editor.edit(picture, mask, None, "", "", None, 0, view=view)
        assert all(word in str(found.value) for word in words) and "\n" not in str(found.value), found.value

    edits = tmp_path / "edits"
    refused("edits", "no such folder", "edit views")
    edits.mkdir()
    refused("no pictures")
    save(torch.rand(20, 40, 3), edits / "front.png")
    refused("front.png", "40 x 20", "32 x 32")
    refused("back", "front", view="back")
    shutil.copy(edits / "front.png", edits / "front.webp")
    refused("second picture", "front")
    (edits / "front.webp").unlink()
    (edits / "front.png").write_bytes(b"no picture")
    refused("front.png")


def test_the_flag(tiny):
    assert parse_editor("slamp") == EditorChoice("slamp") and parse_editor("sd3-inpaint").needs_model
    assert parse_editor("diffusers:a/b") == EditorChoice("diffusers", "a/b")
    assert parse_editor("folder:C:/x") == EditorChoice("folder", "C:/x") and not parse_editor("folder:x").needs_model
    for wrong in ("", "slam", "folder:", "diffusers", "other:x"):
        with pytest.raises(InputError, match="folder:DIR"):
            parse_editor(wrong)
    with pytest.raises(InputError, match="--model"):
        open_editor(parse_editor("slamp"), None)
    with pytest.raises(InputError, match="diffusers:FOLDER"):
        open_editor(parse_editor("sd3-inpaint"), DiffusionModel.load(tiny("sd15"), device="cpu"))
    with pytest.raises(InputError, match=r"model_index\.json"):
        open_editor(parse_editor(f"diffusers:{tiny('sd3') / 'vae'}"), None)
    with pytest.raises(MissingPart, match="--allow-download"):
        open_editor(parse_editor("diffusers:nobody/nothing"), None)


def test_pipelines_that_fill_no_masks_are_refused(tmp_path):
    scheduler = diffusers().DDIMScheduler()
    net = diffusers().UNet2DModel(
        sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        norm_num_groups=2,
    )  # fmt: skip
    diffusers().DDIMPipeline(net, scheduler).save_pretrained(tmp_path / "faces")
    with pytest.raises(InputError) as found:
        open_editor(parse_editor(f"diffusers:{tmp_path / 'faces'}"), None)
    assert "faces" in str(found.value) and "\n" not in str(found.value)
