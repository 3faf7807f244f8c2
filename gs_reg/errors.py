"""Errors that a user can act on. The command line prints them in one line, without a traceback."""


class InputError(ValueError):
    """Bad input; the text names the file or value, what is wrong and what would be right. Exit code 2."""


class MissingPart(RuntimeError):
    """Missing weights or optional library; the text names the extra to install or the folder. Exit code 3."""


def in_words(error: BaseException) -> str:
    """The error in one line, for people: without its type where the text is ours, and with the file for OSErrors."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    known = isinstance(error, InputError | MissingPart | FloatingPointError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"
