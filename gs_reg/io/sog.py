"""SOG (PlayCanvas): a zip of lossless WebP pictures, a pixel a splat, with codebooks in meta.json."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.io.palette import codebook, palette
from gs_reg.io.ply import finite_rows
from gs_reg.io.quantised import check_and_clean, unit_quats, warn_of_rounding
from gs_reg.io.tags import RenderMode, Tags, three_numbers
from gs_reg.neighbors import morton_order
from gs_reg.types import Splats

if TYPE_CHECKING:
    from PIL import Image

MODELS: dict[str, RenderMode] = {"antialiased": "mip", "2dgs": "2dgs"}
"""Names in SOG of our render modes."""
FEW_SPLATS = 1 << 17
"""More splats than these need a byte of the file each: a count beyond is broken."""
MAX_META = 1 << 22
MAX_PALETTE = 1 << 16
OPACITY_EDGE = 1e-6
_COEFFS = {1: 3, 2: 8, 3: 15}
_KEPT = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""Of w, x, y, z, those that are stored where the first, second ... is the largest."""


def _open(path: Path) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    """The archive and its meta.json; raises InputError."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: expected a SOG file (a zip with meta.json): truncated, or something else")
    archive = zipfile.ZipFile(path)
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    if sizes.get("meta.json", MAX_META + 1) > MAX_META or sum(sizes.values()) > 8 * path.stat().st_size + MAX_META:
        raise InputError(f"{path}: no SOG file: no meta.json of sensible size, or pictures that unpack to far more")
    meta = json.loads(archive.read("meta.json"))
    if not isinstance(meta, dict) or meta.get("version", 1) not in (1, 2):
        raise InputError(f"{path}: expected SOG of version 1 or 2 in meta.json")
    return archive, meta


def read_sog_tags(path: Path) -> Tags:
    """Offset and render mode in meta.json; raises InputError."""
    with reading(path):
        archive, meta = _open(path)
        archive.close()
        asset = meta.get("asset")
        offset = asset.get("offset") if isinstance(asset, dict) else None
        return Tags(None if offset is None else three_numbers(offset), MODELS.get(str(meta.get("model")), "default"))


def _webp(archive: zipfile.ZipFile, name: str) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(archive.read(name)), formats=["WEBP"])


def _pixels(archive: zipfile.ZipFile, name: str, least: int, most: int) -> np.ndarray:
    """The first `least` pixels of a picture as rows of RGBA; refuses one of more than `most` before it unpacks it."""
    with _webp(archive, name) as image:
        width, height = image.size
        if not least <= width * height <= most:
            raise ValueError(f"{name}: expected {least} to {most} pixels, got {width} x {height}")
        return np.asarray(image.convert("RGBA")).reshape(-1, 4)[:least]


def _decoded(entry: Mapping[str, Any], pixels: np.ndarray) -> np.ndarray:
    """Numbers for bytes: by the codebook of version 2, or between the ends of version 1."""
    if "codebook" not in entry:
        low, high = (np.asarray(entry[end], np.float64) for end in ("mins", "maxs"))
        return low + pixels / 255.0 * (high - low)
    # a writer has null for an infinity: the first is a size of 0
    book = [x if x is not None else -np.inf if i == 0 else np.nan for i, x in enumerate(entry["codebook"])]
    return np.array((book + [np.nan] * 256)[:256], np.float64)[pixels]


def _quats(pixels: np.ndarray) -> np.ndarray:
    largest = pixels[:, 3].astype(int) - 252
    known = largest >= 0
    kept = (pixels[:, :3] / 255.0 * 2 - 1) / math.sqrt(2)
    quats = np.zeros((len(pixels), 4))
    rows = np.arange(len(pixels))
    np.put_along_axis(quats, _KEPT[np.where(known, largest, 0)], kept, axis=1)
    quats[rows, np.where(known, largest, 0)] = np.sqrt(np.maximum(0, 1 - np.square(kept).sum(1)))
    quats[~known] = [1, 0, 0, 0]
    return quats


def _harmonics(archive: zipfile.ZipFile, meta: Mapping[str, Any], count: int, most: int) -> np.ndarray:
    """Coefficients [count, K - 1, 3]; none where the file has none."""
    if "shN" not in meta or meta["shN"].get("bands", 1) == 0:
        return np.zeros((count, 0, 3))
    entry = meta["shN"]
    with _webp(archive, entry["files"][0]) as image:
        width, height = image.size
    coeffs = _COEFFS[entry["bands"]] if "bands" in entry else width // 64
    if coeffs not in _COEFFS.values() or width != 64 * coeffs or not 0 < height <= MAX_PALETTE // 64:
        raise ValueError(f"{entry['files'][0]}: expected 64 entries a row of degree 1 to 3, got {width} x {height}")
    centers = _pixels(archive, entry["files"][0], width * height, width * height)
    labels = _pixels(archive, entry["files"][1], count, most)
    label = labels[:, 0].astype(int) | labels[:, 1].astype(int) << 8
    if label.max(initial=0) >= height * 64:
        raise ValueError(f"{entry['files'][1]}: names entry {label.max()} of a palette of {height * 64}")
    return _decoded(entry, centers.reshape(height * 64, coeffs, 4)[label][..., :3])


def load_sog(path: str | Path) -> Splats:
    """Splats of a SOG bundle, version 2 or the older 1.

    Raises:
        InputError: broken or truncated, or pictures that are not of the size that meta.json promises.
    """
    path = Path(path)
    with reading(path):
        archive, meta = _open(path)
        with archive:
            count = meta["count"] if "count" in meta else meta["means"]["shape"][0]
            if not isinstance(count, int) or not 0 < count <= max(FEW_SPLATS, path.stat().st_size):
                raise InputError(f"{path}: truncated or broken: this file cannot hold {str(count)[:20]} splats")
            most = 2 * count + (1 << 16)

            def pixels(key: str, file: int = 0) -> np.ndarray:
                return _pixels(archive, meta[key]["files"][file], count, most)

            low, high = (np.asarray(meta["means"][end], np.float64).reshape(3) for end in ("mins", "maxs"))
            steps = pixels("means", 0)[:, :3].astype(int) | pixels("means", 1)[:, :3].astype(int) << 8
            logs = low + steps / 65535.0 * (high - low)
            color = pixels("sh0")
            with np.errstate(over="ignore", invalid="ignore"):
                means = np.sign(logs) * np.expm1(np.abs(logs))
                scales = _decoded(meta["scales"], pixels("scales")[:, :3])
                quats = _quats(pixels("quats"))
                if "codebook" in meta["sh0"]:
                    dc = _decoded(meta["sh0"], color[:, :3])
                    alpha = np.clip(color[:, 3] / 255.0, OPACITY_EDGE, 1 - OPACITY_EDGE)
                    logits = np.log(alpha / (1 - alpha))
                else:
                    dc, logits = np.split(_decoded(meta["sh0"], color), [3], axis=1)
                rest = _harmonics(archive, meta, count, most)
                sh = np.concatenate([dc[:, None], rest], 1)
                columns = (means, quats, scales, logits.reshape(-1), sh)
                xyz, turns, sizes, opacities, colors = (torch.from_numpy(x.astype(np.float32)) for x in columns)
    return finite_rows(Splats(xyz, turns, sizes, opacities, colors), path)


def _picture(rows: np.ndarray, width: int, height: int) -> bytes:
    """Lossless WebP of rows of RGB or RGBA."""
    from PIL import Image

    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(rows), : rows.shape[1]] = rows
    out = io.BytesIO()
    # exact: else colours under an opacity of 0 are thrown away
    Image.fromarray(pixels.reshape(height, width, 4)).save(out, "WEBP", lossless=True, exact=True, quality=60, method=4)
    return out.getvalue()


def _packed_quats(quats: Float[Tensor, "N 4"]) -> np.ndarray:
    q = unit_quats(quats).double().numpy()
    largest, rows = np.abs(q).argmax(1), np.arange(len(q))
    q = q * np.where(q[rows, largest] < 0, -1, 1)[:, None]
    kept = np.take_along_axis(q, _KEPT[largest], axis=1)
    packed = np.clip(np.rint((kept * math.sqrt(2) * 0.5 + 0.5) * 255), 0, 255)
    return np.concatenate([packed, largest[:, None] + 252], axis=1).astype(np.uint8)


def save_sog(
    path: str | Path, splats: Splats, render_mode: str = "default", offset: Sequence[float] | None = None
) -> None:
    """Writes SOG version 2: rows along a Morton curve, positions in 16 bits of log(1 + |x|), opacities in 8 bits; sizes
    and colours in codebooks of 256 numbers, SH of higher degrees in a palette of at most 65,536 rows.

    `offset` is noted in meta.json: what was subtracted from the positions.

    Raises:
        InputError: no splats, a degree above 3, or more splats than a picture of 16,383 x 16,383 has pixels.
    """
    path = Path(path)
    splats = check_and_clean(path, splats)
    splats = splats.rows(morton_order(splats.means))
    n = len(splats)
    width = math.ceil(math.sqrt(n) / 4) * 4
    height = math.ceil(n / width / 4) * 4
    if max(width, height) > 16383:
        raise InputError(f"{path}: SOG holds up to 268 million splats, got {n}")
    logs = splats.means.double().sign() * splats.means.double().abs().log1p()
    low, high = logs.amin(0), logs.amax(0)
    steps = ((logs - low) / (high - low).clamp_min(1e-30) * 65535).round().clamp(0, 65535).long()
    back = low.float() + steps / 65535 * (high.float() - low.float())
    warn_of_rounding(path, splats.means, back.sign() * back.abs().expm1(), "SOG")
    sizes, size_labels = codebook(splats.log_scales.flatten())
    colors, color_labels = codebook(splats.sh[:, 0].flatten())
    alpha = (splats.opacities * 255).round().byte()
    pictures = {
        "means_l.webp": _picture((steps & 255).byte().numpy(), width, height),
        "means_u.webp": _picture((steps >> 8).byte().numpy(), width, height),
        "quats.webp": _picture(_packed_quats(splats.quats), width, height),
        "scales.webp": _picture(size_labels.reshape(n, 3).numpy(), width, height),
        "sh0.webp": _picture(torch.cat([color_labels.reshape(n, 3), alpha[:, None]], 1).numpy(), width, height),
    }
    asset: dict[str, Any] = {"generator": "gs-reg"} | ({} if offset is None else {"offset": list(map(float, offset))})
    meta: dict[str, Any] = {"version": 2, "asset": asset, "count": n}
    if render_mode != "default":
        meta["model"] = {mode: model for model, mode in MODELS.items()}[render_mode]
    meta["means"] = {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]}
    meta["scales"] = {"codebook": sizes.tolist(), "files": ["scales.webp"]}
    meta["quats"] = {"files": ["quats.webp"]}
    meta["sh0"] = {"codebook": colors.tolist(), "files": ["sh0.webp"]}
    if splats.sh_degree > 0:
        meta["shN"] = _add_harmonics(pictures, splats, width, height)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in {"meta.json": json.dumps(meta).encode(), **pictures}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a date of its own would change the bytes of equal splats


def _add_harmonics(pictures: dict[str, bytes], splats: Splats, width: int, height: int) -> dict[str, Any]:
    """Adds palette and labels to the pictures; the entry of meta.json."""
    n, coeffs = len(splats), splats.sh.shape[1] - 1
    centers, labels = palette(splats.sh[:, 1:].flatten(1), palette_size(n))
    book, indices = codebook(centers.flatten())
    rows = indices.reshape(-1, 3).numpy()
    pictures["shN_centroids.webp"] = _picture(rows, 64 * coeffs, math.ceil(len(centers) / 64))
    pictures["shN_labels.webp"] = _picture(torch.stack([labels & 255, labels >> 8], 1).byte().numpy(), width, height)
    files = ["shN_centroids.webp", "shN_labels.webp"]
    return {"count": len(centers), "bands": splats.sh_degree, "codebook": book.tolist(), "files": files}


def palette_size(count: int) -> int:
    """Entries for so many splats: each its own up to 1024, then the power of 2 below, as other writers have it."""
    return count if count <= 1024 else min(MAX_PALETTE, 1 << (count.bit_length() - 1))
