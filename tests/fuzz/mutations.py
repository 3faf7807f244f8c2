"""Random damage to files, by what kind of file it is. The same generator gives the same damage."""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**400,
    1e39,
    -1e39,
    1e308,
    1e-320,
    0.5,
    float("nan"),
    float("inf"),
]
THINGS = [*NUMBERS, None, True, False, "", "x", "NaN", "1e39", "../../x", "\0", "Ü" * 50, [], {}, [[]], [1], {"a": 1}]
WORDS = [
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"1e39",
    b"-1e400",
    b"9" * 30,
    b"9" * 5000,
    b"x",
    b"",
    b"0x10",
    "²".encode(),
    b"1,5",
]
WORDS += [b"1_0", b"\xff", b"true", b"../../../etc/passwd", b"1.5", b"2147483648", b"-0", b"{}", b"[", b'"', b"\0"]


def pick(g: Rng, things: Any) -> Any:
    return things[int(g.integers(len(things)))]


def damaged_bytes(g: Rng, data: bytes) -> bytes:
    """Flips, cuts, insertions, copies and special numbers, most of them in the first 1,200 bytes, where headers are."""
    out = bytearray(data)
    for _ in range(int(g.integers(1, 4))):
        if not out:
            break
        at = int(g.integers(len(out) if g.random() < 0.4 else min(len(out), 1200)))
        size = int(g.integers(1, 24))
        match int(g.integers(7)):
            case 0:
                out[at : at + size] = g.bytes(size)
            case 1:
                del out[at : at + size]
            case 2:
                out[at:at] = out[at : at + 30]
            case 3:
                out[at] ^= 1 << int(g.integers(8))
            case 4:
                if g.random() < 0.3:
                    del out[at:]
            case 5:
                kind = pick(g, ("<f4", "<f8", "<i4", "<i8", ">i4"))
                place, value = at // 4 * 4, pick(g, NUMBERS)
                with np.errstate(all="ignore"):
                    whole = np.array(
                        float(value) if value < 2**62 and kind[1] == "f" else -1 if value < 0 else 2**31 - 1
                    )
                    packed = whole.astype(kind).tobytes()
                out[place : place + len(packed)] = packed
            case 6:
                out[at : at + size] = pick(g, (b"\0", b"\xff")) * size
    return bytes(out)


def damaged_text(g: Rng, data: bytes) -> bytes:
    """Numbers and words replaced; lines deleted, doubled, swapped, cut; encodings and line ends changed."""
    for _ in range(int(g.integers(1, 4))):
        lines = data.split(b"\n")
        at, other = int(g.integers(len(lines))), int(g.integers(len(lines)))
        words = list(re.finditer(rb"[^\s,=\[\]{}:;\"]+", data))
        numbers = [word for word in words if re.fullmatch(rb"[-+.\deE]+", word[0])]
        match int(g.integers(9)):
            case 0 | 1 | 2 if numbers or words:
                word = pick(g, numbers or words)
                data = data[: word.start()] + pick(g, WORDS) + data[word.end() :]
            case 3 if words:
                word = pick(g, words)
                data = data[: word.start()] + pick(g, WORDS) + data[word.end() :]
            case 4:
                data = b"\n".join(lines[:at] + lines[at + 1 :])
            case 5:
                data = b"\n".join([*lines[:at], lines[at], *lines[at:]])
            case 6:
                lines[at], lines[other] = lines[other], lines[at]
                data = b"\n".join(lines)
            case 7:
                lines[at] = lines[at][: int(g.integers(len(lines[at]) + 1))]
                data = b"\n".join(lines)
            case _:
                change = pick(g, (b"\xef\xbb\xbf", b"\xff\xfe", b"\t", b"\r\n", b"# ", b"\0"))
                data = data.replace(b"\n", b"\r\n") if change == b"\r\n" else change + data
    return data


def _places(value: Any, way: tuple = ()) -> Iterator[tuple]:
    if way:
        yield way
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*way, key))


def damaged_tree(g: Rng, tree: Any) -> Any:
    """A nested value with nodes replaced, deleted, doubled, swapped, renamed or nested."""
    for _ in range(int(g.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            return pick(g, THINGS)
        # the upper levels as often as the many leaves
        depth = int(g.integers(1, 1 + max(map(len, places))))
        *way, key = pick(g, [place for place in places if len(place) == depth] or places)
        parent = tree
        for step in way:
            parent = parent[step]
        match int(g.integers(8)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.insert(key, parent[key])
            case 2 if isinstance(parent, dict):
                parent[pick(g, (f"{key}x", "", "a/b", "..", "schema", "$tensor"))] = parent.pop(key)
            case 3:
                parent[key] = [parent[key]]
            case 4 if len(parent) > 1:
                other = pick(g, list(parent) if isinstance(parent, dict) else range(len(parent)))
                parent[key], parent[other] = parent[other], parent[key]
            case 5 if isinstance(parent[key], int | float):
                parent[key] = pick(g, NUMBERS)
            case _:
                parent[key] = pick(g, THINGS)
    return tree


def damaged_json(g: Rng, data: bytes) -> bytes:
    if g.random() < 0.25:
        return damaged_text(g, data)
    return json.dumps(damaged_tree(g, json.loads(data))).encode()


def damaged_yaml(g: Rng, data: bytes) -> bytes:
    if g.random() < 0.25:
        return damaged_text(g, data)
    return yaml.safe_dump(damaged_tree(g, yaml.safe_load(data)), sort_keys=False).encode()


def damaged_array(g: Rng, values: np.ndarray) -> np.ndarray:
    """Of another shape or type, or with numbers that cannot be."""
    match int(g.integers(9)):
        case 0:
            return values.T
        case 1:
            return values.ravel()
        case 2:
            return values[None] if g.random() < 0.5 else values[..., None]
        case 3:
            return values[: int(g.integers(len(values) + 1))] if values.ndim else values
        case 4:
            with np.errstate(all="ignore"):
                return values.astype(pick(g, ("f4", "f2", "i8", "u1", "c16", "bool", "U9", "O", ">f8", "f8")))
        case 5:
            return np.zeros(values.shape, [("a", "f4"), ("b", "i2")])
        case 6:
            return np.concatenate([values, values]) if values.ndim else np.zeros(())
        case _:
            changed = values.astype(np.float64) if values.dtype.kind in "biu" and g.random() < 0.5 else values.copy()
            with np.errstate(all="ignore"):
                for _ in range(int(g.integers(1, 4))):
                    place = tuple(int(g.integers(max(size, 1))) for size in changed.shape)
                    if changed.size and changed.dtype.kind in "fiu":
                        changed[pick(g, (place, ...)) if g.random() < 0.3 else place] = np.float64(
                            min(pick(g, NUMBERS), 10**300)
                        ).astype(changed.dtype)
            return changed


def damaged_npy(g: Rng, data: bytes) -> bytes:
    if g.random() < 0.5:
        return damaged_bytes(g, data)
    out = io.BytesIO()
    np.save(out, damaged_array(g, np.load(io.BytesIO(data))), allow_pickle=True)
    return out.getvalue()


def damaged_npz(g: Rng, data: bytes) -> bytes:
    """Damage to the archive, to a member in an archive that is whole, or to an array."""
    choice = g.random()
    if choice < 0.3:
        return damaged_bytes(g, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(g, list(members))
    if choice < 0.7:
        members[name] = damaged_npy(g, members[name])
    elif choice < 0.85:
        del members[name]
    else:
        members[pick(g, (name + "x", "world_mat_x.npy", "world_mat_-1.npy", "scale_mat_99.npy", "a.txt"))] = members[
            name
        ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return out.getvalue()


def damaged_png(g: Rng, data: bytes) -> bytes:
    """Damage to the bytes; another header, or less data, with a checksum that is right; another kind of picture."""
    from PIL import Image

    choice = g.random()
    if choice < 0.5 or data[:4] != b"\x89PNG":
        return damaged_bytes(g, data)
    if choice < 0.75:
        head = bytearray(data[12:29])
        at = int(g.integers(4, 17))
        head[at] = int(g.integers(256)) if g.random() < 0.5 else int(pick(g, (0, 1, 2, 3, 4, 6, 8, 16, 255)))
        return data[:12] + bytes(head) + zlib.crc32(head).to_bytes(4, "big") + data[33:]
    with Image.open(io.BytesIO(data)) as image:
        picture = (
            image.convert(pick(g, ("1", "L", "LA", "P", "RGB", "RGBA", "I", "F"))) if image.mode[0] != "I" else image
        )
        sides = [max(1, side + int(g.integers(-3, 4))) for side in picture.size] if g.random() < 0.5 else picture.size
        out = io.BytesIO()
        picture.resize(sides).save(out, "TIFF" if picture.mode[0] in "IF" else pick(g, ("PNG", "TIFF")))
        return out.getvalue()


def damaged_ply(g: Rng, data: bytes) -> bytes:
    """Damage to the header's lines or to the bytes."""
    end = data.index(b"end_header") + len(b"end_header\n")
    return damaged_text(g, data[:end]) + data[end:] if g.random() < 0.5 else damaged_bytes(g, data)


def damaged_gzip(g: Rng, data: bytes) -> bytes:
    """Damage to the archive, or inside of it; a small archive of many zeros."""
    import gzip

    choice = g.random()
    if data[:2] != b"\x1f\x8b" or choice < 0.4:
        return damaged_bytes(g, data)
    inner = damaged_bytes(g, gzip.decompress(data))
    return gzip.compress(inner + bytes(200_000_000 if choice > 0.995 else 0), 1)


def damaged_sog(g: Rng, data: bytes) -> bytes:
    """Damage to the archive, to a picture in an archive that is whole, or to meta.json; a member gone."""
    choice = g.random()
    if choice < 0.3:
        return damaged_bytes(g, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "meta.json" if choice < 0.7 else pick(g, list(members))
    if choice < 0.95:
        members[name] = (damaged_json if name == "meta.json" else damaged_bytes)(g, members[name])
    else:
        del members[name]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return out.getvalue()


def damaged_glb(g: Rng, data: bytes) -> bytes:
    """Damage to the bytes, or to the JSON in a file whose lengths are right."""
    if g.random() < 0.3:
        return damaged_bytes(g, data)
    end = 20 + int.from_bytes(data[12:16], "little")
    text = damaged_json(g, data[20:end])
    rest = len(text).to_bytes(4, "little") + data[16:20] + text + data[end:]
    return data[:8] + (12 + len(rest)).to_bytes(4, "little") + rest


def damaged_safetensors(g: Rng, data: bytes) -> bytes:
    """Damage to the bytes or the header, or tensors of another name, shape, type or content."""
    import torch
    from safetensors.torch import load, save

    choice = g.random()
    if choice < 0.2:
        return damaged_bytes(g, data)
    if choice < 0.4:
        size = int.from_bytes(data[:8], "little")
        head = damaged_json(g, data[8 : 8 + size])
        return len(head).to_bytes(8, "little") + head + data[8 + size :]
    tensors = load(data)
    name = pick(g, list(tensors))
    if choice < 0.5:
        tensors.pop(name)
    elif choice < 0.55:
        tensors[name + "x"] = tensors.pop(name)
    else:
        changed = damaged_array(g, tensors[name].numpy())
        if changed.dtype.kind in "fiub" and changed.dtype.byteorder != ">":
            tensors[name] = torch.from_numpy(changed.copy(order="C")).contiguous()
    return save(tensors)


BY_ENDING: dict[str, Callable[[Rng, bytes], bytes]] = {
    ".txt": damaged_text,
    ".camera": damaged_text,
    ".json": damaged_json,
    ".jsonl": damaged_text,
    ".yaml": damaged_yaml,
    ".npy": damaged_npy,
    ".npz": damaged_npz,
    ".png": damaged_png,
    ".ply": damaged_ply,
    ".spz": damaged_gzip,
    ".sog": damaged_sog,
    ".glb": damaged_glb,
    ".safetensors": damaged_safetensors,
}


def damage(g: Rng, path: Path) -> None:
    """Damages a file in place, by its ending."""
    path.write_bytes(BY_ENDING.get(path.suffix, damaged_bytes)(g, path.read_bytes()))
