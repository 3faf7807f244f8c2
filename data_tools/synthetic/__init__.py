"""Synthetic scenes with exact depth, flow, masks and cameras."""
