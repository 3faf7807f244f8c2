"""Checks of Python packages: OpenCV, which is required, and the optional ones."""

from __future__ import annotations

import importlib.util

from .check import Check, version_of

OPTIONAL = (
    ("gsplat", "gsplat", "draws on NVIDIA GPUs", "pip install 'gs-reg[gsplat]'"),
    ("diffusers", "diffusers", "part editing", "pip install diffusers"),
    ("transformers", "transformers", "depth networks, part editing", "pip install 'gs-reg[networks]'"),
    ("torchvision", "torchvision", "RAFT optical flow", "pip install 'gs-reg[networks]'"),
    ("OpenEXR", "OpenEXR", "depth maps in .exr", "pip install 'gs-reg[exr]'"),
    ("open3d", "open3d", "meshes", "pip install 'gs-reg[mesh]'"),
    ("nerfstudio", "nerfstudio", "its plugin", "pip install nerfstudio==1.1.5 in an environment of its own"),
    ("pytorch3d", "easypytorch3d", "faster neighbours", "pip install easypytorch3d"),
    ("zstandard", "zstandard", "SPZ version 4", "pip install zstandard"),
)
"""Module, name on PyPI, what it is needed for, how to get it."""


def check_optional_packages() -> list[Check]:
    return [_check_optional(*package) for package in OPTIONAL]


def check_opencv() -> Check:
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
    found = [f"{name} {version}" for name in names if (version := version_of(name))]
    if len(found) == 1:
        return Check("OpenCV", True, found[0], required=True)
    if not found:
        return Check("OpenCV", False, "not installed", "pip install opencv-python-headless", required=True)
    if len(found) == 2 and version_of("opencv-contrib-python") and version_of("mediapipe"):
        return Check("OpenCV", True, f"{', '.join(found)}, which mediapipe brings", required=True)
    installed = " ".join(entry.split()[0] for entry in found)
    fix = f"they write one folder: pip uninstall -y {installed}; pip install opencv-python-headless"
    return Check("OpenCV", False, f"{len(found)} at once: {', '.join(found)}", fix)


def _check_optional(module: str, package: str, purpose: str, fix: str) -> Check:
    """Whether a package is installed, without importing it, as some take seconds to import."""
    if importlib.util.find_spec(module) is None:
        return Check(module, True, f"not installed ({purpose})", fix, absent=True)
    return Check(module, True, version_of(package) or version_of(module) or "present")
