"""Stored reference images: a change of meaning shows here even when reference and kernels change together."""

import numpy as np
import pytest
import torch

from .golden import FILE, SCENES, draw


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("backend", ["reference", "native"])
def test_golden(name, backend):
    expected = torch.from_numpy(np.load(FILE)[name])
    assert expected.abs().sum() > 0
    image = draw(SCENES[name], backend, torch.float64)
    torch.testing.assert_close(image.float(), expected, rtol=2e-6, atol=2e-6)
