"""Which numbers a port may have."""

from __future__ import annotations

from gs_reg.errors import InputError

LAST = 65_535


def check_port(flag: str, port: int | None) -> None:
    """Raises InputError where a flag names a port that cannot be; None is one that is yet to be found."""
    if port is not None and not 1 <= port <= LAST:
        raise InputError(f"{flag}: expected 1 to {LAST}, got {port}")
