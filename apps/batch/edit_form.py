"""The nested way to write an edit: `scene`, `edit: {part, prompt}`, `parts: [{name, tau}]`, `teacher: {kind}`."""

from __future__ import annotations

from typing import Any

from gs_reg.errors import did_you_mean
from gs_reg.parts.teachers.networks import NEEDED

NESTED = ("edit", "teacher", "editor")
RENAMED = {
    "scene": "data",
    "edit.part": "part",
    "edit.prompt": "edit",
    "edit.shape": "shape",
    "edit.remove": "remove",
    "edit.grow": "grow",
    "teacher.kind": "teacher",
    "teacher.model": "model",
    "editor.kind": "editor",
}


def as_flags(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an edit under the names of its flags; those that are named so already stay.

    Raises:
        ValueError: a setting is there under both names, or a map has a key that it cannot have; says which.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in NESTED and isinstance(value, dict):
            flat |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            flat[key] = value
    kind = str(flat.get("teacher.kind", "")).partition(":")[0]
    if kind in NEEDED and isinstance(flat.get("teacher.model"), str):
        # a folder of transformers and not a pipeline
        flat["teacher_model"] = [flat.pop("teacher.model")]
    out: dict[str, Any] = {}
    # a text in `edit` beside `edit.part`: the prompt of the flags
    for key, value in flat.items():
        place, dot, inner = str(key).partition(".")
        if dot and place in NESTED and key not in RENAMED:
            known = [name.removeprefix(f"{place}.") for name in RENAMED if name.startswith(f"{place}.")]
            offer = did_you_mean(inner, known, f"; expected {', '.join(known)}")
            raise ValueError(f"{place}: unknown key '{inner}'{offer}")
        name = RENAMED.get(key, key)
        if name in out:
            raise ValueError(f"{key}: given twice, also as {name}")
        out[name] = value
    if isinstance(out.get("parts"), list):
        out["parts"] = ",".join(map(_part, out["parts"]))
    return out


def _part(entry: Any) -> str:
    """`name` or `name:tau`."""
    if isinstance(entry, dict):
        if not isinstance(entry.get("name"), str) or entry.keys() - {"name", "tau"}:
            raise ValueError(f"parts: expected maps of name and tau, got {entry!s:.80}")
        return entry["name"] + (f":{entry['tau']}" if "tau" in entry else "")
    return str(entry)
