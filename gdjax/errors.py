"""Exceptions of gdjax.

Every message names the problem, the value and a remedy. Numerical failure is not an error: a
diverged run is returned with its outcome (see `gdjax.descent.outcome`).
"""

import contextlib
from collections.abc import Generator
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


def first_line(error: Exception) -> str:
    """Return the class and first line of an error; only the class for tracer errors."""
    if _is_of_tracers(error):
        return type(error).__name__
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text:.300}".rstrip(" .:")


def remedy_for(error: Exception, otherwise: str) -> str:
    """Return advice on an error of a user-defined function.

    Args:
        error: the error.
        otherwise: text for errors that are not caused by Python code that depends on array values.
    """
    if not _is_of_tracers(error):
        return otherwise
    return (
        "expected a function that JAX can trace, in which the values of arrays are unknown: use "
        "jax.numpy for numpy, jnp.where for if and for masks, and no float() or int() of an array"
    )


def _is_of_tracers(error):
    return not OF_TRACERS.isdisjoint(kind.__name__ for kind in type(error).__mro__)


@contextlib.contextmanager
def explained(failure: str, remedy: str) -> Generator[None]:
    """Convert an error of a user-defined function to a one-line `InputError`.

    Args:
        failure: name of the function, and the operation that failed.
        remedy: description of valid input, and advice.

    Raises:
        InputError: if the function raises an error, except for errors of gdjax and those listed in
            `OF_SYSTEM` (other than NotImplementedError), which are raised unchanged.

    Examples:
        >>> with explained("cost: failed", "expected a function of params"):
        ...     {}["weights"]
        Traceback (most recent call last):
        gdjax.errors.InputError: cost: failed: KeyError: 'weights'; expected a function of params
    """
    try:
        yield
    except GdjaxError:
        raise
    except Exception as error:
        if isinstance(error, OF_SYSTEM) and not isinstance(error, NotImplementedError):
            raise
        raise InputError(f"{failure}: {first_line(error)}; {remedy_for(error, remedy)}") from error
