"""Captures of heads: readers of NeRSemble, GaussianAvatars and Gaussian-Head-Avatar folders, and synthetic ones."""

from .assemble import ReadOptions
from .read import check_codes, check_prior_folder, read_capture
from .types import Capture, SequenceInfo

__all__ = ["Capture", "ReadOptions", "SequenceInfo", "check_codes", "check_prior_folder", "read_capture"]
