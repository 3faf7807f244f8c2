"""Masks and part ids from files: kinds of pictures, sizes, views that are missing, mistakes; and truth in 3D."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.errors import InputError
from gs_reg.parts.decision import decide
from gs_reg.parts.field import FieldConfig, fit_field
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers.base import TeacherSetting
from gs_reg.parts.teachers.files import MaskFiles, read_mask
from gs_reg.parts.teachers.truth import TruePartIds

from .scene import PARTS, TwoParts, two_parts

PROMPT = PartPrompt("a mug", ("pump head", "body"))
SETTING = TeacherSetting(("front", "left"))


def said(teacher, prompt=PROMPT, views=2, size=8):
    teacher.prepare(prompt)
    blank = torch.zeros(views, size, size, 3)
    return teacher.maps(blank, blank[..., 0], two_parts(views).cameras)


def save(path, pixels, mode=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255] + [9] * 759)
    image.save(path)


def test_masks_of_several_kinds_and_missing_views(tmp_path):
    half = np.zeros((8, 8), np.uint8)
    half[:, 4:] = 255
    save(tmp_path / "front" / "pump head.png", half)
    save(tmp_path / "left" / "pump_head.png", (half > 0).astype(np.uint8) * 2, mode="P")
    save(tmp_path / "left" / "body.png", (255 - half).astype(np.uint16) * 257)
    made = said(MaskFiles(tmp_path, SETTING))
    wanted = torch.from_numpy(half).float() / 255
    assert torch.equal(made.maps[0, 0], wanted) and torch.equal(made.maps[1, 0], wanted)
    assert torch.equal(made.maps[1, 1], 1 - wanted) and made.maps[0, 1].max() == 0
    assert made.weights.tolist() == [[1, 0], [1, 1]]


def test_masks_are_read_at_the_size_of_the_views(tmp_path):
    grey = np.full((16, 16), 51, np.uint8)
    grey[:, 8:] = 255
    save(tmp_path / "a.png", np.stack([grey] * 3, -1))
    mask = read_mask(tmp_path / "a.png", 8, 8)
    assert mask.shape == (8, 8) and float(mask[0, 0]) == pytest.approx(0.2) and float(mask[0, 7]) == 1
    with pytest.raises(InputError, match="expected the shape of the view, 8 x 4"):
        read_mask(tmp_path / "a.png", 8, 4)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png"):
        read_mask(tmp_path / "a.png", 8, 8)


def test_mask_folders_without_what_is_needed_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        MaskFiles(tmp_path / "nowhere", SETTING).prepare(PROMPT)
    with pytest.raises(InputError, match=r"for example front/pump head\.png"):
        MaskFiles(tmp_path, SETTING).prepare(PROMPT)
    save(tmp_path / "front" / "pump_head.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"no view has body.png; there are pump_head"):
        MaskFiles(tmp_path, SETTING).prepare(PROMPT)


def test_part_ids_by_the_prompt_s_order_or_by_a_list(tmp_path):
    ids = np.array([[0, 1], [2, 3]], np.uint8).repeat(4, 0).repeat(4, 1)
    for view in SETTING.views:
        save(tmp_path / f"{view}.png", ids)
    made = said(TruePartIds(tmp_path, SETTING))
    assert [made.maps[0, 0, 0, 7], made.maps[0, 1, 7, 0]] == [1, 1] and made.maps[0].sum() == 32
    (tmp_path / "parts.json").write_text(json.dumps(["lid", "body", "pump head"]))
    made = said(TruePartIds(tmp_path, SETTING))
    assert made.maps[1, 0, 7, 7] == 1 and made.maps[1, 1, 7, 0] == 1 and made.weights.min() == 1
    with pytest.raises(InputError, match=r"has no 'spout'; there are lid, body, pump head"):
        TruePartIds(tmp_path, SETTING).prepare(PartPrompt("x", ("spout",)))
    (tmp_path / "left.png").unlink()
    with pytest.raises(InputError, match=r"no left\.png"):
        TruePartIds(tmp_path, SETTING).prepare(PROMPT)


def test_true_ids_give_the_true_parts_in_3d(tmp_path):
    scene: TwoParts = two_parts(views=8)
    names = tuple(f"{c}" for c in range(8))
    for c, view in enumerate(names):
        ids = (scene.maps.maps[c] * torch.tensor([1, 2])[:, None, None]).sum(0)
        save(tmp_path / f"{view}.png", ids.byte().numpy())
    teacher = TruePartIds(tmp_path, TeacherSetting(names))
    teacher.prepare(PartPrompt("x", PARTS))
    maps = teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    field = fit_field(scene.splats, scene.cameras, maps, FieldConfig(solver="linear"))
    decision = decide(scene.splats, scene.cameras, field)
    ious = []
    for row, part in enumerate(PARTS):
        mine, its = decision.part(part), scene.parts[:, row]
        ious.append(float((mine & its).sum() / (mine | its).sum()))
    assert sum(ious) / 2 >= 0.95
