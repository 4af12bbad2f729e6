"""Checks of single arguments: whole and real numbers, booleans, names.

In all checks, `name` is the name of the argument, preceded by that of its function if the message
should show it, `value` is its value, and `remedy` is appended to the message.

>>> from gdjax.base.limits import Positive
>>> check_whole("width", 0, least=1)
Traceback (most recent call last):
gdjax.base.errors.InputError: width = 0, expected a whole number >= 1
>>> check_limits("density: width", -1.0, Positive)
Traceback (most recent call last):
gdjax.base.errors.InputError: density: width = -1.0, expected a number above 0
"""

import difflib
import importlib
import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard, get_args

import numpy as np

from gdjax.base.errors import InputError
from gdjax.base.limits import MAX_FLOAT, MAX_WHOLE

MAX_COUNT = 1_000_000  # limit of random draws, probes and starts, which are in memory together


def is_whole(value: Any, least: int = 0, most: int | float = math.inf) -> TypeGuard[int]:
    """Return whether a value is a whole number in a range; booleans are not.

    NumPy's integers are whole numbers. Floats with an integer value are not, since they may come
    from a division whose result should have been rounded.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(least <= value <= most)


def is_traced(value: Any) -> bool:
    """Return whether a value is a JAX tracer, without importing JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def check_whole(
    name: str, value: Any, least: int = 0, most: int | float = MAX_WHOLE, *, remedy: str = ""
) -> None:
    """Check that an argument is a whole number from `least` to `most`."""
    if not is_whole(value, least, most):
        unlimited = most in (MAX_COUNT, MAX_WHOLE, math.inf) and not is_whole(value, least)
        valid = f">= {least:,}" if unlimited else f"from {least:,} to {most:,}"
        raise InputError(f"{name} = {_short(value)}, expected a whole number {valid}{remedy}")


def check_limits(name: str, value: Any, kind: Any, *, remedy: str = "") -> None:
    """Check that an argument is a number within the limits of its type, such as `limits.Seed`.

    Traced values are not checked.

    Examples:
        >>> from gdjax.base.limits import Seed
        >>> check_limits("seed", -1, Seed)
        Traceback (most recent call last):
        gdjax.base.errors.InputError: seed = -1, expected a whole number from 0 to 4,294,967,295
    """
    base, limits = get_args(kind)
    if base is int:
        check_whole(name, value, limits.ge, limits.le, remedy=remedy)
    elif not is_traced(value):
        number = real_array(value)
        if number is None or number.ndim or not _are_within(number, limits):
            raise InputError(f"{name} = {_short(value)}, expected a {_number(kind)}{remedy}")


def _are_within(numbers, limits):
    """Return whether all numbers are within limits; NaN is not."""
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(float)  # a limit beyond float32 would be compared as infinity
    return not np.isnan(numbers).any() and all(
        limit is None or np.all(is_within(numbers, limit))
        for is_within, limit in (
            (np.greater, limits.gt),
            (np.greater_equal, limits.ge),
            (np.less, limits.lt),
            (np.less_equal, limits.le),
        )
    )


def _number(kind):
    """Return a description of the numbers of a type with limits."""
    base, limits = get_args(kind)
    bounds = {"above": limits.gt, ">=": limits.ge, "below": limits.lt, "at most": limits.le}
    most = MAX_WHOLE if base is int else MAX_FLOAT
    known = {
        word: f"{bound:,}" if base is int else f"{bound:g}"
        for word, bound in bounds.items()
        if bound is not None and abs(bound) < most
    }
    valid = " and ".join(f"{word} {bound}" for word, bound in known.items())
    if known.keys() == {">=", "at most"}:
        valid = "from {} to {}".format(*known.values())
    return ("whole " if base is int else "") + (f"number {valid}" if valid else "finite number")


def import_extra(argument: str, module: str, extra: str) -> Any:
    """Return a module of an optional package, which an extra of gdjax installs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            f"{argument}: {package} is not installed; pip install 'gdjax[{extra}]'"
        ) from error


def real_array(value: Any) -> np.ndarray | None:
    """Return real numbers as an array; None for other, boolean and masked values."""
    try:
        array = np.asarray(value)
    except Exception:  # lists of different lengths, traced values
        return None
    return array if array.dtype.kind in "iuf" and not np.ma.is_masked(value) else None


def check_numbers(
    name: str,
    value: Any,
    kind: Any = None,
    *,
    ndim: int | None = None,
    shape: tuple[int, ...] | None = None,
    remedy: str = "",
) -> None:
    """Check that an argument is a nonempty array of real numbers, unless it is traced.

    With a `kind`, such as `limits.Positive`, all numbers are within its limits.
    """
    if is_traced(value):
        return
    numbers = real_array(value)
    is_valid = numbers is not None and numbers.size > 0 and ndim in (None, numbers.ndim)
    if numbers is not None and kind is not None:
        base, limits = get_args(kind)
        is_valid &= (base is float or numbers.dtype.kind in "iu") and _are_within(numbers, limits)
    if numbers is None or not is_valid:
        words = "real numbers" if kind is None else _number(kind).replace("number", "numbers")
        words += "" if ndim is None else f" with {ndim} dimensions"
        raise InputError(f"{name} = {_short(value)}, expected an array of {words}{remedy}")
    if shape not in (None, numbers.shape):
        raise InputError(f"{name} has shape {numbers.shape}, expected {shape}")


def check_increasing(
    name: str, values: Any, most: int | float = math.inf, *, may_be_empty: bool = False
) -> list[int]:
    """Check and return a list of increasing whole numbers from 1 to `most`."""
    is_list = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
    numbers = list(values) if is_list else []
    is_valid = all(is_whole(number, 1, most) for number in numbers)
    is_valid = is_valid and all(one < other for one, other in itertools.pairwise(numbers))
    if not is_valid or not (numbers or (is_list and may_be_empty)):
        limit = "1" if most == math.inf else f"1 to {most:,}"
        raise InputError(
            f"{name} = {_short(values)}, expected a list of increasing whole numbers from {limit}"
        )
    return [int(number) for number in numbers]


def check_flag(name: str, value: Any) -> None:
    """Check that an argument is a boolean."""
    check_type(name, value, bool | np.bool_, "True or False")


def check_type(name: str, value: Any, kind: Any, expected: str) -> None:
    """Check that an argument has a type, described by what is expected."""
    if not isinstance(value, kind):
        raise InputError(f"{name} = {_short(value)}, expected {expected}")


def check_text(name: str, value: Any) -> None:
    """Check that an argument is a string."""
    check_type(name, value, str, "text")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Check that an argument is one of the given names."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f". Did you mean {near[0]}?" if near else ""
        raise InputError(
            f"{name} = {_short(value)} is unknown; choose one of {', '.join(known)}{hint}"
        )


def meant_keyword(name: str, known: Iterable[str]) -> str:
    """Return a hint at the keyword with these initials or a similar name, or no text.

    Examples:
        >>> meant_keyword("lr", ["seed", "learning_rate"])
        ' Did you mean learning_rate?'
    """
    known = list(known)
    near = [k for k in known if name == "".join(word[:1] for word in k.split("_"))]
    near += difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def check_callable(name: str, value: Any, expected: str = "a function") -> None:
    """Check that an argument is callable."""
    if not callable(value):
        raise InputError(f"{name} = {_short(value)} is not callable; expected {expected}")


def _short(value: Any) -> str:
    """Return the representation of a value on one line of at most 80 characters."""
    return " ".join(f"{value!r:.200}".split())[:80]
