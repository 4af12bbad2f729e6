"""Checks of flags that several commands share, made before JAX is imported.

>>> seed("--seed", 7)
>>> seed("--seed", -1)
Traceback (most recent call last):
gdjax.errors.InputError: --seed -1: expected a whole number from 0 to 4294967295
"""

import math
from typing import Any

from gdjax.cli import problem_file
from gdjax.errors import InputError


def at_least(least: int, command: Any, *names: str) -> None:
    """Check that no whole number in the fields of a command is below `least`."""
    for name in names:
        value = getattr(command, name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and number < least:
                raise InputError(f"--{name.replace('_', '-')} {number}: expected at least {least}")


def positive(command: Any, *names: str) -> None:
    """Check that fields of a command are None or finite numbers above 0."""
    for name in names:
        number = getattr(command, name)
        if number is not None and not 0 < number < math.inf:
            raise InputError(f"--{name.replace('_', '-')} {number}: expected a number above 0")


def seed(flag: str, value: int) -> None:
    """Check that a seed is valid.

    Raises:
        InputError: if the seed is not in [0, 2^32).
    """
    if not 0 <= value < 2**32:
        raise InputError(f"{flag} {value}: expected a whole number from 0 to {2**32 - 1}")


def only_of_store(store: str | None, problem: str | None, *, skip_damaged: bool) -> None:
    """Check that flags for reading a store are given only with a store.

    Args:
        store: value of `--store`.
        problem: value of `--problem`, of the form FILE.py:NAME with an existing file.
        skip_damaged: value of `--skip-damaged`.

    Raises:
        InputError: if `problem` or `skip_damaged` is given without a store, or `problem` is not of
            this form.
    """
    problem_file.check(problem)
    if problem is not None and store is None:
        raise InputError(f"--problem {problem}: requires --store, the store of its sweep")
    if skip_damaged and store is None:
        raise InputError("--skip-damaged: requires --store, the store to read")
