"""Plain photos: cameras by structure from motion (pycolmap on the CPU), kept in a cache beside the photos.

Few photos rarely reach COLMAP's usual thresholds, so up to four attempts are made, each more lenient than the last.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy import ndarray

from gs_reg.errors import InputError

from ..photos import look
from ..photos.images import list_photos, read_header, read_pixels
from . import colmap
from .folders import images_folder
from .types import Source

if TYPE_CHECKING:
    from PIL.Image import Exif
    from pycolmap import Reconstruction
else:
    Exif = Reconstruction = object  # imported where they are used: without that, importing this module is quick

NATIVE = frozenset({".jpg", ".jpeg", ".png"})
"""What COLMAP reads as it is; the rest is converted."""
EXIF_DETAILS = 0x8769
EXIF_CAMERA = (0x010F, 0x0110)
"""Make and model, by which COLMAP knows the sensor's width."""
EXIF_FOCAL = (0x920A, 0xA405, 0xA20E, 0xA20F, 0xA210, 0xA002, 0xA003)
"""Focal length, that for 35 mm film, the focal plane's resolution and unit, and the size it is for."""


@dataclass(frozen=True)
class Attempt:
    """Thresholds of one try; each is more lenient than the one before."""

    wide: bool
    """SIFT of twisted patches, pooled over sizes (3 times slower): 2 to 3 times the matches between far-off places."""
    matches: int
    """Matches that make a pair."""
    init_inliers: int
    init_angle: float
    """Degrees between the rays of the first pair."""
    pose_inliers: int
    pairs_count: bool = False
    """Points seen by only two photos count too."""
    whole: bool = False
    """All cameras at once (global mapping) in place of one after another."""


ATTEMPTS = (
    Attempt(wide=False, matches=15, init_inliers=100, init_angle=16.0, pose_inliers=30),
    Attempt(wide=False, matches=15, init_inliers=40, init_angle=4.0, pose_inliers=20, pairs_count=True),
    Attempt(wide=True, matches=12, init_inliers=25, init_angle=2.0, pose_inliers=12, pairs_count=True),
    Attempt(wide=True, matches=12, init_inliers=25, init_angle=2.0, pose_inliers=12, whole=True),
)
WARNINGS = "warnings.json"
ENOUGH = 0.9
"""Share of the photos that ends the attempts; of nine and fewer, all must be placed."""


def read(root: Path, images: Path | None, cache_dir: Path | None) -> Source:
    """Poses the photos in root (or its folder images), or takes what an earlier call kept.

    Raises:
        InputError: fewer than 2 photos, or fewer than 2 that could be placed.
    """
    default = root if list_photos(root) else root / "images"
    folder = images_folder(root, images, (default,))
    photos = list_photos(folder)
    if len(photos) < 2:
        raise InputError(f"{folder}: {len(photos)} photo: one photo has no parallax, at least 2 are needed")
    model = pose_photos(photos, _cache(folder, cache_dir))
    import pycolmap

    reconstruction = pycolmap.Reconstruction(model)
    source = colmap.from_reconstruction(reconstruction, folder, folder)
    frames = tuple(replace(frame, upright=True) for frame in source.frames)
    skipped = tuple((name, "could not be placed: too few matches with the others") for name, _ in source.skipped)
    note = f"cameras of {len(frames)} of {len(photos)} photos by pycolmap, kept in {model}"
    return replace(
        source,
        kind="photos",
        frames=frames,
        skipped=skipped,
        notes=(note, *_quality(reconstruction), *_warnings(model)),
    )


def _quality(model: Reconstruction) -> tuple[str, str]:
    """A line each for the reprojection error and the focal lengths."""
    error, count = model.compute_mean_reprojection_error(), model.num_points3D()
    used = Counter(image.camera_id for image in model.images.values() if image.has_pose)
    focals = ", ".join(
        f"{camera.mean_focal_length():.0f} px for {times} photos of {camera.width}x{camera.height}"
        for camera, times in ((model.cameras[key], times) for key, times in sorted(used.items()))
    )
    return f"reprojection error {error:.2f} px, mean over {count} points", f"focal lengths: {focals}"


def _warnings(model: Path) -> tuple[str, ...]:
    """What the look at the photos found when they were posed; it is kept, as it opens every photo."""
    kept = _kept(model / WARNINGS)
    return tuple(f"warning: {line}" for line in kept) if isinstance(kept, list) else ()


def pose_photos(photos: Sequence[Path], cache: Path) -> Path:
    """Folder of the COLMAP model of these photos, named as the files are; computed unless names, sizes and times agree.

    Raises:
        InputError: fewer than 2 photos could be placed.
    """
    key_file = cache / "photos.json"
    key = {p.name: [p.stat().st_size, p.stat().st_mtime_ns] for p in photos}
    if colmap.find_model(cache) == cache and _kept(key_file) == key:
        return cache
    with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as work:
        names, thumbnails = _upright_copies(photos, Path(work) / "images")
        warnings = look.warnings(photos, thumbnails)
        best = _best_model(names, Path(work))
        if best is None or best.num_reg_images() < 2:
            placed = 0 if best is None else best.num_reg_images()
            raise InputError(
                f"{photos[0].parent}: only {placed} of {len(photos)} photos could be placed: take sharp photos that "
                "overlap by two thirds, from different places, of something with texture; or give cameras (COLMAP, "
                "LLFF, transforms.json)" + "".join(f"; {line}" for line in warnings[:3])
            )
        for image in best.images.values():
            image.name = names[image.name].name
        key_file.unlink(missing_ok=True)
        best.write_binary(str(cache))
    (cache / WARNINGS).write_text(json.dumps(warnings))
    key_file.write_text(json.dumps(key))
    return cache


def _kept(key_file: Path) -> object:
    """What an earlier call wrote there; None = nothing that can be read."""
    try:
        return json.loads(key_file.read_text())
    except (OSError, ValueError):
        return None


def _cache(folder: Path, asked: Path | None) -> Path:
    """A folder that can be written: as asked, else beside the photos, else the user's cache."""
    import hashlib

    import platformdirs

    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    user = Path(platformdirs.user_cache_dir("gs-reg")) / "sfm" / digest
    for cache in (asked,) if asked else (folder / ".gs-reg" / "sfm", user):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(cache, os.W_OK):
            return cache
    raise InputError(f"{asked or user}: cannot be written: name another folder (--cache-dir)")


def _upright_copies(photos: Sequence[Path], folder: Path) -> tuple[dict[str, Path], list[ndarray]]:
    """Files that COLMAP reads, turned upright, EXIF focal kept: the photo of each by its name, and all thumbnails.

    Raises:
        InputError: a broken photo, which COLMAP would fill with grey.
    """
    from PIL import Image

    folder.mkdir()
    names, thumbnails = {}, []
    for photo in photos:
        pixels = read_pixels(photo, upright=True)
        thumbnails.append(look.thumbnail(pixels))
        if read_header(photo).orientation == 1 and photo.suffix.lower() in NATIVE:
            names[photo.name] = photo
            shutil.copy(photo, folder / photo.name)
            continue
        name = f"{photo.name}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=98, subsampling=0, exif=_focal_exif(photo))
        names[name] = photo
    return names, thumbnails


def _focal_exif(photo: Path) -> Exif:
    """Of the photo's EXIF what tells the focal length; the rest may not fit a JPEG."""
    from PIL import Image

    with Image.open(photo) as opened:
        given = Image.Image.getexif(opened)
        details = given.get_ifd(EXIF_DETAILS)  # a TIFF's are read from the open file
    kept = Image.Exif()
    for table, source, tags in (
        (kept, given, EXIF_CAMERA),
        (kept.get_ifd(EXIF_DETAILS), details, EXIF_FOCAL),
    ):
        table.update({tag: source[tag] for tag in tags if tag in source})
    return kept


def _best_model(names: dict[str, Path], work: Path) -> Reconstruction | None:
    """The reconstruction with most photos over the attempts, which stop once enough are placed; None = none."""
    import pycolmap

    level, pycolmap.logging.minloglevel = pycolmap.logging.minloglevel, int(pycolmap.logging.FATAL)
    pycolmap.set_random_seed(0)
    try:
        best = None
        for i, attempt in enumerate(ATTEMPTS):
            features = work / f"features_{attempt.wide}_{attempt.matches}.db"
            if not features.exists():
                _match(features, names, work / "images", attempt)
            for model in _map(features, work, i, attempt):
                if best is None or model.num_reg_images() > best.num_reg_images():
                    best = model
            if best is not None and best.num_reg_images() >= ENOUGH * len(names):
                break
        return best
    finally:
        pycolmap.logging.minloglevel = level


def _match(database: Path, names: dict[str, Path], images: Path, attempt: Attempt) -> None:
    """SIFT and exhaustive matching; photos of one size and EXIF focal share a camera, which few photos need."""
    import pycolmap

    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size = 1600
    extraction.sift.estimate_affine_shape = attempt.wide
    extraction.sift.domain_size_pooling = attempt.wide
    groups: dict[tuple[int, int, float], list[str]] = {}
    for name in names:
        camera = pycolmap.infer_camera_from_image(str(images / name))
        groups.setdefault((camera.width, camera.height, round(camera.mean_focal_length(), 1)), []).append(name)
    for group in groups.values():
        pycolmap.extract_features(
            database,
            images,
            image_names=group,
            camera_mode=pycolmap.CameraMode.SINGLE,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )
    verification = pycolmap.TwoViewGeometryOptions()
    verification.min_num_inliers = attempt.matches
    pycolmap.match_exhaustive(database, verification_options=verification, device=pycolmap.Device.cpu)


def _map(database: Path, work: Path, number: int, attempt: Attempt) -> list[Reconstruction]:
    """Reconstructions of one attempt."""
    import pycolmap

    out = work / f"models_{number}"
    out.mkdir()
    if attempt.whole:
        options = pycolmap.GlobalPipelineOptions()
        options.min_num_matches = attempt.matches
        models = pycolmap.global_mapping(database, work / "images", out, options=options)
        return list(models.values())
    options = pycolmap.IncrementalPipelineOptions()
    options.min_num_matches = attempt.matches
    options.min_model_size = 2
    options.random_seed = 0
    options.mapper.init_min_num_inliers = attempt.init_inliers
    options.mapper.init_min_tri_angle = attempt.init_angle
    options.mapper.abs_pose_min_num_inliers = attempt.pose_inliers
    options.triangulation.ignore_two_view_tracks = not attempt.pairs_count
    models = pycolmap.incremental_mapping(database, work / "images", out, options=options)
    return list(models.values())
