"""Checkpoints: step_000007000/{model.safetensors, optim.safetensors, state.json}. Nothing is pickled.

Tensors go into the safetensors files under their path in the nested value. state.json holds the other values, with
{"$tensor": path} in the place of each tensor, other "$" keys for what JSON cannot express, and the SHA-256 of both
files: a damaged number that is still a number would go unnoticed, and spoil the run.
"""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_folder
from gs_reg.io.digest import file_sha256

SCHEMA = 1
FILES = ("model.safetensors", "optim.safetensors", "state.json")
_NAME = re.compile(r"step_(\d{9,})")


@dataclass(frozen=True)
class Checkpoint:
    step: int
    model: Any
    """Like `optim` and `state` as given to `save`: nested mappings and lists, tensors on the CPU."""
    optim: Any
    state: Any


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a nested value; its tensors are collected in `tensors` under their paths, such as `a.0.b`."""
    if isinstance(value, Tensor):
        if where in tensors:  # keys that contain dots can give the same path
            raise ValueError(f"checkpoint: two tensors named '{where}'")
        tensors[where] = value
        return {"$tensor": where}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{where}.{i}".lstrip("."), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        pairs = [(key, _encode(item, f"{where}.{key}".lstrip("."), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        if all(isinstance(key, int | str) for key, _ in pairs):
            return {"$pairs": pairs}
    kind = type(value).__name__
    raise TypeError(f"checkpoint: {where or 'value'}: expected tensors, plain values, lists or mappings, got {kind}")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_encode`."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$tensor": name}:
            return tensors[name]
        case {"$float": text}:
            return float(text)
        case {"$tuple": items}:
            return tuple(_decode(item, tensors) for item in items)
        case {"$pairs": pairs}:
            return {key: _decode(item, tensors) for key, item in pairs}
    return {key: _decode(item, tensors) for key, item in value.items()}


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # copies, as safetensors refuses tensors that share memory
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:
        # the Rust error keeps the errno in its text only
        code = errno.ENOSPC if "os error 28" in str(error) else errno.EIO
        raise OSError(code, str(error), str(path)) from error


def save(
    folder: str | Path,
    step: int,
    *,
    model: Mapping[str, Any],
    optim: Mapping[str, Any],
    state: Mapping[str, Any],
    keep: int = 2,
    keep_every: int | None = None,
) -> Path:
    """Writes a checkpoint atomically, then deletes old ones.

    The `keep` newest are kept, and those whose step is a multiple of `keep_every`. Types survive: tensors of any dtype,
    integer keys (optimisers have them), tuples, NaN and infinities. `state` must not hold tensors.

    Raises:
        TypeError: a value that cannot be saved, or a tensor in `state`; names its path.
        ValueError: two tensors have the same path.
        OSError: the disk is full.
    """
    tensors: dict[str, dict[str, Tensor]] = {"model": {}, "optim": {}, "state": {}}
    parts = {"model": model, "optim": optim, "state": state}
    encoded = {name: _encode(part, "", tensors[name]) for name, part in parts.items()}
    if tensors["state"]:
        raise TypeError(
            f"checkpoint: state.{next(iter(tensors['state']))} is a tensor; put it into the model or make it a list"
        )
    path = Path(folder) / f"step_{step:09d}"
    with atomic_folder(path) as temporary:
        _write_tensors(temporary / FILES[0], tensors["model"])
        _write_tensors(temporary / FILES[1], tensors["optim"])
        sums = {name: file_sha256(temporary / name) for name in FILES[:2]}
        content = {"schema": SCHEMA, "step": step, "sha256": sums, **encoded}
        text = json.dumps(content, indent=1, allow_nan=False)
        (temporary / FILES[2]).write_text(text + "\n", encoding="utf-8")
    _delete_old(Path(folder), keep, keep_every)
    return path


def _complete(folder: Path) -> list[tuple[int, Path]]:
    """Steps and folders of all complete checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    found = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in found if all((path / name).is_file() for name in FILES))


def _delete_old(folder: Path, keep: int, keep_every: int | None) -> None:
    for step, path in _complete(folder)[: -max(keep, 1)]:
        if not keep_every or step % keep_every:
            shutil.rmtree(path)
    # Temporary folders of a killed run. None can be in use: a folder of checkpoints has one writer, which has just
    # finished.
    for path in folder.glob(".step_*"):
        shutil.rmtree(path, ignore_errors=True)


def latest(folder: str | Path) -> Path | None:
    """Path of the complete checkpoint with the highest step; None where there is none."""
    found = _complete(Path(folder))
    return found[-1][1] if found else None


def load(path: str | Path) -> Checkpoint:
    """A checkpoint as it was saved, tensors on the CPU.

    Raises:
        InputError: a file is missing, broken or of another schema.
    """
    path = Path(path)
    with reading(path / FILES[2]):
        content = json.loads((path / FILES[2]).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            found = content.get("schema") if isinstance(content, dict) else "no map"
            raise InputError(f"{path / FILES[2]}: expected schema {SCHEMA}, got {found!r:.40}")
        step, encoded = content["step"], (content["model"], content["optim"])
        if type(step) is not int or step < 0:
            raise InputError(f"{path / FILES[2]}: step: expected a whole number, got {step!r:.80}")
        state, sums = _decode(content["state"], {}), content.get("sha256", {})  # none in those of earlier versions
        if not isinstance(sums, dict):
            raise InputError(f"{path / FILES[2]}: sha256: expected a map, got {type(sums).__name__}")
    parts = zip(FILES, encoded, strict=False)
    model, optim = (_read_tensors(path / name, value, sums.get(name)) for name, value in parts)
    for name, part in (("model", model), ("optim", optim), ("state", state)):
        if not isinstance(part, Mapping):
            raise InputError(f"{path / FILES[2]}: {name}: expected a map, got {type(part).__name__}")
    return Checkpoint(step, model, optim, state)


def _read_tensors(path: Path, encoded: Any, sha256: str | None) -> Any:
    """The nested value whose tensors are in the file, none of them with NaN; checksum None = not known."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with reading(path):
        otherwise = f"delete {path.parent}, so that the one before it is used"
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: damaged: {error}: {otherwise}") from None
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and bool(tensor.isnan().any()):
                raise InputError(f"{path}: {name} has NaN: {otherwise}")
        if sha256 is not None and sha256 != file_sha256(path):
            raise InputError(f"{path}: damaged: it is not the file that was saved: {otherwise}")
        return _decode(encoded, tensors)
