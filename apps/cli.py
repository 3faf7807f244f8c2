"""The program `gs-reg`: finds the command, parses its flags, turns errors into one line and an exit code.

torch takes seconds to import, so everything that imports it is imported only once a command needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from .streams import discard, open_standard_streams

T = TypeVar("T")

HELP = ("-h", "--help", "--help-all")
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_MISSING_PART = 1, 2, 3


@dataclass(frozen=True)
class Command:
    module: str
    """Name of a CommandModule inside gs_reg.apps."""
    help: str


@runtime_checkable
class CommandModule(Protocol):
    Config: type
    """Dataclass of the command's flags; the doc string below a field is its --help."""

    def main(self, config: Any, /) -> int:
        """Runs the command with a Config and returns the exit code."""
        ...


GROUPS = {
    "scenes": {
        "reconstruct": Command(
            "scenes.reconstruct", "Gaussians from 2 to 9 photos: poses, depth, training, evaluation, report."
        ),
        "eval": Command("scenes.evaluate", "Measure a run again from its splats.ply and the held-out photos."),
        "sweep": Command("batch.sweep", "Scenes x variants x seeds of reconstruct, and one table of their figures."),
        "demo avatar": Command("avatar.demo", "A synthetic head captured, its avatar trained and driven; no download."),
        "demo edit": Command("edit.demo", "A part of an object changed by words, without any download."),
        "demo": Command("scenes.demo", "The main job on real photos that need no download (Middlebury stereo pair)."),
    },
    "look and share": {
        "view": Command("view.command", "A run or any splat file in the browser: look, compare, clean, film."),
        "render": Command("look.render", "Pictures or a camera-path video of a run."),
        "export": Command("look.export", "Write a run's splats, or any splat file, in another format."),
        "convert": Command("look.convert", "One splat file to another, by the endings of their names."),
        "clean": Command("look.clean", "Remove floaters, unseen splats and what lies outside of a box."),
    },
    "data": {
        "data inspect": Command("data.inspect", "What a folder of photos is, its cameras, split and faults."),
    },
    "avatars": {
        "avatar synth": Command("avatar.synth", "A synthetic multi-view capture of a head, with codes and the truth."),
        "avatar check": Command("avatar.check", "Whether cameras, masks, codes and poses of a capture fit together."),
        "avatar track": Command("avatar.track", "Codes and head poses of a capture, by landmarks in its views."),
        "avatar train": Command("avatar.train", "A drivable avatar of a capture: fields, Gaussians, figures, report."),
        "avatar calibrate": Command("avatar.calibrate", "Curves of one person, from a video, for driving by others."),
        "avatar drive": Command("avatar.drive", "A video of an avatar, driven by codes, a table or a video of a face."),
        "avatar export": Command("avatar.export", "Posed .ply files of an avatar, or a bake for real-time players."),
        "avatar bench": Command(
            "avatar.bench.command", "The method against its rivals and without its parts, on a synthetic head."
        ),
    },
    "edits": {
        "edit parts": Command("edit.parts", "Find the parts of an object: masks, labels and a preview; no edit."),
        "edit run": Command("edit.run", "Change one part by text or by pictures of yours; all else keeps every byte."),
        "edit views": Command("edit.views", "Pictures and masks of the anchors, for editing by hand."),
        "edit bench": Command(
            "edit.bench.command", "Parts and edits of procedural objects, measured against the truth."
        ),
        "edit undo": Command("edit.undo", "The splats as they were before an edit, byte for byte."),
        "teacher data": Command("teacher.data", "Pictures of procedural objects with named parts, for the teacher."),
        "teacher train": Command(
            "teacher.train", "Train the small SD3-class teacher in slices; goes on where it ended."
        ),
        "teacher check": Command("teacher.check", "Figures of a teacher on shapes that it never saw, and its card."),
    },
    "many jobs": {
        "batch run": Command("batch.run", "All jobs of a file, here, on a Ray cluster or under Slurm; nothing twice."),
        "batch status": Command("batch.status", "How the jobs of a batch stand."),
        "batch resume": Command("batch.resume", "Go on with a batch after an interrupt, a crash or a full disk."),
        "batch retry": Command("batch.retry", "Try the jobs again that have failed or were cancelled."),
        "batch report": Command("batch.report", "The page of a batch, and its table as .csv."),
        "batch cancel": Command("batch.cancel", "Let jobs of a batch save and end, and begin no more of them."),
    },
    "service": {
        "doctor": Command("service.doctor", "What this machine can do, and how to mend what it cannot."),
        "bench cpu": Command("bench.cpu", "Time the CPU rasterizer by stage, beside bare loops and plain scalar code."),
        "bench ops": Command("bench.operators", "Time the operators around the rasterizer beside the libraries' own."),
        "bench avatar": Command(
            "bench.avatar", "Time fields, Laplacian, a step and a driven frame of avatars, beside torch and pytorch3d."
        ),
        "bench edit": Command(
            "bench.edit", "Time the fits of part labels and the steps of an edit, beside what they may take."
        ),
        "bench view": Command(
            "bench.view", "Time the viewer: a million splats opened, pictures while moving, a fit looked at."
        ),
        "version": Command("service.version", "Version of gs-reg and of what it runs on."),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


FAMILIES = {name.split()[0] for name in COMMANDS if " " in name} - COMMANDS.keys()
"""First words of commands that have two, and that are no command by themselves."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code, one of those that print_help() lists."""
    open_standard_streams()
    try:
        code = _answer(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # so that a closed pipe is an error here and not when Python exits
        return code
    except BrokenPipeError:
        discard(sys.stdout)
        return EXIT_FAILED
    except OSError as error:
        from gs_reg.errors import in_words

        return _fail(in_words(error), EXIT_BAD_INPUT)


def _answer(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print_help()
        return 0
    if argv[0] == "--version":
        argv[0] = "version"
    name = " ".join(argv[:2]) if " ".join(argv[:2]) in COMMANDS else argv[0]
    if name in FAMILIES:
        return _family(name, argv[1:])
    if name not in COMMANDS:
        return _unknown(name)
    return run(name, argv[len(name.split()) :])


def run(name: str, argv: list[str]) -> int:
    """Parses the flags of a command and runs it; an error is printed as one line on stderr."""
    from gs_reg.errors import InputError, MissingPart, in_words

    from .runs.interrupts import end_with_parent, exit_code, keep_handlers, signals_handled
    from .runs.progress import console_logging
    from .startup import configure_process

    end_with_parent()
    keep_handlers()
    arguments, level = _verbosity(argv)
    with console_logging(level):
        try:
            with signals_handled():
                os.getcwd()
                configure_process()
                return _run(name, arguments)
        except BrokenPipeError:
            raise  # main() ends quietly
        except (InputError, OSError) as error:
            return _fail(_without_folder(error) or in_words(error), EXIT_BAD_INPUT)
        except MissingPart as error:
            return _fail(in_words(error), EXIT_MISSING_PART)
        except FloatingPointError as error:
            return _fail(in_words(error), EXIT_FAILED)
        except KeyboardInterrupt as error:
            return _fail(f"interrupted{f'; {error}' if str(error) else ''}", exit_code(error))
        except Exception as error:
            if level == logging.DEBUG:
                raise
            first_line = (in_words(error).splitlines() or [""])[0][:300]
            return _fail(f"a fault of gs-reg: {first_line}; -v shows where it happened", EXIT_FAILED)


def _run(name: str, argv: list[str]) -> int:
    if any(word in HELP for word in argv):
        return _print_help_of(name, argv)
    module = _module(name)
    return module.main(_parse(name, module.Config, argv))


def _without_folder(error: BaseException) -> str | None:
    """What to say where the working folder was deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working folder was deleted: change to another one"
    return None


def _print_help_of(name: str, argv: list[str]) -> int:
    """Prints the flags of a command, with the values of the preset or file that the other words name.

    `--help` prints the flags that the Config calls usual, where it does. tyro ends the program with SystemExit once it
    has printed a page.
    """
    from .mock_imports import without_torch
    from .runs.config_file import default_from
    from .short_help import count_of, with_flags

    try:
        with without_torch():
            kind: Any = _module(name).Config
            default, more = default_from(kind, argv), ""
            if isinstance(kind, type) and hasattr(kind, "USUAL"):
                default = (default or kind()).for_help()
                if "--help-all" not in argv:
                    more = f" --help-all: the other {count_of(kind) - len(kind.USUAL)} flags."
                    default = with_flags(default, set(kind.USUAL))
            _tyro(name, type(default) if default is not None else kind, ["--help"], default, more)
            return 0
    finally:
        sys.stdout.flush()


def _module(name: str) -> CommandModule:
    return cast(CommandModule, importlib.import_module(f".{COMMANDS[name].module}", __package__))


def _verbosity(argv: list[str]) -> tuple[list[str], int]:
    """The arguments without -v and -q, which every command takes, and the log level that these ask for."""
    levels = {"-q": logging.WARNING, "--quiet": logging.WARNING, "-v": logging.DEBUG, "--verbose": logging.DEBUG}
    asked = [levels[word] for word in argv if word in levels]
    return [word for word in argv if word not in levels], asked[-1] if asked else logging.INFO


def _tyro(name: str, kind: type[T], argv: list[str], default: T | None, more: str = "") -> T:
    """The flags as a config; what is wrong with them is printed, as is a help page, and raises SystemExit."""
    import tyro

    from .flag_values import registry

    return tyro.cli(
        kind,
        args=argv,
        prog=f"gs-reg {name}",
        description=f"{COMMANDS[name].help} -q: no progress, -v: more of it, on every command.{more}",
        default=tyro.MISSING_NONPROP if default is None else default,  # what stands for the defaults of Config
        registry=registry(),
    )


def _parse(name: str, kind: type[T], argv: list[str]) -> T:
    """The flags as the Config of the command; with --resume, all others are those in config.yaml of that run."""
    from .flag_values import refusal
    from .runs.bounds import check_numbers
    from .runs.config_file import default_from
    from .runs.overridden import check_typed
    from .runs.resume import Resumable, stored_config

    def checked(default: T | None) -> T:
        """A value that cannot be is one line, as our other errors are, where tyro would draw a box around it."""
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                return _tyro(name, kind, argv, default)
        except SystemExit as end:
            if (refused := refusal(end, kind, argv)) is not None:
                raise refused from None
        return _tyro(name, kind, argv, default)  # a wrong flag, which tyro prints

    config = checked(default_from(kind, argv))
    check_typed(config, argv)
    config = checked(stored_config(config)) if isinstance(config, Resumable) and config.resume else config
    check_numbers(config)
    return config


def _fail(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"gs-reg: {text}", file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            discard(stream)
    return code


def _unknown(name: str) -> int:
    from gs_reg.errors import did_you_mean

    hint = did_you_mean(name, COMMANDS, "; `gs-reg --help` lists the commands")
    return _fail(f"no command {name!r}{hint}", EXIT_BAD_INPUT)


def _family(word: str, argv: list[str]) -> int:
    """Lists the commands that begin with the word, on stdout where it stands alone, else behind an error."""
    names = [name for name in COMMANDS if name.split()[0] == word]
    if argv and argv[0] not in HELP:
        from gs_reg.errors import did_you_mean

        hint = did_you_mean(f"{word} {argv[0]}", names, f"; there is {', '.join(names)}")
        return _fail(f"no command {f'{word} {argv[0]}'!r}{hint}", EXIT_BAD_INPUT)
    print(f"usage: gs-reg {word} COMMAND [flags]   (gs-reg {word} COMMAND --help for its flags)\n")
    _print_commands({name: COMMANDS[name] for name in names})
    return 0


def _print_commands(commands: Mapping[str, Command]) -> None:
    width = max(map(len, COMMANDS))
    for name, command in commands.items():
        print(f"  {name:<{width}}  {command.help}")


def print_help() -> None:
    """Prints every command with one line about it; each command has its own --help."""
    print(
        "gs-reg: regularised 3D Gaussian splatting, on the CPU or a GPU.\n\n"
        "usage: gs-reg COMMAND [flags]   (gs-reg COMMAND --help for its flags)"
    )
    for group, commands in GROUPS.items():
        print(f"\n{group}")
        _print_commands(commands)
    print(
        "\nexit codes: 0 done, 1 some jobs failed, 2 bad input, 3 a part is missing, 130 interrupted (state saved;\n"
        "  143 by SIGTERM, 129 by SIGHUP)"
    )
