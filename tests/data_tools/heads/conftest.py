"""A tiny synthetic capture of the anny head, drawn once."""

from pathlib import Path

import pytest

from gs_reg.data_tools.heads.synth import SynthConfig, synthesize

TINY = SynthConfig.preset("tiny")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "tiny"
    steps = list(synthesize(TINY, folder))
    assert steps[-1].done == steps[-1].total == len(TINY.sequences) * TINY.frames * len(TINY.serials)
    return folder
