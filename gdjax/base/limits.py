"""Types with limits, which entries check (`arguments.check_limits`) and readers decode.

>>> is_valid([16, 0], list[Count])
False
"""

import sys
from typing import Annotated, Any

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
Threshold = Annotated[float, Meta(gt=0)]  # may be infinite
Share = Annotated[float, Meta(gt=0, lt=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Momentum = Annotated[float, Meta(ge=0, lt=1)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 as text, such as the name of a writer."""


def is_valid(value: Any, kind: Any) -> bool:
    """Return whether a value that was read from a file has a type and its limits."""
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True
