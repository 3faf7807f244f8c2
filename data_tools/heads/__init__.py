"""Captures of heads: readers of NeRSemble, GaussianAvatars and Gaussian-Head-Avatar folders, and synthetic ones."""

from .types import Capture, SequenceInfo

__all__ = ["Capture", "SequenceInfo"]
