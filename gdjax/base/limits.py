"""Types with limits, which entries check, commands parse and readers decode.

>>> check("seed", -1, Seed)
Traceback (most recent call last):
gdjax.base.errors.InputError: seed = -1, expected a whole number from 0 to 4,294,967,295
>>> is_valid([16, 0], list[Count])
False
"""

import sys
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

MAX_WHOLE = 2**31 - 1  # default limit of whole numbers, since counts have 32 bits
MAX_SEED = 2**32 - 1
MAX_FLOAT = sys.float_info.max

Whole = Annotated[int, Meta(ge=0, le=MAX_WHOLE)]
Count = Annotated[int, Meta(ge=1, le=MAX_WHOLE)]
Seed = Annotated[int, Meta(ge=0, le=MAX_SEED)]
Real = Annotated[float, Meta(ge=-MAX_FLOAT, le=MAX_FLOAT)]
NotNegative = Annotated[float, Meta(ge=0, le=MAX_FLOAT)]
Positive = Annotated[float, Meta(gt=0, le=MAX_FLOAT)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 as text, such as the name of a writer."""


def check(name: str, value: Any, kind: Any, *, remedy: str = "") -> None:
    """Check that an argument is a number within the limits of its type, such as `Count`."""
    from gdjax.base import arguments  # it imports NumPy

    base, limits = get_args(kind)
    if base is int:
        arguments.check_whole(name, value, limits.ge, limits.le, remedy=remedy)
        return
    bounds = {"above": limits.gt, "least": limits.ge, "below": limits.lt, "most": limits.le}
    bounds = {word: n for word, n in bounds.items() if n is not None and abs(n) < MAX_FLOAT}
    arguments.check_number(name, value, **bounds, remedy=remedy)


def is_valid(value: Any, kind: Any) -> bool:
    """Return whether a value that was read from a file has a type and its limits."""
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True
