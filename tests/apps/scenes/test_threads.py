"""A training gives the same bits with any number of threads."""

import os
import subprocess

import pytest

from gs_reg.data_tools.synthetic import Rig, box_and_sphere, write_transforms_json

from ..conftest import command


@pytest.fixture(scope="module")
def larger_photos(tmp_path_factory):
    """So large that torch shares a sum over their pixels among threads: 35,840, more than its grain of 32,768."""
    folder = tmp_path_factory.mktemp("larger")
    write_transforms_json(box_and_sphere(Rig(width=224, height=160, cameras=3, held_out=1, samples=1)), folder)
    return folder


def test_splats_are_the_same_bits_with_any_number_of_threads(larger_photos, tmp_path):
    words = ["reconstruct", larger_photos, "--preset", "ci", "--stop-after", "train", "--free.terms.smooth.weight", 0.4]
    written = []
    for threads in (1, 2, 3):
        run = tmp_path / str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            command(*words, "--out", run, "-q"), capture_output=True, text=True, timeout=240, env=environment
        )
        assert done.returncode == 0, done.stderr
        written.append((run / "splats.ply").read_bytes())
    assert written[0] == written[1] == written[2]
