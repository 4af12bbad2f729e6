"""Short summaries of results: names, shapes and a few numbers.

>>> print(short(np.arange(6.0).reshape(2, 3)), short(np.array([0.5, 2.0])), short(np.float32(3)))
float64[2, 3] from 0 to 5 [0.5, 2] 3
>>> short({"w": np.zeros((16, 784)), "b": np.zeros(16)})
'12,560 numbers in 2 arrays'
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np

FEW = 4  # maximum size of an array that is printed in full
LONG = 60  # maximum length of the text of other values
MAX_LINES, WIDTH = 8, 90  # number of fields with lines of their own, and length of shared lines


def fields_with(**statuses: type[IntEnum]) -> Callable[[Any], str]:
    """Return a `__repr__` that lists the fields of a result; more than eight share lines.

    Args:
        statuses: enums of the fields whose values are printed by name.

    Examples:
        >>> class Ends(tuple):
        ...     _fields = ("values", "status")
        ...     values, status = np.ones(9), 0
        >>> print(fields_with()(Ends()))
        Ends(
            values = float64[9], all 1
            status = 0
        )
    """

    def __repr__(self: Any) -> str:
        names = getattr(self, "_fields", None) or list(self.__dataclass_fields__)
        lines = []
        for name in names:
            value = getattr(self, name)
            text = f"{name} = {_words(statuses[name], value) if name in statuses else short(value)}"
            if len(names) > MAX_LINES and lines and len(lines[-1]) + len(text) <= WIDTH:
                lines[-1] += f", {text}"
            else:
                lines.append(text)
        return "\n".join([f"{type(self).__name__}(", *(f"    {line}" for line in lines), ")"])

    return __repr__


fields = fields_with()
"""`__repr__` of a result without statuses."""


def _words(enum, value):
    """Return the name of a status; for an array, the count of each status."""
    try:
        codes = np.asarray(value)
    except Exception:  # traced
        return short(value)
    names = {int(status): status.name.lower().replace("_", " ") for status in enum}
    if codes.ndim == 0:
        return names[int(codes)]
    counts = zip(*np.unique(codes, return_counts=True), strict=True)
    return ", ".join(f"{count} {names[int(code)]}" for code, count in counts)


def short(value: Any) -> str:
    """Return a one-line summary of a value."""
    if hasattr(value, "data_vars"):  # a Dataset
        return "Dataset over " + ", ".join(f"{name} ({n})" for name, n in value.sizes.items())
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value)
    if isinstance(value, Mapping) and not any(map(_holds, value.values())):
        return _cut("{" + ", ".join(f"{k}: {short(v)}" for k, v in value.items()) + "}")
    if callable(value) and not isinstance(value, type) and hasattr(value, "__name__"):
        return value.__name__
    if value is None or isinstance(value, str | int | float | bool):
        return _cut(repr(value))
    import jax

    arrays = [leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape")]
    if not arrays:
        return _cut(repr(value))
    if len(arrays) == 1 and arrays[0] is not value:
        return short(arrays[0])
    total = sum(int(np.prod(leaf.shape)) for leaf in arrays)
    return f"{total:,} numbers in {len(arrays)} arrays"


def _holds(value):
    return hasattr(value, "shape") and np.prod(value.shape) > FEW


def _cut(text):
    text = " ".join(text.split())
    return text if len(text) <= LONG else text[: LONG - 4] + " ..."


def _array(value):
    name = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    try:
        numbers = np.asarray(value)
    except Exception:  # traced, donated, or a random key
        return name
    if numbers.dtype.kind == "U" and numbers.size <= FEW:
        return f"[{', '.join(numbers.ravel().tolist())}]"
    if numbers.dtype.kind not in "biuf":
        return name
    if numbers.size <= FEW and numbers.ndim < 2:
        texts = [f"{x:.4g}" if numbers.dtype.kind == "f" else str(x) for x in numbers.ravel()]
        return texts[0] if numbers.ndim == 0 else f"[{', '.join(texts)}]"
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return f"{name}, none finite" if numbers.size else name
    low, high = f"{finite.min():.4g}", f"{finite.max():.4g}"
    rest = "" if finite.size == numbers.size else f", {numbers.size - finite.size:,} not finite"
    return f"{name}, all {low}{rest}" if low == high else f"{name} from {low} to {high}{rest}"
