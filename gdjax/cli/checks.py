"""What several commands refuse alike, before JAX is imported.

>>> seed("--seed", 7)
>>> seed("--seed", -1)
Traceback (most recent call last):
gdjax.errors.InputError: --seed -1: expected 0 to 4294967295
"""

from gdjax.cli import problem_file
from gdjax.errors import InputError


def seed(flag: str, value: int) -> None:
    """Make sure that a seed is one.

    Raises:
        InputError: it is not in [0, 2^32).
    """
    if not 0 <= value < 2**32:
        raise InputError(f"{flag} {value}: expected 0 to {2**32 - 1}")


def only_of_store(store: str | None, problem: str | None, *, skip_damaged: bool) -> None:
    """Make sure that flags which say how a store is read come with one.

    Args:
        store: `--store`.
        problem: `--problem`, whose file has to be there, too.
        skip_damaged: `--skip-damaged`.

    Raises:
        InputError: they do not.
    """
    problem_file.check(problem)
    if problem is not None and store is None:
        raise InputError(f"--problem {problem}: needs --store, a sweep of it")
    if skip_damaged and store is None:
        raise InputError("--skip-damaged: needs --store, which may be damaged")
