"""What can go wrong, as one family of exceptions.

Every message says what was wrong, with which value, and what to do. Numerical failure is not an
error: a run that diverges comes back with its outcome (see `gdjax.descent.outcome`).
"""

from typing import Any


class GdjaxError(Exception):
    """Base of all errors that gdjax raises itself; the command line prints it and exits with 2."""


class InputError(GdjaxError, ValueError):
    """An argument has a value that cannot work."""


class DataError(GdjaxError):
    """A data set cannot be had: unknown, damaged, or out of reach."""


class StoreError(GdjaxError):
    """A store is damaged, in use, or belongs to another sweep.

    Its message is one line: what a stranger's store says is quoted by `printable`.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: Any) -> str:
    r"""Text that does nothing to a terminal: control characters are written as escapes.

    Examples:
        >>> printable("cost\x1b[2J\n")
        'cost\\x1b[2J\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
