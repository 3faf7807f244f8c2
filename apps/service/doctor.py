"""`gs-reg doctor`: checks of this machine and installation, one line each, and how to fix what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from . import backends, packages, system
from .check import Check

CHECKS: tuple[Callable[[], Check], ...] = (
    system.check_python,
    backends.check_torch,
    backends.check_cuda,
    backends.check_native,
    backends.check_native_cuda,
    backends.check_gsplat_kernels,
    system.check_cxx,
    system.check_nvcc,
    system.check_processor,
    system.check_memory,
    system.check_disk,
    packages.check_opencv,
)
REQUIRED = (system.check_python, backends.check_torch, backends.check_native, packages.check_opencv)
"""Where one of these raises, something required is broken."""


@dataclass(frozen=True)
class Config:
    json: bool = False
    """Print the checks as JSON on stdout."""


def main(config: Config) -> int:
    if config.json:
        found = checks()
        print(json.dumps([asdict(check) for check in found], indent=2))
        return exit_code(found)
    return print_doctor()


def exit_code(found: list[Check]) -> int:
    return int(any(check.required and not check.ok for check in found))


def print_doctor() -> int:
    """Prints all checks as a table; returns 0, or 1 where something required is broken."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = checks()
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(width=4)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found:
        table.add_row(_mark(check), check.name, escape(check.detail))
        if check.fix:
            table.add_row("", "", f"[dim]{'to get it:' if check.absent else 'fix:'}[/] {escape(check.fix)}")
    console = Console()
    console.print(table)
    code = exit_code(found)
    console.print(escape(verdict(found)))
    return code


def _mark(check: Check) -> str:
    if check.absent:
        return "[dim]-[/]"
    return "[green]ok[/]" if check.ok else "[red]BAD[/]" if check.required else "[yellow]warn[/]"


def verdict(found: list[Check]) -> str:
    """One line for all checks."""
    broken = [check.name for check in found if not check.ok]
    if exit_code(found):
        return f"something required is broken: {', '.join(broken)}"
    if broken:
        return f"gs-reg can run here, but look at: {', '.join(broken)}"
    absent = sum(check.absent and not check.machine for check in found)
    parts = "1 optional part is" if absent == 1 else f"{absent} optional parts are"
    return "healthy" + (f"; {parts} not installed" if absent else "")


def checks() -> list[Check]:
    """The results of all checks; a check that raises has failed."""
    return [_run(check) for check in CHECKS] + packages.check_optional_packages()


def _run(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        name = check.__name__.removeprefix("check_")
        return Check(name, False, f"{type(error).__name__}: {error}", required=check in REQUIRED)
