"""The program `gs-reg`: finds the command, reads its flags, turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import dataclass

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_MISSING_PART, EXIT_INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True)
class Command:
    module: str
    """Module of gs_reg.apps with a dataclass `Config` and `main(config) -> int`."""
    help: str


GROUPS = {
    "scenes": {
        "reconstruct": Command(
            "scenes.reconstruct", "Gaussians from 2 to 9 photos: poses, depth, training, evaluation, report."
        ),
        "eval": Command("scenes.evaluate", "Measure a run again from its splats.ply and the held-out photos."),
        "sweep": Command("batch.sweep", "Scenes x variants x seeds of reconstruct, and one table of their figures."),
        "demo": Command("scenes.demo", "The main job on real photos that need no download (Middlebury stereo pair)."),
    },
    "look and share": {
        "render": Command("look.render", "Pictures or a camera-path video of a run."),
        "export": Command("look.export", "Write a run's splats, or any splat file, in another format."),
    },
    "data": {
        "data inspect": Command("data.inspect", "What a folder of photos is, its cameras, split and faults."),
    },
    "service": {
        "doctor": Command("service.doctor", "What this machine can do, and how to mend what it cannot."),
        "bench cpu": Command("bench.cpu", "Time the CPU rasterizer by stage, beside bare loops and plain scalar code."),
        "bench ops": Command("bench.operators", "Time the operators around the rasterizer beside the libraries' own."),
        "version": Command("service.version", "Version of gs-reg and of what it runs on."),
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
    from gs_reg.errors import InputError, MissingPart, in_words

    from .runs.progress import talking
    from .startup import settle

    help_asked = any(word in ("-h", "--help") for word in argv)
    argv, level = _verbosity(argv)
    settle()
    with talking(level):
        try:
            if help_asked:
                return _print_help_of(name)
            module = _module(name)
            code = module.main(_parse(name, module, argv))
            sys.stdout.flush()  # a closed pipe must show here, not when Python ends
            return code
        except BrokenPipeError:
            return _closed_pipe()
        except (InputError, OSError) as error:
            return _fail(in_words(error), EXIT_BAD_INPUT)
        except MissingPart as error:
            return _fail(in_words(error), EXIT_MISSING_PART)
        except FloatingPointError as error:
            return _fail(in_words(error), EXIT_FAILED)
        except KeyboardInterrupt as error:
            return _fail(f"interrupted{f'; {error}' if str(error) else ''}", EXIT_INTERRUPTED)


def _print_help_of(name: str) -> int:
    from .mock_imports import without_torch

    try:
        with without_torch():
            return _parse(name, _module(name), ["--help"])
    finally:
        sys.stdout.flush()


def _module(name: str):
    return importlib.import_module(f".{COMMANDS[name].module}", __package__)


def _verbosity(argv: list[str]) -> tuple[list[str], int]:
    """The other words, and the level from which on messages are shown; -v and -q go with every command."""
    levels = {"-q": logging.WARNING, "--quiet": logging.WARNING, "-v": logging.DEBUG, "--verbose": logging.DEBUG}
    asked = [levels[word] for word in argv if word in levels]
    return [word for word in argv if word not in levels], asked[-1] if asked else logging.INFO


def _parse(name: str, module, argv: list[str]):
    """The flags as the command's dataclass; where it can resume, the run's own config.yaml stands behind them."""
    import tyro

    from .runs.config_file import default_from
    from .runs.resume import stored_config

    def parsed(default):
        return tyro.cli(
            module.Config,
            args=argv,
            prog=f"gs-reg {name}",
            description=f"{COMMANDS[name].help} -q: no progress, -v: more of it, on every command.",
            default=default,
        )

    config = parsed(default_from(module.Config, argv))
    return parsed(stored_config(config)) if getattr(config, "resume", False) else config


def _closed_pipe() -> int:
    """`gs-reg ... | head` closed our stdout; Python would complain once more when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def _fail(text: str, code: int) -> int:
    print(f"gs-reg: {text}", file=sys.stderr)
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
