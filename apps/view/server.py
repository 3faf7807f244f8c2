"""Where the viewer listens: this machine alone, unless the user asks for more."""

from __future__ import annotations

import errno
import getpass
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gs_reg.errors import InputError

from ..runs.progress import log, say
from .compat import start_server, stop_server
from .ports import check_port

if TYPE_CHECKING:
    from viser import ViserServer

FIRST_PORT, PORTS = 8080, 100
"""Without --port the first free one of so many."""


@dataclass(frozen=True)
class Address:
    host: str = "127.0.0.1"
    """Address to listen on; any but one of this machine alone needs --allow-remote."""
    port: int | None = None
    """Exactly this port; None = the first free one from 8080 on."""
    allow_remote: bool = False
    """Let other machines connect. Whoever reaches the port can look, and write files into --out: no password."""


@contextmanager
def served(
    address: Address, title: str, flag: str = "--port", end: str = "Ctrl-C ends the viewer"
) -> Iterator[ViserServer]:
    """A server for the block, whose address is said; `flag` is how the user names a port.

    Raises:
        InputError: an address of other machines without --allow-remote, one that is not ours, a port that
            cannot be, or no free one.
    """
    local = _is_local(address.host)
    if not local and not address.allow_remote:
        raise InputError(
            f"--host {address.host}: other machines could connect; add --allow-remote if they may, or use ssh -L"
        )
    check_port(flag, address.port)
    port = _free_port(address.host, address.port, flag)
    server = start_server(address.host, port, title, local=local)
    try:
        if address.port is not None and server.get_port() != address.port:
            raise InputError(_taken(address.port, flag))
        _announce(address.host, server.get_port(), local, end)
        yield server
    finally:
        stop_server(server)


def _announce(host: str, port: int, local: bool, end: str) -> None:
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    say(f"open http://{shown}:{port}   ({end})")
    if local:
        say(
            f"from another machine: ssh -L {port}:{shown}:{port} {getpass.getuser()}@{socket.gethostname()}   "
            f"and there open http://127.0.0.1:{port}"
        )
    else:
        log.warning("every machine that reaches %s can use this viewer, and there is no password", host)


def _is_local(host: str) -> bool:
    """Raises InputError: no such host."""
    return all(ipaddress.ip_address(found[4][0]).is_loopback for found in _addresses(host, 0))


def _addresses(host: str, port: int) -> list:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InputError(f"--host {host}: no such address ({error.strerror})") from error


def _free_port(host: str, exact: int | None, flag: str) -> int:
    """The port, or the first free one; tried here, as viser tries a thousand whatever the reason, and then hangs."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS) if exact is None else [exact]:
        if _can_listen(host, port, flag):
            return port
    last = FIRST_PORT + PORTS - 1
    none_free = f"no free port from {FIRST_PORT} to {last}: name one with {flag}"
    raise InputError(none_free if exact is None else _taken(exact, flag))


def _can_listen(host: str, port: int, flag: str) -> bool:
    family, kind, protocol, _, where = _addresses(host, port)[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(where)
            trial.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise InputError(f"--host {host} {flag} {port}: cannot listen there: {error.strerror}") from error
    return True


def _taken(port: int, flag: str) -> str:
    return f"{flag} {port}: in use by another program; name another, or none for the next free one"
