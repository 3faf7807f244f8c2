"""Every native operator is tested on each instruction set that this processor runs."""

import pytest

from gs_reg import _library

RUNNABLE = _library.ISAS[_library.ISAS.index(_library.cpu_library().gsr_best_isa().decode()) :]


@pytest.fixture(params=RUNNABLE)
def isa(request, monkeypatch):
    monkeypatch.setenv("GS_REG_ISA", request.param)
    _library.cpu_library.cache_clear()
    yield request.param
    _library.cpu_library.cache_clear()
