"""Folders of photos, before anything is trained."""
