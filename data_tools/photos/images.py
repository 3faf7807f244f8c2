"""Photos on disk: what their headers say, their pixels, their EXIF orientation."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy import ndarray

from gs_reg.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = object  # Pillow is imported where a photo is opened: without that, importing this module is quick

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".heif"})
ORIENTATION = 0x0112  # EXIF tag
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # of TIFF
WHITE_IS_0 = 0
FLOAT_SLACK = 1e-3
MOST_PIXELS = "179 million"  # where Pillow draws the line


@dataclass(frozen=True)
class Header:
    """What is known of a photo before its pixels are read."""

    width: int
    height: int
    """Size as stored."""
    orientation: int
    """EXIF, 1 = upright; 5 to 8 swap width and height."""
    alpha: bool

    def size(self, upright: bool) -> tuple[int, int]:
        """Width and height, after EXIF orientation if `upright`."""
        swap = upright and self.orientation >= 5
        return (self.height, self.width) if swap else (self.width, self.height)


def list_photos(folder: Path) -> tuple[Path, ...]:
    """Photos in a folder, sorted by name; hidden files are none."""
    if not folder.is_dir():
        return ()
    files = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file())
    return tuple(sorted(files, key=lambda p: p.name))


def read_header(path: Path) -> Header:
    """Size, orientation and alpha without decoding pixels.

    Raises:
        InputError: the file is missing or no picture.
    """
    with _quiet(), _opened(path) as image:
        alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        return Header(image.width, image.height, _orientation(image), alpha)


def read_pixels(path: Path, upright: bool, alpha: bool = False) -> UInt8[ndarray, "H W C"]:
    """RGB, or RGBA with `alpha`; EXIF orientation applied if `upright`.

    Raises:
        InputError: the file is missing, no picture, or broken off.
    """
    return _decode(path, upright, "RGBA" if alpha else "RGB")


def read_mask(path: Path, upright: bool) -> Float32[ndarray, "H W"]:
    """In [0, 1]; white = keep."""
    return _decode(path, upright, "L").astype(np.float32) / 255


def resize_area(image: Shaped[ndarray, "H W *C"], width: int, height: int) -> Shaped[ndarray, "h w *C"]:
    """Shrinks by averaging areas, which does not alias; the picture's corner stays at 0."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _orientation(image: PillowImage) -> int:
    from PIL import Image

    exif = Image.Image.getexif(image)  # PNG's own getexif would decode the pixels
    orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _decode(path: Path, upright: bool, mode: str) -> UInt8[ndarray, "H W *C"]:
    from PIL import Image

    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    with _quiet(), _opened(path, whole=True) as image:
        orientation = _orientation(image) if upright else 1
        try:
            decoded = _eight_bits(image, path)
            decoded.load()
            decoded = decoded if decoded.mode == mode else decoded.convert(mode)  # which copies
        except InputError:
            raise
        except MemoryError:
            raise InputError(f"{path}: {image.width}x{image.height} pixels do not fit into the memory") from None
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            raise InputError(f"{path}: broken picture ({error}): copy or export it again") from None
        return np.array(decoded if orientation == 1 else decoded.transpose(turn[orientation]))


def _eight_bits(image: PillowImage, path: Path) -> PillowImage:
    """Grey of more than 8 bits, by the format's own white: Pillow alone would cut at 255.

    Raises:
        InputError: 32 bits, of which nothing says what is white, or floats that are not from 0 to 1.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        grey = _from_float(np.asarray(image), path)
    else:
        bits = tags.get(BITS, (16,))[0]
        if bits > 16:
            raise InputError(f"{path}: {bits} bits a pixel, and nothing says which value is white: save 8 or 16 bits")
        signed = tags.get(SAMPLE_FORMAT, (1,))[0] == 2
        grey = (np.asarray(image).clip(0) >> (bits - 8 - signed)).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_0 else grey)


def _from_float(values: Float32[ndarray, "H W"], path: Path) -> UInt8[ndarray, "H W"]:
    """Floats have 1 for white, give or take rounding."""
    low, high = float(values.min()), float(values.max())
    if not (low > -FLOAT_SLACK and high < 1 + FLOAT_SLACK):  # also NaN
        raise InputError(f"{path}: floats from {low:g} to {high:g}: expected 0 (black) to 1 (white): save 8 or 16 bits")
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings, of odd tags and of large pictures: what is read is checked, and MOST_PIXELS holds."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _opened(path: Path, whole: bool = False) -> PillowImage:
    """The file opened, its pixels not yet decoded; `whole` where they will be.

    Then from memory: Pillow asks a file for as many bytes as a chunk says to have, which takes room for all of them.
    """
    from PIL import Image

    if path.suffix.lower() in (".heic", ".heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        return Image.open(io.BytesIO(path.read_bytes()) if whole else path)
    except FileNotFoundError:
        raise InputError(f"{path}: the file is missing: put it back, or leave the photo out") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: says to have more than {MOST_PIXELS} pixels: shrink or export it again") from None
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].removesuffix(f" {str(path)!r}")
        reason = reason.partition(" <_io.")[0]  # of a file that was read into memory
        raise InputError(f"{path}: not a picture that can be read ({reason}): copy or export it again") from None
