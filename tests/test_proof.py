"""Our CUDA kernels are taken by themselves only where this very library was proven on this very card."""

import json

import pytest

from gs_reg import _ops, _proof
from gs_reg.render import RenderConfig, _backend, _backend_name, gsplat, native, reference


@pytest.fixture
def library(tmp_path, monkeypatch):
    path = tmp_path / "libgsr_cuda.so"
    path.write_bytes(b"kernels")
    monkeypatch.setattr(_proof, "CUDA_LIBRARY", path)
    monkeypatch.setattr(_proof, "RECORD", path.with_suffix(".proof.json"))
    _proof.doubt.cache_clear()
    yield path
    _proof.doubt.cache_clear()


def test_a_record_speaks_for_one_library_on_one_card(library):
    assert "not proven" in _proof.doubt("H100")
    _proof.record("H100", [])
    assert _proof.doubt("H100") is None
    assert "checked on H100, and this is A100" in _proof.doubt("A100")
    library.write_bytes(b"other kernels")
    _proof.doubt.cache_clear()
    assert "built again" in _proof.doubt("H100")
    _proof.record("H100", ["B: forward + backward 2.1 of gsplat, 3 needed"])
    assert "did not pass the check: B: forward" in _proof.doubt("H100")
    assert json.loads(_proof.RECORD.read_text())["gpu"] == "H100"
    library.unlink()
    _proof.doubt.cache_clear()
    assert "not built" in _proof.doubt("H100")


def test_auto_takes_what_is_proven(monkeypatch):
    import torch

    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(_proof, "doubt_here", lambda: "never run")
    assert _backend_name(RenderConfig(), cpu) == "native"
    assert _backend_name(RenderConfig(), cuda) == "gsplat"
    assert _backend_name(RenderConfig(backend="native"), cuda) == "native"
    on_gpu = torch.empty(3, device="meta")  # any device that is not the CPU
    assert not _ops.is_native(on_gpu)
    monkeypatch.setattr(_proof, "doubt_here", lambda: None)
    assert _backend_name(RenderConfig(), cuda) == "native"
    assert _backend_name(RenderConfig(backend="gsplat"), cuda) == "gsplat"
    for name, module in {"native": native, "gsplat": gsplat, "reference": reference}.items():
        assert _backend(RenderConfig(backend=name)) is module
