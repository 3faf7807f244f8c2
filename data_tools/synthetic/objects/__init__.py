"""Procedural objects with named parts: a random shape of a family, its pictures in any colours, its Gaussians."""
