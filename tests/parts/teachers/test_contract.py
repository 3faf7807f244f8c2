"""Every teacher through one contract, with random tiny networks of the real classes; and the flag that names them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError, MissingPart
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers.base import PartTeacher, TeacherSetting
from gs_reg.parts.teachers.marks import parse_mark
from gs_reg.parts.teachers.parse import make_teacher

from .scene import PARTS, VIEWS, TwoParts

CLICKS = tuple(parse_mark(text) for text in ("head=000:24,15", "body=000:24,33"))
FLAGS = [
    "sd3",
    "clipseg",
    "sam2",
    "sam2:clicks",
    "sam3",
    "grounded",
    "masks:DIR",
    "gt:DIR",
    "clicks",
    "ensemble:gt:DIR+clicks",
]


@pytest.fixture(scope="session")
def files(scene: TwoParts, tmp_path_factory):
    """Both kinds of files: a mask for each view and part, and part ids."""
    folder = tmp_path_factory.mktemp("files")
    for c, view in enumerate(VIEWS):
        (folder / view).mkdir()
        ids = np.zeros(scene.maps.maps.shape[2:], np.uint8)
        for row, part in enumerate(PARTS):
            mask = scene.maps.maps[c, row].numpy() > 0
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / view / f"{part}.png")
            ids[mask] = row + 1
        Image.fromarray(ids).save(folder / f"{view}.png")
    return folder


@pytest.fixture
def setting(scene: TwoParts, networks, tiny) -> TeacherSetting:
    folders = tuple(networks(kind) for kind in ("clipseg", "sam2", "sam3", "grounding-dino"))

    def model() -> DiffusionModel:
        return DiffusionModel.load(tiny("sd3"), device="cpu")

    return TeacherSetting(VIEWS, scene.splats, CLICKS, model, folders)


@pytest.mark.parametrize("flag", FLAGS)
def test_every_teacher_keeps_the_contract(flag, scene: TwoParts, setting, files, monkeypatch):
    monkeypatch.setattr("gs_reg.parts.teachers.sam.LEAST_SCORE", 0.0)  # random networks are sure of nothing
    monkeypatch.setattr("gs_reg.parts.teachers.detector.LEAST_SCORE", 0.0)
    teacher = make_teacher(flag.replace("DIR", str(files)), setting)
    assert isinstance(teacher, PartTeacher)
    with pytest.raises(ValueError, match="prepare"):
        teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    teacher.prepare(PartPrompt("a mug", PARTS))
    made = teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    assert made.names == PARTS and made.maps.shape == (4, 2, 48, 48) and made.weights.shape == (4, 2)
    assert made.maps.dtype == made.weights.dtype == torch.float32
    assert made.maps.min() >= 0 and made.maps.max() <= 1 and made.maps.isfinite().all()
    assert made.weights.min() >= 0 and made.weights.max() <= 1 and made.weights.max() > 0
    assert (made.maps.flatten(2).std(-1) > 0).any()
    again = teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    assert torch.equal(again.maps, made.maps) and torch.equal(again.weights, made.weights)
    json.dumps(teacher.notes)
    teacher.close()


@pytest.mark.parametrize("name", ["sam3", "grounded"])
def test_a_view_in_which_nothing_is_found_says_nothing(name, scene: TwoParts, setting, monkeypatch):
    module = {"sam3": "sam", "grounded": "detector"}[name]
    monkeypatch.setattr(f"gs_reg.parts.teachers.{module}.LEAST_SCORE", 1.0)
    teacher = make_teacher(name, setting)
    teacher.prepare(PartPrompt("a mug", PARTS))
    made = teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    assert made.maps.max() < 0.51 and made.weights.max() == 0


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("sd4", "expected one of sd3.*did you mean 'sd3'"),
        ("masks", "expected one of .*masks:DIR"),
        ("clips", "did you mean 'clip"),
        ("ensemble:clicks", "at least 2"),
        ("sam2:nothing", "--teacher nothing"),
        ("", "expected one of"),
    ],
)
def test_wrong_flags_are_named(flag, words):
    with pytest.raises(InputError, match=words):
        make_teacher(flag, TeacherSetting())


@pytest.mark.parametrize("flag", ["sd3", "clipseg", "sam2", "sam3", "grounded", "ensemble:clicks+clipseg"])
def test_missing_weights_are_one_line_with_the_flag_that_gives_them(flag):
    with pytest.raises(MissingPart) as error:
        make_teacher(flag, TeacherSetting())
    assert "--model" in str(error.value) or "--teacher-model" in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_of_another_family_are_named(networks, tmp_path):
    with pytest.raises(MissingPart, match=r"folder of sam3 .*clipseg is clipseg"):
        make_teacher("sam3", TeacherSetting(folders=(networks("clipseg"),)))
    with pytest.raises(InputError, match=r"no config.json"):
        make_teacher("sam3", TeacherSetting(folders=(tmp_path,)))
    (tmp_path / "config.json").write_text('{"model_type": "sam3"}')
    with pytest.raises(MissingPart, match="no weights beside"):
        make_teacher("sam3", TeacherSetting(folders=(tmp_path,)))


def test_weights_that_lack_a_tensor_are_refused(networks, tmp_path):
    folder = shutil.copytree(networks("clipseg"), tmp_path / "clipseg")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("weight"))
    lacking = {key: value for key, value in tensors.items() if key != name}
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"1 tensors are missing, such as {name}"):
        make_teacher("clipseg", TeacherSetting(folders=(folder,)))


def test_a_class_that_transformers_lacks_is_named(networks, monkeypatch):
    import transformers

    class Older:
        __version__ = "4.0"

    monkeypatch.setattr("gs_reg.parts.teachers.networks.transformers", Older)
    with pytest.raises(MissingPart, match=r"transformers 4.0 has no Sam3Model: pip install"):
        make_teacher("sam3", TeacherSetting(folders=(networks("sam3"),)))
    assert hasattr(transformers, "Sam3Model")


@pytest.mark.parametrize("name", ["sd15", "flux"])
def test_pipelines_without_joint_attention_are_refused(name, tiny):
    def model() -> DiffusionModel:
        return DiffusionModel.load(tiny(name), device="cpu")

    with pytest.raises(InputError, match=r"teacher sd3: .*(UNet2D|Flux)"):
        make_teacher("sd3", TeacherSetting(model=model))
