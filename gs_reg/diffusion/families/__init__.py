"""What differs between families of networks: how a prompt becomes rows of text, and one call of the network.

Chosen by the class of the network that model_index.json names, never by names or sizes of models.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import flux, sd3, unet
from .base import Family

FAMILIES: Mapping[str, Family] = {
    "SD3Transformer2DModel": sd3.SD3(),
    "UNet2DConditionModel": unet.UNet(),
    "FluxTransformer2DModel": flux.Flux(),
}
"""By class of the network."""
