"""The errors that a user can act on. The command line prints them in one line, without a traceback."""


class InputError(ValueError):
    """Bad input: names the file or value, what is wrong with it and what would be right. Exit code 2."""


class MissingPart(RuntimeError):
    """Weights or an optional library that were asked for are absent: names the extra or folder. Exit code 3."""
