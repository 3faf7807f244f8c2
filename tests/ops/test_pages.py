"""Memory of large results: kept from step to step, never shared by two tensors that live at once."""

import gc

import torch

from gs_reg._ops._pages import LEAST, PAGES, PATIENCE, Pages, empty
from gs_reg.render import RenderConfig, render
from tests.render.scenes import random_scene


def test_memory_is_reused_only_when_no_tensor_has_it():
    pages = Pages()
    first = pages.take(LEAST)
    place, view = first.data_ptr(), first.view(torch.float32)[7:]
    del first
    other = pages.take(LEAST)
    assert other.data_ptr() != place and len(pages.blocks) == 2
    del view
    assert pages.take(LEAST).data_ptr() == place


def test_blocks_that_serve_nobody_go():
    pages = Pages()
    pages.take(16 * LEAST)
    for _ in range(PATIENCE + 2):
        pages.take(LEAST)
    pages.take(64 * LEAST)
    assert sorted(len(block) // LEAST for block in pages.blocks) == [1, 72]


def test_shapes_and_types():
    like = torch.zeros(3)
    large = empty(like, 512, 1024, dtype=torch.int32)
    assert large.shape == (512, 1024) and large.dtype == torch.int32 and large.is_contiguous()
    assert empty(like, 2, 3).shape == (2, 3) and empty(like.double(), 0).dtype == torch.float64
    for shape in ((), (0,), (3, 0, 2), (2, 1, 5)):
        assert empty(like, *shape).stride() == torch.empty(shape).stride()
    for fake in (like.to("meta"), torch.nn.Parameter(like)):
        assert empty(fake, 2).device == fake.device and not empty(fake, 2).requires_grad


def test_a_training_step_leaves_nothing_behind():
    splats, cameras = random_scene(count=20_000)
    splats.means.requires_grad_()

    def blocks_after(steps: int) -> int:
        for _ in range(steps):
            render(splats, cameras, RenderConfig(backend="native")).colors.sum().backward()
            splats.means.grad = None
        return len(PAGES.blocks)

    gc.collect()
    gc.disable()
    try:
        assert blocks_after(2) == blocks_after(3) > 0
    finally:
        gc.enable()
