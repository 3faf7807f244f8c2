"""`gs-reg version`: versions of gs-reg and of what it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from ..runs.folder import versions


@dataclass(frozen=True)
class Config:
    pass


def main(_config: Config) -> int:
    for name, value in versions().items():
        print(f"{name:<9} {value or '-'}")
    return 0
