"""The program `gs-reg`: finds the command, reads its flags, turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

EXIT_BAD_INPUT, EXIT_MISSING_PART, EXIT_INTERRUPTED = 2, 3, 130


@dataclass(frozen=True)
class Command:
    module: str
    """Module of gs_reg.apps with a dataclass `Config` and `main(config) -> int`."""
    help: str


GROUPS = {
    "scenes": {
        "reconstruct": Command(
            "reconstruct", "Gaussians from 2 to 9 photos: poses, depth, training, evaluation, report."
        ),
        "eval": Command("evaluate", "Measure a run again from its splats.ply and the held-out photos."),
        "demo": Command("demo", "The main job on real photos that need no download (Middlebury stereo pair)."),
    },
    "look and share": {
        "render": Command("draw", "Pictures or a camera-path video of a run."),
        "export": Command("export", "Write a run's splats, or any splat file, in another format."),
    },
    "data": {
        "data inspect": Command("inspect", "What a folder of photos is, its cameras, split and faults."),
    },
    "service": {
        "doctor": Command("doctor", "What this machine can do, and how to mend what it cannot."),
        "version": Command("version", "Version of gs-reg and of what it runs on."),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0 done, 1 some jobs failed, 2 bad input, 3 a part is missing, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print_help()
        return 0
    if argv[0] == "--version":
        argv[0] = "version"
    name = " ".join(argv[:2]) if " ".join(argv[:2]) in COMMANDS else argv[0]
    if name not in COMMANDS:
        return _unknown(name)
    return run(name, argv[len(name.split()) :])


def run(name: str, argv: list[str]) -> int:
    """Reads the flags of a command and runs it; its errors come out as one line on stderr."""
    from gs_reg.errors import InputError, MissingPart

    module = importlib.import_module(f".{COMMANDS[name].module}", __package__)
    try:
        return module.main(_parse(name, module.Config, argv))
    except InputError as error:
        return _fail(error, EXIT_BAD_INPUT)
    except MissingPart as error:
        return _fail(error, EXIT_MISSING_PART)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)


def _parse(name: str, config: type, argv: list[str]):
    import tyro

    from .config_file import default_from

    return tyro.cli(
        config,
        args=argv,
        prog=f"gs-reg {name}",
        description=COMMANDS[name].help,
        default=default_from(config, argv),
    )


def _fail(error: object, code: int) -> int:
    print(f"gs-reg: {error}", file=sys.stderr)
    return code


def _unknown(name: str) -> int:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; `gs-reg --help` lists the commands"
    return _fail(f"no command {name!r}{hint}", EXIT_BAD_INPUT)


def print_help() -> None:
    """One screen: every command with one line; each has its own --help."""
    print(
        "gs-reg: regularised 3D Gaussian splatting, on the CPU or a GPU.\n\n"
        "usage: gs-reg COMMAND [flags]   (gs-reg COMMAND --help for its flags)"
    )
    width = max(map(len, COMMANDS))
    for group, commands in GROUPS.items():
        print(f"\n{group}")
        for name, command in commands.items():
            print(f"  {name:<{width}}  {command.help}")
    print("\nexit codes: 0 done, 1 some jobs failed, 2 bad input, 3 a part is missing, 130 interrupted (state saved)")
