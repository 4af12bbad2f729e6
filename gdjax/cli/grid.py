"""Grammar for the values of an axis on the command line.

    1               one value
    0.5,1,2         several values
    0:8             integers from 0 to 7
    0:1:5           5 equidistant values from 0 to 1, inclusive
    0.1:30:12:log   12 values from 0.1 to 30 with equal ratios

>>> parse("0.1:10:3:log", "--learning-rate")
[0.1, 1.0, 10.0]
>>> parse("0:3", "--seed")
[0, 1, 2]
"""

import math

from gdjax.base.errors import InputError

MAX_VALUES = 10_000_000  # maximum number of values along an axis
GRAMMAR = "1  |  0.5,1,2  |  0:8  |  0:1:5  |  0.1:30:12:log"
TRUTH = {"false": 0, "true": 1}


def parse(text: str, flag: str) -> list[int] | list[float]:
    """Return the numbers that a text describes in the grammar of this module."""
    try:
        values = _values(text.strip(), f"{flag} {text}")
    except InputError:
        raise
    except (ValueError, ZeroDivisionError, OverflowError):
        values = []
    if not values or not all(math.isfinite(value) for value in values):
        raise InputError(f"{flag} {text!r}: expected one of  {GRAMMAR}")
    return values


def parse_any(text: str, flag: str) -> list[int] | list[float] | list[bool] | list[str]:
    """Return the numbers that a text describes, or comma-separated names or booleans.

    Examples:
        >>> parse_any("false,true", "--axes nesterov"), parse_any("tanh,relu", "--axes activation")
        ([False, True], ['tanh', 'relu'])
    """
    words = [word.strip() for word in text.split(",")]
    if all(word in TRUTH for word in words):
        return [bool(TRUTH[word]) for word in words]
    if all(word.isidentifier() and word not in ("nan", "inf") for word in words):
        return words
    return parse(text, flag)


def _values(text, option):
    parts = text.split(":")
    if len(parts) == 1:
        return [number(entry) for entry in text.split(",")]
    if len(parts) == 2:
        whole = range(int(parts[0]), int(parts[1]))
        _check_count(whole.stop - whole.start, option)
        return list(whole)
    low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    if count < 1 or (count > 1 and low == high):
        raise ValueError(text)
    _check_count(count, option)
    share = [i / max(count - 1, 1) for i in range(count)]
    if len(parts) == 3:
        return [low + (high - low) * s for s in share]
    if parts[3:] != ["log"] or low <= 0 or high <= 0:
        raise ValueError(text)
    # The first and the last value are exactly the given ones, without rounding errors.
    inner = [low * (high / low) ** s for s in share[1:-1]]
    return [low, *inner, high][:count]


def _check_count(count, option):
    if count > MAX_VALUES:
        raise InputError(f"{option}: {count:,} values, expected at most {MAX_VALUES:,}")


def number(text: str | int) -> int | float:
    """Return the integer or the real number that a text describes."""
    try:
        return int(text)
    except ValueError:
        return float(text)
