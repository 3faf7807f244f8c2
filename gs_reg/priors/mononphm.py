"""MonoNPHM as a prior, with the user's own weights: it knows the way back, from posed to canonical, and no other."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from gs_reg.errors import InputError, reading
from gs_reg.priors.mononphm_networks import ANCHORS, CODE, MIDLINE, PAIRS, BackwardField, IdentityField
from gs_reg.priors.types import UNIT_M, Part, SurfaceSample

N = TypeVar("N", bound=nn.Module)

ANCHOR_FILE = "anchors_65.npy"
BOX = ((-0.55, -0.5, -0.95), (0.55, 0.75, 0.4))
"""Corners of the space that the canonical head fills."""
RESOLUTION = 256
COARSE = 4
"""Cells of the grid of marching cubes in one of the grid that is evaluated everywhere."""


@dataclass(frozen=True)
class MonoNphmPrior:
    """A person is the code z_geo (2176), followed by z_app (2176) where colours are wanted; None is the zero code."""

    field: BackwardField
    head: IdentityField
    mean_anchors: Float[Tensor, "65 3"]
    resolution: int = RESOLUTION
    name: str = "mononphm"
    licence: str = "the weights' own: research only"
    unit_m: float = UNIT_M

    @property
    def dim(self) -> int:
        return self.field.expressions

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"z_exp{k}" for k in range(self.dim))

    @property
    def neutral(self) -> Float[Tensor, "dim"]:
        return self.mean_anchors.new_zeros(self.dim)

    @property
    def lo(self) -> Float[Tensor, "dim"]:
        """Codes have no ends; those of trackers stay within about one of 0."""
        return self.neutral - 1

    @property
    def hi(self) -> Float[Tensor, "dim"]:
        return self.neutral + 1

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> MonoNphmPrior:
        """On another device."""
        field, head = (copy.deepcopy(net).to(device=device, dtype=dtype) for net in (self.field, self.head))
        anchors = self.mean_anchors.to(device=device, dtype=dtype)
        return dataclasses.replace(self, field=field, head=head, mean_anchors=anchors)

    def backward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N w"]]:
        """Canonical points and hyper coordinates, which are not those of a material point: never keep them."""
        z_geo = self._codes(ident)[0]
        return self.field(x, z, z_geo, self.head.anchors(z_geo, self.mean_anchors))

    def distance(
        self, x: Float[Tensor, "N 3"], hyper: Float[Tensor, "N w"], ident: Float[Tensor, "I"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"] | None]:
        """Signed distance of canonical points, and their colour for a person with z_app."""
        z_geo, z_app = self._codes(ident)
        return self.head(x, hyper, z_geo, self.head.anchors(z_geo, self.mean_anchors), z_app)

    def surface(self, ident: Float[Tensor, "I"] | None, n: int, seed: int) -> SurfaceSample:
        """n points of the canonical surface of marching cubes, even by area. It says nothing of parts: all are skin.

        Raises:
            ValueError: the signed distance has no zero in the box, as of weights that are not a head's.
        """
        vertices, faces = self._marched(ident)
        generator = torch.Generator().manual_seed(seed)
        corners = vertices[faces]
        cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        picked = torch.multinomial(cross.norm(dim=-1).cpu().double(), n, replacement=True, generator=generator)
        split, along = torch.rand(2, n, generator=generator).to(vertices)
        weights = torch.stack([1 - split.sqrt(), split.sqrt() * (1 - along), split.sqrt() * along], dim=-1)
        points = (weights[..., None] * corners[picked.to(faces.device)]).sum(1)
        normals = F.normalize(cross[picked.to(faces.device)], dim=-1)
        return SurfaceSample(points, normals, torch.full((n,), int(Part.SKIN), device=points.device))

    def forward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> None:
        return None

    def posed_mesh(self, z: Float[Tensor, "dim"], ident: Float[Tensor, "I"] | None = None) -> None:
        return None

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> None:
        return None

    def _codes(self, ident: Float[Tensor, "I"] | None) -> tuple[Float[Tensor, "G"], Float[Tensor, "G"] | None]:
        if ident is None:
            return self.mean_anchors.new_zeros(CODE), None
        if len(ident) not in (CODE, 2 * CODE):
            raise ValueError(f"ident: expected {CODE} numbers (z_geo), or {2 * CODE} with z_app, got {len(ident)}")
        return ident[:CODE], ident[CODE:] if len(ident) > CODE else None

    @torch.no_grad()
    def _marched(self, ident: Float[Tensor, "I"] | None) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
        """The surface of the neutral expression, taken back to canonical space.

        Fine cells are evaluated only where the coarse grid says that the surface may be.
        """
        from skimage.measure import marching_cubes

        low, high = (self.mean_anchors.new_tensor(corner) for corner in BOX)
        coarse = self.resolution // COARSE
        values = self._distances(_grid(low, high, coarse + 1), ident).view(1, 1, *[coarse + 1] * 3)
        fine = coarse * COARSE + 1
        values = F.interpolate(values, (fine, fine, fine), mode="trilinear", align_corners=True).flatten()
        near = (values.abs() < 1.5 * (high - low).max() / coarse).nonzero()[:, 0]
        values[near] = self._distances(_grid(low, high, fine)[near], ident)
        if not (values.min() < 0 < values.max()):
            raise ValueError("the signed distance of MonoNPHM has no zero in the head's box: other weights, or code?")
        volume = values.view(fine, fine, fine).cpu().numpy()
        vertices, faces, _, _ = marching_cubes(volume, 0.0, spacing=tuple(((high - low) / (fine - 1)).tolist()))
        posed = torch.from_numpy(vertices.copy()).to(low) + low
        canonical = self.backward(posed, self.neutral, ident)[0]
        return canonical, torch.from_numpy(faces.astype(np.int64)).to(low.device)

    def _distances(self, points: Float[Tensor, "N 3"], ident: Float[Tensor, "I"] | None) -> Float[Tensor, "N"]:
        return torch.cat(
            [self.distance(*self.backward(some, self.neutral, ident), ident)[0] for some in points.split(65536)]
        )


def _grid(low: Float[Tensor, "3"], high: Float[Tensor, "3"], count: int) -> Float[Tensor, "N 3"]:
    steps = torch.linspace(0, 1, count, device=low.device)
    return low + torch.cartesian_prod(steps, steps, steps) * (high - low)


def mononphm_prior(path: Path) -> MonoNphmPrior:
    """The prior of a checkpoint of the authors with anchors_65.npy beside it, or of a folder that holds both.

    Raises:
        InputError: a file is missing or not what it should be; names it, and the offending weights.
    """
    path = _checkpoint(path) if path.is_dir() else path
    anchors = path.parent / ANCHOR_FILE
    if not anchors.exists():
        raise InputError(f"{anchors}: not found: the checkpoint lacks the 65 mean anchors, put the authors' file there")
    with reading(anchors):
        mean = torch.from_numpy(np.load(anchors, allow_pickle=False).astype(np.float32))
    if mean.shape != (ANCHORS, 3):
        raise InputError(f"{anchors}: expected {ANCHORS} anchors [65, 3], got {list(mean.shape)}")
    with reading(path):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = [_unwrapped(checkpoint[key]) for key in ("ex_decoder", "id_decoder")]
    field = _loaded(path, "ex_decoder", BackwardField, weights[0], FIELD_LAYERS)
    head = _loaded(path, "id_decoder", IdentityField, weights[1], HEAD_LAYERS)
    prior = MonoNphmPrior(field, head, mean)
    try:
        prior.distance(*prior.backward(mean, prior.neutral), mean.new_zeros(2 * CODE))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: its layers do not fit each other as MonoNPHM's do: {error}") from error
    return prior


def _members(name: str) -> list[str]:
    return [f"{name}.layers.{net}.layers.{i}" for net in range(PAIRS + MIDLINE + 1) for i in (0, 2, 4, 6, 8)]


FIELD_LAYERS = ("compressor.0", *(f"defDeepSDF.lin{i}" for i in range(7)))
HEAD_LAYERS = (
    *(f"mlp_pos.{i}" for i in (0, 2, 4)),
    *(f"communcation_bottleneck{i}" for i in (1, 2)),
    *_members("deepSDFensemble"),
    *_members("aggr_app"),
)


def _checkpoint(folder: Path) -> Path:
    found = sorted([*folder.glob("*.tar"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if len(found) != 1:
        raise InputError(f"{folder}: expected one checkpoint (.tar, .pt, .pth), found {len(found)}: name the file")
    return found[0]


def _unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that training on several GPUs leaves."""
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}


def _loaded(path: Path, where: str, kind: Callable[[Mapping[str, torch.Size]], N], weights: dict, layers: tuple) -> N:
    """A network with these weights and no others.

    Raises:
        InputError: names are missing or unknown.
    """
    wanted = {f"{layer}.{end}" for layer in layers for end in ("weight", "bias")}
    wrong = [f"{name} is missing" for name in sorted(wanted - weights.keys())]
    wrong += [f"{name} is unknown" for name in sorted(weights.keys() - wanted)]
    if wrong:
        raise InputError(f"{path}: {where} is not MonoNPHM's: {'; '.join(wrong[:6])}{' ...' if len(wrong) > 6 else ''}")
    net = kind({name: tensor.shape for name, tensor in weights.items()})
    with reading(path):
        net.load_state_dict(weights)
    return net.requires_grad_(False).eval()
