"""A diffusers folder as a pipeline: what is in it is looked at first, and nothing is downloaded unasked."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs_reg.errors import InputError, MissingPart, reading

from .families import FAMILIES
from .libraries import diffusers, offline, quiet

INDEX = "model_index.json"
OPTIONAL = {"text_encoder_3", "tokenizer_3", "safety_checker", "feature_extractor", "image_encoder"}
"""Components that may lack in the folder though its index names them."""
UNUSED = {"safety_checker", "feature_extractor", "image_encoder"}
WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Contents:
    """What model_index.json says."""

    folder: Path
    pipeline: str
    """Its class."""
    classes: Mapping[str, str | None]
    """Of each component; None where there is none."""

    def absent(self) -> list[str]:
        """Components that the index names and that may lack, or that are null in it."""
        return [name for name, kind in self.classes.items() if kind is None or not (self.folder / name).is_dir()]

    def variant(self) -> str | None:
        """Of the weights' names, as fp16, where the folder has the plain ones not."""
        found: set[str] = set()
        for name in self.classes:
            files = [f.name for f in (self.folder / name).glob("*") if f.suffix in WEIGHTS]
            if files and all(variant_of(f) for f in files):
                found.update(filter(None, map(variant_of, files)))
        return found.pop() if len(found) == 1 else None


def folder_of(model: str | Path, allow_download: bool = False) -> Path:
    """The folder itself; or that of a repository's name in the local cache of Hugging Face, downloaded where allowed.

    Raises:
        InputError: neither.
        MissingPart: the repository is not in the cache.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{model}: a file; a folder as diffusers' save_pretrained writes it is needed")
    parts = str(model).split("/")
    if len(parts) != 2 or not all(parts) or parts[0] in (".", "..", "~"):
        raise InputError(f"{model}: no such folder")
    try:
        with quiet(), nullcontext() if allow_download else offline():
            return Path(diffusers().DiffusionPipeline.download(str(model), local_files_only=not allow_download))
    except MissingPart:
        raise
    except Exception as error:
        tried = "could not be downloaded" if allow_download else "not in the local cache, and nothing is downloaded"
        advice = "is it spelled right, and may you read it?" if allow_download else "--allow-download would"
        raise MissingPart(f"{model}: no such folder, {tried}: {advice} ({type(error).__name__})") from error


def look_into(folder: Path) -> Contents:
    """Raises:
    InputError: no pipeline of diffusers.
    MissingPart: a component's folder is missing.
    """
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"{folder}: no {INDEX}: not a pipeline of diffusers{_what_else(folder)}")
    with reading(path):
        index = json.loads(path.read_text(encoding="utf-8"))
        pairs = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
        contents = Contents(folder, str(index["_class_name"]), {name: value[1] for name, value in pairs.items()})
    lacking = [n for n in contents.absent() if contents.classes[n] is not None and n not in OPTIONAL]
    if lacking:
        raise MissingPart(f"{folder / lacking[0]}: missing, though {path} names it: copy the whole folder")
    return contents


def check_family(contents: Contents) -> str:
    """The class of the network.

    Raises:
        InputError: none that maps, SLaMP and SDS can use.
    """
    networks = [kind for kind in contents.classes.values() if kind in FAMILIES]
    if not networks:
        raise InputError(
            f"{contents.folder}: {contents.pipeline} is of another family: Stable Diffusion 1, 2, XL or 3 or Flux fit"
        )
    vae = contents.classes.get("vae")
    if vae != "AutoencoderKL":
        raise InputError(f"{contents.folder}: its vae is {vae or 'missing'}: AutoencoderKL is needed")
    return str(networks[0])


def open_pipeline(contents: Contents, dtype: torch.dtype) -> Any:
    """On the CPU, without what the networks do not need; the VAE in float32, whatever the dtype.

    Raises:
        InputError: broken weights, or such as do not fit their configuration.
    """
    pipe = read_pipeline(contents, diffusers().DiffusionPipeline, {"default": dtype, "vae": torch.float32}, UNUSED)
    for name, part in pipe.components.items():
        wanted = torch.float32 if name == "vae" else dtype
        if isinstance(part, torch.nn.Module) and part.dtype != wanted:
            part.to(wanted)  # some networks come in the type of the file in spite of the argument
    return pipe


def read_pipeline(contents: Contents, opener: Any, dtype: Any, unused: Collection[str]) -> Any:
    """`opener`: a class of diffusers with from_pretrained."""
    absent = {name: None for name in {*contents.absent(), *(set(unused) & contents.classes.keys())}}
    checker = {"requires_safety_checker": False} if "safety_checker" in contents.classes else {}
    variant = contents.variant()
    with quiet() as heard, offline(), reading(contents.folder):
        pipe = opener.from_pretrained(
            contents.folder,
            local_files_only=True,
            dtype=dtype,
            **absent,
            **checker,
            **({"variant": variant} if variant else {}),
        )
    heard.refuse_missing(contents.folder)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return pipe


def variant_of(file: str) -> str | None:
    """`model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors` are fp16."""
    parts = file.split(".")
    return parts[1].split("-")[0] if len(parts) > 2 else None


def _what_else(folder: Path) -> str:
    config = folder / "config.json"
    if config.is_file():
        with reading(config):
            named = json.loads(config.read_text(encoding="utf-8"))
            return f", but one component of it ({named.get('_class_name') or named.get('model_type')})"
    if any(name.endswith(WEIGHTS) for name in os.listdir(folder)):
        return "; its files of weights need diffusers' from_single_file and save_pretrained first"
    return ""
