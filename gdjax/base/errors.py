"""Exceptions of gdjax.

Every message names the problem, the value and a remedy. Numerical failure is not an error: a
diverged run is returned with its outcome (see `gdjax.descent.outcome`).
"""

import contextlib
import inspect
import os
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any


class GdjaxError(Exception):
    """Base class of all errors that gdjax raises.

    The `gdjax` command prints the message and exits with status 2.
    """


class InputError(GdjaxError, ValueError):
    """Invalid argument, with a message of one line."""

    def __init__(self, message: str):
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))


class DataError(GdjaxError):
    """Data set unavailable: unknown, damaged or not reachable."""


class StoreError(GdjaxError):
    """Store that is damaged, in use, or written by a different sweep.

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


# Errors of a device or the system, which are not caused by the user-defined function that is
# traced.
OF_SYSTEM = (RuntimeError, MemoryError, FloatingPointError, OSError, Warning)

# Names of the errors that JAX raises if the Python code of a traced function depends on array
# values.
OF_TRACERS = {
    "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
    "TracerArrayConversionError",
    "TracerIntegerConversionError",
}

REMEDY_FOR_TRACERS = (
    "expected a function that JAX can trace, in which the values of arrays are unknown: use "
    "jax.numpy for numpy, jnp.where for if and for masks, and no float() or int() of an array"
)

# Folders whose lines are not those of a user: gdjax, the standard library and other packages.
SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")  # the latter of Debian
LIBRARIES = (
    f"{Path(__file__).parents[1]}{os.sep}",
    f"{sysconfig.get_path('stdlib')}{os.sep}",
    *SITES,
)


def is_of_user(file: str) -> bool:
    """Return whether a file of Python code is part of the user's program."""
    return not any(folder in file for folder in LIBRARIES)


def warn(message: str) -> None:
    """Issue a warning at the line of the user's program that called gdjax."""
    lines = traceback.extract_stack()[:-1]
    depth = next((n for n, line in enumerate(reversed(lines)) if is_of_user(line.filename)), 0)
    warnings.warn(message, stacklevel=depth + 2)


@contextlib.contextmanager
def explained(
    failure: str,
    remedy: str | Callable[[Exception], str],
    function: Callable | None = None,
    *,
    unchanged: tuple[type[Exception], ...] = OF_SYSTEM,
) -> Generator[None]:
    """Convert an error of a user-defined function to a one-line `InputError`.

    The message names the line at which the function failed, or else where it is defined.

    Args:
        failure: name of the function, and the operation that failed.
        remedy: description of valid input, and advice; or a function of the error that returns it.
        function: the function, whose definition is named if it was not even entered.
        unchanged: kinds of errors that are raised unchanged, as those of gdjax are. Among them,
            NotImplementedError is converted.

    Examples:
        >>> with explained("cost: failed", "expected a function of w"):
        ...     {}["weights"]
        Traceback (most recent call last):
        gdjax.base.errors.InputError: cost: failed: KeyError: 'weights' ...; expected a function ...
    """
    try:
        yield
    except GdjaxError:
        raise
    except Exception as error:
        if isinstance(error, unchanged) and not isinstance(error, NotImplementedError):
            raise
        if OF_TRACERS.isdisjoint(kind.__name__ for kind in type(error).__mro__):
            text = (str(error).strip().splitlines() or [""])[0]
            reason = f"{type(error).__name__}: {text:.300}".rstrip(" .:")
            advice = remedy if isinstance(remedy, str) else remedy(error)
        else:
            reason, advice = type(error).__name__, REMEDY_FOR_TRACERS
        raise InputError(f"{failure}: {reason}{_place(error, function)}; {advice}") from error


def _place(error, function):
    """Return the line of a user's code at which an error occurred, or else its definition."""
    lines = [
        line for line in traceback.extract_tb(error.__traceback__) if is_of_user(line.filename)
    ]
    if lines:
        return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno}, in {lines[-1].name})"
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None or not is_of_user(code.co_filename):
        return ""
    file = Path(code.co_filename).name
    return f" ({code.co_name} is defined in {file}, line {code.co_firstlineno})"
