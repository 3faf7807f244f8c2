"""The CUDA kernels as a library for the CPU: the same sources, on the warp emulator of cuda/emu."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from gs_reg import _library

ROOT = Path(__file__).parents[2]
LIBRARY = "build/emu/libgsr_emulated.so"


@pytest.fixture(scope="session")
def emulated_library() -> ctypes.CDLL:
    if not shutil.which("make") or not shutil.which("c++"):
        pytest.skip("emulated CUDA kernels: need make and c++")
    done = subprocess.run(["make", "-s", "-j2", LIBRARY], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return _library._open(ROOT / LIBRARY)


@pytest.fixture
def emulated(emulated_library):
    """Inside `with emulated():` native operators on CPU tensors run the CUDA kernels, lanes in their own order or in a
    random one."""

    class Emulated:
        def __init__(self, seed: int = 0):
            self.seed = seed

        def __enter__(self):
            emulated_library.gsr_emu_shuffle(self.seed)
            self.patch = pytest.MonkeyPatch()
            self.patch.setattr(_library, "library", lambda device: emulated_library)

        def __exit__(self, *_):
            self.patch.undo()

    return Emulated
