"""The CUDA library's C interface refuses the same numbers as the CPU's: the lines are shared."""

import pytest

from ..ops.test_bounds import CASES, refused


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, (case[0], *case[3:]))))
def test_the_cuda_library_refuses_by_name(emulated_library, case):
    refused(emulated_library, *case)
