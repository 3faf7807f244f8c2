"""YAML with the line of every value, so that a complaint can say where; safe types alone, no key twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError, reading

LARGEST = 20_000_000
"""Bytes of a file."""
PLAIN = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
MOST_VALUES = 300_000
Way = tuple[str | int, ...]
"""Keys and numbers from the top down to a value."""


@dataclass(frozen=True)
class Lines:
    """Where everything stands in a file."""

    path: Path
    of: Mapping[Way, int]

    def place(self, way: Way) -> str:
        """The file and the line of a value, or of what it is in."""
        while way and way not in self.of:
            way = way[:-1]
        return f"{self.path}:{self.of.get(way, 1)}"

    def refusal(self, way: Way, text: str) -> InputError:
        dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in way).lstrip(".")
        return InputError(f"{self.place(way)}: {dotted}: {text}" if dotted else f"{self.place(way)}: {text}")


def read_lines(path: Path) -> tuple[dict[str, Any], Lines]:
    """The map in a YAML file, and the lines of its values.

    Raises:
        InputError: missing, too large, no YAML or no map; says the line.
    """
    import yaml

    if path.is_dir():
        raise InputError(
            f"{path}: expected a YAML file, got a folder; `gs-reg batch resume` goes on with one of a batch"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with reading(path):
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: expected a file of at most {LARGEST / 1e6:.0f} MB")
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        try:
            node, lines = loader.get_single_node(), {}
            data = _plain(loader, node, (), lines, path)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
            raise InputError(f"{where}: not valid YAML: {str(problem).splitlines()[0]!r:.200}") from None
        finally:
            loader.dispose()
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a map")
    return data, Lines(path, lines)


def _plain(loader: Any, node: Any, way: Way, lines: dict[Way, int], path: Path) -> Any:
    """Value of a node as maps, lists and scalars."""
    import yaml

    if node is None:
        return None
    lines.setdefault(way, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:  # a few aliases of aliases could stand for any number
        raise InputError(f"{path}: expected at most {MOST_VALUES:,} values")
    if not isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN:
        raise InputError(f"{path}:{node.start_mark.line + 1}: expected plain values, got {node.tag!r:.80}")
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = loader.construct_object(key_node), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise InputError(f"{path}:{line}: key {key!r:.80}: expected a text")
            if key in out:
                raise InputError(f"{path}:{line}: {key!r:.80}: given twice")
            lines[(*way, key)] = line
            out[key] = _plain(loader, value_node, (*way, key), lines, path)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, inner, (*way, number), lines, path) for number, inner in enumerate(node.value)]
    return loader.construct_object(node)
