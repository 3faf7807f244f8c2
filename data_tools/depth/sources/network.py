"""Depth-estimation networks of the `transformers` library, from a local folder; the only file that imports it here."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.types import Views

from .types import MapKind

GIVES: dict[str, MapKind] = {"zoedepth": "depth", "glpn": "depth", "depth_pro": "depth"}
"""Classes that always give one kind; metres of a network are not the cameras' units, so they count up to scale."""
WHERE = (
    "download a depth-estimation model (`hf download depth-anything/Depth-Anything-V2-Small-hf --local-dir DIR`, "
    "Apache-2.0) and name its folder with --depth.path, or let a hub id be fetched with --depth.download"
)


class NetworkMaps:
    """Monocular maps of AutoModelForDepthEstimation. Code that a model's folder brings is never run.

    Raises:
        MissingPart: no `transformers`, or no such model on this machine.
        InputError: a folder that holds no depth-estimation model, or a class whose kind is not known.
    """

    def __init__(self, path: str | None, kind: MapKind | None = None, download: bool = False):
        if path is None:
            raise MissingPart(f"--depth.source transformers: no --depth.path; {WHERE}")
        if kind == "metric":
            raise InputError("--depth.kind metric: a network's metre is not the cameras' unit: say depth")
        transformers = _library()
        folder = _folder(transformers, path, download)
        self._processor, self._model = _loaded(transformers, folder, path)
        self.kind: MapKind = kind or _kind_of(self._model.config, path)
        self.about: Mapping[str, str] = {
            "source": "transformers",
            "what": f"{type(self._model).__name__} in {path}",
            "gives": _gives(self._model.config, self.kind),
            "licence": _licence(folder),
            "sha256": _digest(folder),
        }

    def __call__(self, view: Views) -> Float[Tensor, "H W"]:
        image = (view.photos[0].clamp(0, 1) * 255).round().byte().numpy()
        size = (image.shape[0], image.shape[1])
        inputs = self._processor(images=image, input_data_format="channels_last", return_tensors="pt")
        with torch.no_grad():
            outputs = self._model(**inputs)
        after = self._processor.post_process_depth_estimation
        more = {"source_sizes": [size]} if "source_sizes" in inspect.signature(after).parameters else {}
        values = after(outputs, target_sizes=[size], **more)[0]["predicted_depth"].float().cpu()
        known = torch.isfinite(values) if self.kind == "disparity" else torch.isfinite(values) & (values > 0)
        if not known.any():
            raise InputError(f"{view.names[0]}: the network gives no finite value: are its weights whole?")
        return torch.where(known, values, torch.nan)


def _library() -> ModuleType:
    """The library itself: it is optional, and slow to import."""
    try:
        import transformers
    except ImportError as error:
        raise MissingPart(
            f"--depth.source transformers: the library is missing ({error}): pip install 'gs-reg[networks]'"
        ) from None
    return transformers


def _folder(transformers: ModuleType, path: str, download: bool) -> Path:
    """The model's folder: the one named, the hub's cache, or, where that is allowed, a download."""
    if Path(path).is_dir():
        if not (Path(path) / "config.json").is_file():
            raise InputError(
                f"{path}: no config.json, so no model of the transformers library (maps of your own: --depth.source "
                f"files); {WHERE}"
            )
        return Path(path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        raise InputError(f"{path}: neither a folder nor a hub id OWNER/NAME; {WHERE}")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "README.md", "LICENSE*"]
    try:
        return Path(snapshot_download(path, local_files_only=not download, allow_patterns=wanted))
    except Exception as error:  # the hub's client raises many kinds; none is ours to tell apart
        why = "the download failed" if download else "not on this machine, and nothing is downloaded without asking"
        raise MissingPart(f"{path}: {why} ({type(error).__name__}); {WHERE}") from None


def _loaded(transformers: ModuleType, folder: Path, path: str) -> tuple[Any, Any]:
    transformers.utils.logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = transformers.AutoModelForDepthEstimation.from_pretrained(folder, **options)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
    except ImportError as error:
        raise MissingPart(f"{path}: {_first_line(error)}: pip install 'gs-reg[networks]'") from None
    except Exception as error:  # broken files surface as whatever json, safetensors or the class raise
        raise InputError(f"{path}: no depth-estimation model that can be loaded ({_first_line(error)})") from None
    if not hasattr(processor, "post_process_depth_estimation"):
        raise InputError(f"{path}: its image processor is not one for depth estimation")
    return processor, model.eval()


def _kind_of(config: Any, path: str) -> MapKind:
    """What the class gives: Depth Anything says so itself; a DPT of the MiDaS line gives disparity."""
    family = config.model_type
    if family == "depth_anything":
        return "depth" if config.depth_estimation_type == "metric" else "disparity"
    backbone = getattr(getattr(config, "backbone_config", None), "model_type", None)
    if family == "dpt" and backbone in (None, "bit", "beit", "swin", "swinv2"):
        return "disparity"
    if family not in GIVES:
        raise InputError(f"{path}: a {family} may give depth or disparity: say --depth.kind depth or disparity")
    return GIVES[family]


def _gives(config: Any, kind: MapKind) -> str:
    if kind == "disparity":
        return "disparity, relative: scale and shift are fitted"
    metric = config.model_type in GIVES or getattr(config, "depth_estimation_type", "") == "metric"
    return f"depth, {'metres of its own' if metric else 'relative'}: scale and shift are fitted in disparity"


def _licence(folder: Path) -> str:
    """As the model's card says."""
    card = folder / "README.md"
    said = re.search(r"^license:\s*(\S+)", card.read_text(errors="replace"), re.M) if card.is_file() else None
    if said:
        return said.group(1)
    beside = next((p.name for p in sorted(folder.glob("LICENSE*"))), None)
    return f"see {beside}" if beside else "not stated in its folder: look it up before you publish or sell results"


def _digest(folder: Path) -> str:
    """Of all weights, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("[!.]*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
