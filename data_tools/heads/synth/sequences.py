"""What the head does: ARKit coefficients and head poses of each sequence."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.priors.arkit import ARKIT

from .rig import HEAD

YAW, PITCH, ROLL = 25.0, 15.0, 8.0
"""Degrees that a head turns at most."""
PIVOT = np.array([0.0, -0.06, -0.05])
"""Of its turns, in the head frame."""

Unit = dict[str, float]
"""A movement: coefficients by name; `X*` = XLeft and XRight."""
SWEEPS: dict[str, tuple[Unit, ...]] = {
    "EXP-1-head": ({"browInnerUp": 0.3}, {"eyeBlink*": 0.8}, {"mouthSmile*": 0.3}),
    "EXP-2-eyes": (
        {"eyeBlink*": 1.0},
        {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},
        {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
        {"eyeLookUp*": 1.0, "eyeWide*": 0.6},
        {"eyeLookDown*": 1.0, "eyeBlink*": 0.25},
        {"eyeSquint*": 1.0},
        {"eyeWide*": 1.0, "browOuterUp*": 0.7},
        {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.4},
        {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.4},
    ),
    "EXP-3-cheeks+nose": (
        {"cheekPuff": 1.0},
        {"cheekSquint*": 1.0},
        {"noseSneer*": 1.0},
        {"browDown*": 1.0},
        {"browInnerUp": 1.0},
        {"browOuterUp*": 1.0},
    ),
    "EXP-4-lips": (
        {"mouthPucker": 1.0},
        {"mouthFunnel": 1.0},
        {"mouthRollLower": 1.0, "mouthRollUpper": 0.8},
        {"mouthPress*": 1.0},
        {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.7},
        {"mouthUpperUp*": 1.0},
        {"mouthLowerDown*": 1.0},
    ),
    "EXP-5-mouth": (
        {"mouthSmile*": 1.0},
        {"jawOpen": 0.9},
        {"mouthFrown*": 1.0},
        {"mouthStretch*": 1.0},
        {"mouthDimple*": 1.0},
        {"mouthLeft": 1.0},
        {"mouthRight": 1.0},
        {"mouthSmileLeft": 0.9},
        {"mouthSmileRight": 0.9},
    ),
    "EXP-6-tongue-1": ({"jawOpen": 0.4}, {"jawOpen": 0.45, "tongueOut": 0.6}, {"jawOpen": 0.6, "tongueOut": 1.0}),
    "EXP-7-tongue-2": ({"jawOpen": 0.7, "tongueOut": 0.9}, {"jawOpen": 0.9, "tongueOut": 0.4}, {"jawOpen": 0.8}),
    "EXP-8-jaw-1": ({"jawOpen": 0.5}, {"jawOpen": 1.0}, {"jawForward": 1.0}, {"jawOpen": 0.5, "mouthClose": 0.5}),
    "EXP-9-jaw-2": ({"jawLeft": 1.0}, {"jawRight": 1.0}, {"jawLeft": 0.7, "jawOpen": 0.4}, {"jawOpen": 0.7}),
    "EMO-1": (
        {"mouthSmile*": 0.9, "cheekSquint*": 0.7, "eyeSquint*": 0.5},
        {"mouthSmile*": 0.8, "jawOpen": 0.6, "cheekSquint*": 0.8, "mouthUpperUp*": 0.4},
        {"jawOpen": 0.7, "browInnerUp": 0.8, "browOuterUp*": 0.8, "eyeWide*": 0.9},
    ),
    "EMO-2": (
        {"browDown*": 0.9, "noseSneer*": 0.7, "mouthPress*": 0.6, "eyeSquint*": 0.4},
        {"mouthFrown*": 0.9, "browInnerUp": 0.8, "mouthShrugLower": 0.6},
        {"noseSneer*": 0.8, "mouthUpperUp*": 0.7, "browDown*": 0.5, "jawOpen": 0.25},
    ),
}
WALKS: tuple[tuple[Unit, Unit | None, float], ...] = (
    ({"jawOpen": 0.85}, None, 0.5),
    ({"mouthSmile*": 0.9, "cheekSquint*": 0.4}, {"mouthFrown*": 0.8}, 0.5),
    ({"mouthPucker": 0.8}, {"mouthStretch*": 0.7}, 0.35),
    ({"mouthFunnel": 0.7}, {"mouthDimple*": 0.6}, 0.3),
    ({"browInnerUp": 0.9, "browOuterUp*": 0.6}, {"browDown*": 0.9}, 0.5),
    ({"eyeBlink*": 1.0}, {"eyeWide*": 0.7}, 0.45),
    ({"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9}, {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9}, 0.5),
    ({"eyeLookUp*": 0.8}, {"eyeLookDown*": 0.8}, 0.4),
    ({"mouthLeft": 0.7}, {"mouthRight": 0.7}, 0.3),
    ({"jawLeft": 0.6}, {"jawRight": 0.6}, 0.25),
    ({"noseSneer*": 0.8}, {"mouthUpperUp*": 0.7}, 0.3),
    ({"mouthShrugLower": 0.6}, {"mouthLowerDown*": 0.7}, 0.3),
    ({"eyeSquint*": 0.7}, {"cheekPuff": 0.8}, 0.3),
    ({"mouthSmileLeft": 0.5}, {"mouthSmileRight": 0.5}, 0.25),
)
"""Of FREE: what a walk moves above and below 0, and how often it is away from there."""


@dataclass(frozen=True)
class Motion:
    """T frames of one sequence, as they are."""

    arkit: Float[ndarray, "T 52"]
    rotation: Float[ndarray, "T 3 3"]
    translation: Float[ndarray, "T 3"]
    """In the world: x_W = rotation · x_H + translation."""


def motion(sequence: str, frames: int, seed: int) -> Motion:
    """The first frame of every sequence but FREE is neutral and straight."""
    generator = np.random.default_rng([seed, zlib.crc32(sequence.encode())])
    if sequence == "FREE":
        arkit = _free(frames, generator)
        turns = np.stack([_walk(frames, 1.5, generator) for _ in range(3)], 1) * (YAW, PITCH, ROLL)
    else:
        arkit = _sweep(SWEEPS[sequence], frames)
        t = np.linspace(0, 1, frames)
        if sequence == "EXP-1-head":
            turns = np.stack([YAW * np.sin(2 * np.pi * t), PITCH * np.sin(4 * np.pi * t), 0 * t], 1)
        else:
            turns = np.stack([_walk(frames, 1.0, generator) * np.minimum(4 * t, 1) for _ in range(3)], 1) * (9, 5, 3)
    rotation = np.stack([head_rotation(*turn) for turn in turns])
    wander = np.stack([_walk(frames, 1.0, generator) for _ in range(3)], 1) * 0.008
    translation = np.array(HEAD) + PIVOT - rotation @ PIVOT + wander
    return Motion(arkit, rotation, translation)


def head_rotation(yaw: float, pitch: float, roll: float) -> Float[ndarray, "3 3"]:
    """Ry Rx Rz of degrees: yaw > 0 turns the nose to the subject's left, pitch > 0 lowers it."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    return (
        np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    )


def coefficients(unit: Unit) -> Float[ndarray, "52"]:
    """Of one movement, in the order of ARKIT."""
    out = np.zeros(len(ARKIT))
    for name, amount in unit.items():
        sides = (name[:-1] + "Left", name[:-1] + "Right") if name.endswith("*") else (name,)
        for side in sides:
            out[ARKIT.index(side)] = amount
    return out


def _sweep(units: tuple[Unit, ...], frames: int) -> Float[ndarray, "T 52"]:
    """One movement after the other; where there are fewer frames than movements, several at a time."""
    t, step = np.linspace(0, 1, frames), 1 / len(units)
    out = np.zeros((frames, len(ARKIT)))
    for k, unit in enumerate(units):
        reach = max(step, 0.75 / max(frames - 1, 1))
        out += (0.5 + 0.5 * np.cos(np.pi * np.clip((t - (k + 1) * step) / reach, -1, 1)))[:, None] * coefficients(unit)
    out[0] = 0
    return out.clip(0, 1)


def _free(frames: int, generator: np.random.Generator) -> Float[ndarray, "T 52"]:
    """Smooth walks of movements that no training sequence makes together."""
    out = np.zeros((frames, len(ARKIT)))
    for above, below, active in WALKS:
        walk = _walk(frames, 2.0 + generator.uniform(0, 1.5), generator)
        gate = np.clip((np.abs(walk) - 1 + active) / (0.8 * active), 0, 1)
        out += (gate * (walk > 0))[:, None] * coefficients(above)
        if below is not None:
            out += (gate * (walk < 0))[:, None] * coefficients(below)
    return out.clip(0, 0.9)


def _walk(frames: int, cycles: float, generator: np.random.Generator) -> Float[ndarray, "T"]:
    """Smooth, in [-1, 1]."""
    t = np.linspace(0, 1, frames)
    parts = [math.sqrt(1 / k) * np.sin(2 * np.pi * (cycles * k * t + generator.uniform())) for k in (0.6, 1.0, 1.7)]
    return np.tanh(0.9 * np.sum(parts, axis=0))
