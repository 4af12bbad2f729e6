"""Short summaries of results as text and for notebooks: names, shapes and a few numbers.

>>> print(short(np.arange(6.0).reshape(2, 3)), short(np.array([0.5, 2.0])), short(np.float32(3)))
float64[2, 3] from 0 to 5 [0.5, 2] 3
>>> short({"w": np.zeros((16, 784)), "b": np.zeros(16)})
'12,560 numbers in 2 arrays'
"""

import html
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdjax.base.status import Status

FEW = 4  # maximum size of an array that is printed in full
LONG = 60  # maximum length of the text of other values
MAX_LINES, WIDTH = 8, 90  # number of fields with lines of their own, and length of shared lines
CURVE = 240, 60  # width and height of the curve of a cost, in pixels


def fields_with(
    **statuses: type[Status],
) -> tuple[Callable[[Any], str], Callable[[Any], str]]:
    """Return `__repr__` and `_repr_html_` that list the fields of a result in at most 10 lines.

    Args:
        statuses: enums of the fields whose values are printed by name.

    Examples:
        >>> class Ends(tuple):
        ...     _fields = ("values", "status")
        ...     values, status = np.ones(9), 0
        >>> print(fields_with()[0](Ends()))
        Ends(
            values = float64[9], all 1
            status = 0
        )
    """

    def __repr__(self: Any) -> str:
        names = getattr(self, "_fields", None) or list(self.__dataclass_fields__)
        declared = getattr(self, "arrays", {}).items()
        codes = statuses | {name: array.codes for name, array in declared if array.codes}
        texts = []
        for name in names:
            value = getattr(self, name)
            text = _words(codes[name], value) if name in codes else short(value)
            texts.append(f"{name} = {text}")
        return in_lines(type(self).__name__, texts)

    return __repr__, as_html


def in_lines(name: str, texts: list[str]) -> str:
    """Return the representation of an object whose fields share lines if there are many."""
    lines, width = texts, WIDTH
    while len(lines) > MAX_LINES:
        lines = texts[:1]
        for text in texts[1:]:
            if len(lines[-1]) + len(text) <= width:
                lines[-1] += f", {text}"
            else:
                lines.append(text)
        width += 10
    return "\n".join([f"{name}(", *(f"    {line}" for line in lines), ")"])


def as_html(value: Any, sentence: str = "") -> str:
    """Return a result as a notebook shows it: a sentence, the curve of its cost, and its fields.

    Args:
        value: result.
        sentence: by default, the text of `str`, or what the documentation of its type begins with.
    """
    if not sentence and type(value).__str__ is not object.__str__:
        sentence = str(value)
    sentence = sentence or (inspect.getdoc(type(value)) or "").partition("\n")[0]
    curve, text = _curve(getattr(value, "cost", None)), html.escape(repr(value))
    fields = f'<pre style="white-space: pre-wrap">{text}</pre>'
    return f"<p>{html.escape(sentence)}</p>{curve}{fields}"


def _curve(cost):
    """Return an image of a cost along its only dimension; logarithmic over a wide range."""
    try:
        cost = np.asarray(cost, float)
    except Exception:  # none, traced, or a function
        return ""
    shown = np.isfinite(cost)
    if cost.ndim != 1 or shown.sum() < 2:
        return ""
    low, high = cost[shown].min(), cost[shown].max()
    width, height = CURVE
    at = np.unique(np.linspace(0, shown.sum() - 1, width).astype(int))
    heights = np.log(cost[shown][at]) if high > 10 * low > 0 else cost[shown][at]
    across = np.flatnonzero(shown)[at] / (len(cost) - 1) * width
    down = (heights.max() - heights) / (np.ptp(heights) or 1) * height
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    label = f"cost, {low:.4g} to {high:.4g}"
    return (
        f'<svg role="img" aria-label="{label}" width="{width + 8}" height="{height + 8}" '
        f'viewBox="-4 -4 {width + 8} {height + 8}"><title>{label}</title><polyline '
        f'points="{points}" fill="none" stroke="#0072B2" stroke-width="2"/></svg>'
    )


def _words(enum, value):
    """Return the name of a status; for an array, the count of each status."""
    try:
        codes = np.asarray(value).astype(int)
    except Exception:  # traced, or a shape in an error
        return short(value)
    names = {int(status): status.label for status in enum}
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
    if isinstance(value, Status):
        return value.label
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple) and value and all(hasattr(part, "data_vars") for part in value):
        return f"{len(value)} Datasets"
    if value is None or isinstance(value, str | int | bool):
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


fields = fields_with()
"""`__repr__` and `_repr_html_` of a result without statuses."""
