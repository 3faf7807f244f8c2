"""Writes that fail name the file that was asked for, never a temporary one, and leave nothing behind."""

import os
import sys

import pytest

from gs_reg.io.atomic import atomic_folder, atomic_path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc takes no files, also of root")
def test_a_folder_that_takes_no_files():
    with pytest.raises(OSError) as caught, atomic_path("/proc/scene.ply") as temporary:
        temporary.write_bytes(b"x")
    assert caught.value.filename == "/proc/scene.ply"
    with pytest.raises(OSError) as caught, atomic_folder("/proc/run"):
        pass
    assert caught.value.filename == "/proc/run"


def test_what_the_block_raises_of_another_file_stays(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "a.ply"):
        (tmp_path / "b.ply").read_bytes()
    assert caught.value.filename == str(tmp_path / "b.ply") and not list(tmp_path.iterdir())


def test_files_that_their_writer_made_for_the_owner_alone_are_as_others(tmp_path):
    other = tmp_path / "other"
    other.touch()
    with atomic_path(tmp_path / "a.ply") as temporary, atomic_folder(tmp_path / "run") as folder:
        for path in (temporary, folder / "b.ply"):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    assert {path.stat().st_mode for path in (tmp_path / "a.ply", tmp_path / "run" / "b.ply")} == {other.stat().st_mode}
