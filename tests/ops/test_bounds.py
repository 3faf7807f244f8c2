"""The C interface itself: numbers out of their bounds are refused by name, and no memory is touched."""

import math

import pytest
import torch

from gs_reg import _library
from gs_reg._library import Projection, Rasterization
from gs_reg._ops.adam import AdamRows
from gs_reg._ops.bumps import Bumps
from gs_reg._ops.harmonics import Harmonics
from gs_reg._ops.laplacian import Graph
from gs_reg._ops.lift import Lifting
from gs_reg._ops.nearest import Neighbors
from gs_reg._ops.photometric import Photometry
from gs_reg._ops.rays import RayPoints
from gs_reg._ops.variation import Variation

BOTH = ("", "_vjp")
DRAWING = {"threads": 1, "width": 8, "height": 8, "channels": 3, "C": 1, "N": 5, "alpha_max": 0.9}
DRAWING_WRONG = [
    ("width", -1),
    ("height", -(2**31)),
    ("width", 2**31 - 1),
    ("channels", -1),
    ("C", -1),
    ("C", 2**40),
    ("N", -5),
    ("N", 2**31),
    ("threads", 0),
    ("threads", 10**6),
    ("alpha_min", math.nan),
    ("alpha_min", -0.5),
    ("alpha_max", 2.0),
    ("alpha_max", math.nan),
    ("transmittance_min", math.inf),
    ("transmittance_min", -1e-4),
]
PROJECTION = {"threads": 1, "width": 8, "height": 8, "C": 1, "N": 5}
HARMONICS = {"threads": 1, "degree": 1, "C": 1, "N": 5, "K": 4, "D": 3}
CASES = [
    *[
        ("gsr_project" + way, Projection, PROJECTION, *wrong)
        for way in BOTH
        for wrong in [
            ("width", -1),
            ("height", 2**30),
            ("C", -1),
            ("N", -1),
            ("threads", -1),
            ("eps2d", -0.3),
            ("eps2d", math.nan),
            ("eps2d", 1e30),
            ("alpha_min", math.nan),
            ("alpha_min", 1.5),
            ("radius_clip", -1.0),
            ("radius_clip", math.nan),
            ("near_plane", math.nan),
            ("far_plane", math.nan),
        ]
    ],
    *[
        ("gsr_rasterize" + way, Rasterization, DRAWING, *wrong)
        for way in BOTH
        for wrong in [
            *DRAWING_WRONG,
            ("visible", -1),
            ("intersections", 2**40),
        ]
    ],
    *[("gsr_lift", Lifting, DRAWING, *wrong) for wrong in DRAWING_WRONG],
    *[
        ("gsr_sh" + way, Harmonics, HARMONICS, *wrong)
        for way in BOTH
        for wrong in [
            ("degree", -1),
            ("degree", 5),
            ("degree", 2**31 - 1),
            ("degree", 2),
            ("K", 3),
            ("K", 0),
            ("D", -1),
            ("C", -2),
            ("N", -1),
            ("threads", 0),
        ]
    ],
    *[
        ("gsr_nearest", Neighbors, {"threads": 1, "N": 5, "M": 5, "k": 2}, *wrong)
        for wrong in [
            ("k", -1),
            ("k", 65),
            ("k", 5),
            ("N", -1),
            ("M", -1),
            ("M", 6),
            ("N", 2**33),
            ("threads", 0),
        ]
    ],
    *[
        (
            "gsr_photometric" + way,
            Photometry,
            {"threads": 1, "width": 8, "height": 8, "channels": 3, "C": 1, "stride": 3},
            *wrong,
        )
        for way in BOTH
        for wrong in [
            ("width", -8),
            ("height", -1),
            ("channels", -3),
            ("C", -1),
            ("stride", 2),
            ("stride", -3),
            ("threads", 0),
        ]
    ],
    *[
        ("gsr_along_rays" + way, RayPoints, {"threads": 1, "N": 5}, *wrong)
        for way in BOTH
        for wrong in [("N", -1), ("threads", 0)]
    ],
    *[("gsr_laplacian", Graph, {"threads": 1, "N": 5, "F": 3}, *wrong) for wrong in [("N", -1), ("F", -3)]],
    *[
        (
            "gsr_total_variation" + way,
            Variation,
            {"threads": 1, "width": 8, "height": 8, "C": 1, "edge": 0.1, "guide": 1},
            *wrong,
        )
        for way in BOTH
        for wrong in [
            ("width", -1),
            ("height", -1),
            ("C", -1),
            ("edge", 0.0),
            ("edge", -1.0),
            ("edge", math.nan),
        ]
    ],
    *[
        ("gsr_bumps_at" + way, Bumps, {"threads": 1, "N": 5, "M": 4, "L": 2, "O": 3, "faint": 14.0}, *wrong)
        for way in BOTH
        for wrong in [
            ("N", -1),
            ("M", -1),
            ("M", 2**31),
            ("L", -1),
            ("O", -3),
            ("O", 2**40),
            ("faint", -1.0),
            ("faint", math.nan),
            ("threads", 0),
        ]
    ],
    *[("gsr_adam", AdamRows, {"threads": 1, "N": 5, "width": 3}, *wrong) for wrong in [("N", -1), ("width", -1)]],
]
NAMES = {
    "near_plane": "near",
    "far_plane": "far",
    "K": "degree",
    "visible": "most_visible",
    "intersections": "most_intersections",
}


def refused(library, function, kind, right, name, value):
    """All pointers are null: what touched memory would not come back."""
    with pytest.raises(ValueError, match=rf"^{function}: (?:{NAMES.get(name, name)}|k|C|N|M): expected"):
        _library.checked(library, function, kind(**{**right, name: value}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, (case[0], *case[3:]))))
def test_the_cpu_library_refuses_by_name(isa, case):
    refused(_library.cpu_library(), *case)


@pytest.mark.parametrize("shape", [(0, 5, 4), (1, 0, 4), (2, 5, 0), (2, 0, 0)])
def test_maps_without_pixels(isa, shape):
    from gs_reg import _ops

    maps = torch.zeros(shape, requires_grad=True)
    sums = _ops.variation(maps, torch.ones(shape, dtype=torch.bool), None, None, 0.1)
    assert not sums.any()
    sums.sum().backward()
    assert maps.grad is not None and maps.grad.shape == shape


def test_shapes_that_do_not_fit_are_refused_by_adam():
    from gs_reg import _ops

    values, settings = torch.zeros(4, 3), {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8}
    for name, given in {
        "gradients": (torch.zeros(3, 3), values.clone(), values.clone()),
        "exp_avg": (values, torch.zeros(4), values.clone()),
        "exp_avg_sq": (values, values.clone(), torch.zeros(4, 2)),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: expected \\[4, 3\\]"):
            _ops.adam(values, *given, **settings)
    with pytest.raises(ValueError, match=r"visible: expected \[4\], got \[2\]"):
        _ops.adam(values, values, values.clone(), values.clone(), visible=torch.ones(2, dtype=torch.bool), **settings)


def test_colours_of_one_memory_place_are_read_as_a_picture():
    """A colour that was expanded to an image has the stride 0 from pixel to pixel."""
    from gs_reg import _ops

    image, photo = torch.tensor([0.1, 0.2, 0.3]).expand(1, 12, 13, 3), torch.rand(1, 12, 13, 3)
    got, want = _ops.photometric(image, photo, None, False), _ops.photometric(image.contiguous(), photo, None, False)
    assert all(torch.equal(a, b) for a, b in zip(got[:3], want[:3], strict=True))
