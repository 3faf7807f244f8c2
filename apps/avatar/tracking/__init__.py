"""Codes and poses of a mesh prior, fitted to landmarks that several cameras see."""
