"""What can go wrong, as one family of exceptions.

Every message says what was wrong, with which value, and what to do. Numerical failure is not an
error: a run that diverges comes back with its outcome (see `gdjax.descent.outcome`).
"""


class GdjaxError(Exception):
    """Base of all errors that gdjax raises itself; the command line prints it and exits with 2."""


class InputError(GdjaxError, ValueError):
    """An argument has a value that cannot work."""


class DataError(GdjaxError):
    """A data set cannot be had: unknown, damaged, or out of reach."""


class StoreError(GdjaxError):
    """A store is damaged, in use, or belongs to another sweep."""
