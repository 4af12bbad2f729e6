"""Exceptions of gdjax.

Every message names the problem, the value and a remedy. Numerical failure is not an error: a
diverged run is returned with its outcome (see `gdjax.descent.outcome`).
"""

from typing import Any


class GdjaxError(Exception):
    """Base class of all errors that gdjax raises.

    The `gdjax` command prints the message and exits with status 2.
    """


class InputError(GdjaxError, ValueError):
    """Invalid argument."""


class DataError(GdjaxError):
    """Data set unavailable: unknown, damaged or not reachable."""


class StoreError(GdjaxError):
    """Store that is damaged, in use, or belongs to another sweep.

    The message is one line, in which `printable` escapes control characters of the store's text.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: Any) -> str:
    r"""Return text with escaped control characters, safe to print to a terminal.

    Examples:
        >>> printable("cost\x1b[2J\n")
        'cost\\x1b[2J\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
