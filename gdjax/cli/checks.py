"""Checks of flags that several commands share, made before JAX is imported.

>>> seed("--seed", 7)
>>> seed("--seed", -1)
Traceback (most recent call last):
gdjax.errors.InputError: --seed -1: expected a whole number from 0 to 4294967295
"""

from gdjax.cli import problem_file
from gdjax.errors import InputError


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
