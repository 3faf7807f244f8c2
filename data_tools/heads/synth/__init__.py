"""Synthetic multi-view captures of heads, with effects that no prior knows."""

from .config import Effects, Noise, Scan, SynthConfig
from .write import Progress, synthesize

__all__ = ["Effects", "Noise", "Progress", "Scan", "SynthConfig", "synthesize"]
