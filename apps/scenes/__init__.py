"""Scenes from few photos: reconstruct and what belongs to it."""
