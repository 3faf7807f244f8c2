"""The errors that a user can act on. The command line prints them in one line, without a traceback."""


class InputError(ValueError):
    """Bad input: names the file or value, what is wrong with it and what would be right. Exit code 2."""


class MissingPart(RuntimeError):
    """Weights or an optional library that were asked for are absent: names the extra or folder. Exit code 3."""


def in_words(error: BaseException) -> str:
    """The one line that a person is shown: of an error that the system reports, the file and what happened to it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    known = isinstance(error, InputError | MissingPart | FloatingPointError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"
