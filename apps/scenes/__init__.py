"""Scenes from few photos: the commands reconstruct, eval and demo."""
