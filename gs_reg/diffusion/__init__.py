"""Text-to-image flow transformers of the SD3 family: schedule, attention maps of words, and a small one of our own.

The home of diffusers: nothing else in gs_reg imports it. Needs the extra `edit`.
"""
