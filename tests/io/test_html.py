import math
import re

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.io.html import _initial_camera, save_html
from gs_reg.types import Cameras, Splats


def some(n=50) -> Splats:
    g = torch.Generator().manual_seed(0)
    means = torch.randn(n, 3, generator=g) * 0.1 + torch.tensor([1.0, 2, 6])
    return Splats(means, torch.randn(n, 4, generator=g), torch.full((n, 3), -3.0), torch.zeros(n), torch.zeros(n, 1, 3))


def test_one_page_that_asks_for_nothing(tmp_path, capsys):
    pytest.importorskip("viser")
    save_html(tmp_path / "a.html", some())
    page = (tmp_path / "a.html").read_text()
    assert "window.__VISER_EMBED_DATA__=" in page
    assert set(re.findall(r"https?://[\w./-]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r'(?:src|href)="(?!data:)[^"]*//', page)
    assert capsys.readouterr().out == ""
    save_html(tmp_path / "b.html", some(5000))
    assert 5000 * 12 < len((tmp_path / "b.html").read_text()) - len(page) < 5000 * 80


def test_it_opens_at_the_camera():
    K = torch.tensor([[[80.0, 0, 40], [0, 60, 30], [0, 0, 1]]])
    viewmats = torch.eye(4)[None].clone()
    viewmats[0, :3, 3] = torch.tensor([-1.0, -2, 0])
    position, target, fov = _initial_camera(some(), Cameras(viewmats, K, 80, 60))
    np.testing.assert_allclose(position, [1, 2, 0], atol=1e-6)
    np.testing.assert_allclose(target, [1, 2, 6], atol=0.1)
    assert fov == pytest.approx(2 * math.atan(0.5))
    position, target, _ = _initial_camera(some(), None)
    assert position[2] < target[2] and position[1] < target[1]  # in front, a little above (y is down)


def test_no_splats(tmp_path):
    with pytest.raises(InputError, match="no splats"):
        save_html(tmp_path / "a.html", some(0))
    assert list(tmp_path.iterdir()) == []
