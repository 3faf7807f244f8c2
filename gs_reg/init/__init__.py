"""Initialisation: random Gaussians, and Gaussians for regions that no photo shows."""
