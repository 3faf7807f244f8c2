"""From photos on disk to tensors.

`readers` know the formats, `photos` turns a file into working pixels, `dataset` puts both together; `depth` and `flow`
measure between the photos; `synthetic` draws scenes whose depth and flow are known.
"""
