"""How ragged a boundary is: its box-counting dimension, with the scales and the misfit of the fit.

    N(s) ~ s^-D,   D = -slope of log N against log s

N(s) is the number of boxes of side s that a set meets. A smooth curve has D = 1, a ragged one more,
and a set that fills the plane D = 2. The simplest instance is a straight line:

>>> line = np.eye(256, dtype=bool)
>>> fit = dimension(*box_counts(line))
>>> round(fit.dimension, 6)
1.0
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from gdjax.errors import InputError

# By how much box counts on grids of 192 to 1,024 cells missed what is known of Koch's curve, of
# Sierpinski's triangle and carpet, of Henon's attractor and of lines: boxes do not fit the sets.
BIAS = 0.05


class BoxDimension(NamedTuple):
    """A dimension and how much of it to believe.

    Args:
        dimension: minus the slope of the fitted line.
        error: it lies within, with 95 %: the slope's interval from the scatter of the counts, and
            the bias of box counting, which no scatter shows (see `BIAS`).
        standard_error: of that slope, from the scatter of the counts around the line.
        residual: root mean square of log10 N around the line; 0.01 is 2 % of a count.
        smallest: smallest box side of the fit, in cells.
        largest: largest box side of the fit, in cells.
    """

    dimension: float
    error: float
    standard_error: float
    residual: float
    smallest: int
    largest: int


def boundary(inside: Bool[np.ndarray, "*points"]) -> Bool[np.ndarray, "*cells"]:
    """Cells of a grid of points in which two sides meet: not all corners are on the same one.

    Args:
        inside: for each grid point, on which side it is; a grid in any number of dimensions, at
            least 2 points along each.

    Examples:
        >>> boundary(np.array([True, True, False, True])).tolist()
        [False, True, True]
    """
    corners = np.stack(
        [
            inside[tuple(slice(None, -1) if low else slice(1, None) for low in corner)]
            for corner in product((True, False), repeat=inside.ndim)
        ]
    )
    return np.asarray(corners.any(axis=0) & ~corners.all(axis=0))


def box_counts(
    cells: Bool[np.ndarray, "*cells"],
    sides: Sequence[int] | Int[np.ndarray, " scales"] | None = None,
) -> tuple[Int[np.ndarray, " scales"], Int[np.ndarray, " scales"]]:
    """How many boxes of each side a set meets; boxes start at the first cell.

    Args:
        cells: where the set is.
        sides: sides of boxes, in cells; None takes the powers of 2 up to an eighth of the shortest
            axis, beyond which a handful of boxes decides the count.

    Returns:
        The sides, and the counts N(s).

    Raises:
        InputError: a set without cells, or a side that does not fit.
    """
    shortest = min(cells.shape)
    if not cells.any():
        raise InputError("box_counts: the set is empty; there is no boundary in this window")
    if sides is None:
        sides = 2 ** np.arange(max(1, int(np.log2(max(shortest // 8, 1))) + 1))
    sides = np.asarray(sides)
    if np.any(sides < 1) or np.any(sides > shortest):
        raise InputError(f"box_counts: sides = {sides.tolist()}, expected 1 to {shortest}")
    places = np.nonzero(cells)
    return sides, np.array([_boxes(places, side, cells.shape) for side in sides])


def _boxes(places, side, shape):
    """Boxes of one side that the cells are in, each as one number: rows are slow to compare."""
    boxes = np.zeros([-(-length // side) for length in shape], bool)
    boxes[tuple(axis // side for axis in places)] = True
    return int(boxes.sum())


def dimension(
    sides: Int[np.ndarray, " scales"] | Float[np.ndarray, " scales"],
    counts: Int[np.ndarray, " scales"],
) -> BoxDimension:
    """Fit a straight line to log N against log s, all scales alike.

    Args:
        sides: of boxes.
        counts: of boxes of each side that the set meets, at least 1.

    Raises:
        InputError: fewer than 3 scales; through two points every line fits.

    Source: Falconer, *Fractal Geometry* (2014), chapter 2.
    """
    if len(sides) < 3:
        raise InputError(
            f"dimension: {len(sides)} scales, expected at least 3; take a larger grid, or give the "
            f"sides"
        )
    x, y = np.log10(sides), np.log10(counts)
    slope, offset = np.polyfit(x, y, 1)
    misfit = y - (slope * x + offset)
    spread = np.sum((x - np.mean(x)) ** 2)
    standard_error = float(np.sqrt(np.sum(misfit**2) / (len(x) - 2) / spread))
    return BoxDimension(
        dimension=float(-slope),
        error=float(stats.t.isf(0.025, len(x) - 2)) * standard_error + BIAS,
        standard_error=standard_error,
        residual=float(np.sqrt(np.mean(misfit**2))),
        smallest=int(np.min(sides)),
        largest=int(np.max(sides)),
    )
