"""Values of an axis as text: the small grammar of the command line.

    1               one value
    0.5,1,2         these values
    0:8             whole numbers from 0 up to, not including, 8
    0:1:5           5 values from 0 to 1, both included
    0.1:30:12:log   12 values from 0.1 to 30, equal ratios

>>> parse("0.1:10:3:log", "--learning-rate")
[0.1, 1.0, 10.0]
>>> parse("0:3", "--seed")
[0, 1, 2]
"""

import math

from gdjax.errors import InputError

GRAMMAR = "1  |  0.5,1,2  |  0:8  |  0:1:5  |  0.1:30:12:log"


def parse(text: str, flag: str) -> list[int] | list[float]:
    """The values that a text stands for.

    Args:
        text: in the grammar above.
        flag: what the text was given for, for the message.

    Raises:
        InputError: a text that the grammar lacks, an empty range, or a logarithm of nothing.
    """
    try:
        values = _values(text.strip())
    except (ValueError, ZeroDivisionError):
        values = []
    if not values or not all(math.isfinite(value) for value in values):
        raise InputError(f"{flag} {text!r}: expected one of  {GRAMMAR}")
    return values


def _values(text):
    parts = text.split(":")
    if len(parts) == 1:
        return [_number(entry) for entry in text.split(",")]
    if len(parts) == 2:
        return list(range(int(parts[0]), int(parts[1])))
    low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    if count < 1 or (count > 1 and low == high):
        raise ValueError(text)
    share = [i / max(count - 1, 1) for i in range(count)]
    if len(parts) == 3:
        return [low + (high - low) * s for s in share]
    if parts[3:] != ["log"] or low <= 0 or high <= 0:
        raise ValueError(text)
    # The ends are as they were written, to the last bit.
    inner = [low * (high / low) ** s for s in share[1:-1]]
    return [low, *inner, high][:count]


def _number(text):
    try:
        return int(text)
    except ValueError:
        return float(text)
