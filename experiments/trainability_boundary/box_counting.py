"""Box-counting dimension of a boundary, with scales and residual of the fit.

    N(s) ~ s^-D,   D = -slope of log N against log s

N(s) is the number of boxes of side s that intersect a set. A smooth curve has D = 1, an irregular
curve has a larger D, and a set that fills the plane has D = 2. The simplest example is a straight
line:

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

# Largest error of box-counting dimensions on grids with 192 to 1,024 cells per side, for sets of
# known dimension: the Koch curve, the Sierpinski triangle and carpet, the Henon attractor and
# lines. The error arises because the sets are not aligned with the boxes.
BIAS = 0.05


class BoxDimension(NamedTuple):
    """Box-counting dimension, with its errors and the range of scales of the fit.

    Args:
        dimension: negative slope of the fitted line.
        error: half width of the 95 % interval of the slope, from the scatter of the counts, plus
            the bias of box counting, which the scatter does not include (see `BIAS`).
        standard_error: standard error of the slope, from the scatter of the counts around the line.
        residual: root mean square deviation of log10 N from the line; 0.01 corresponds to 2 % of a
            count.
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
    """Return whether each cell of a grid intersects the boundary of a set of points.

    A cell intersects the boundary if some of its corners belong to the set, and others do not.

    Args:
        inside: whether each grid point belongs to the set; a grid of any number of dimensions, with
            at least 2 points along each axis.

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
    """Return the sides of boxes, and the numbers of boxes that intersect a set.

    The first box starts at the first cell.

    Args:
        cells: whether each cell belongs to the set.
        sides: sides of the boxes, in cells; by default the powers of 2 up to an eighth of the
            shortest axis, since larger boxes are too few for a reliable fit.

    Returns:
        The sides, and the counts N(s).

    Raises:
        InputError: if the set has no cells, or if a side is not between 1 and the length of the
            shortest axis.
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
    """Return the number of boxes with a given side that contain cells of the set."""
    boxes = np.zeros([-(-length // side) for length in shape], bool)
    boxes[tuple(axis // side for axis in places)] = True
    return int(boxes.sum())


def dimension(
    sides: Int[np.ndarray, " scales"] | Float[np.ndarray, " scales"],
    counts: Int[np.ndarray, " scales"],
) -> BoxDimension:
    """Fit a straight line to log N against log s, with equal weights.

    Args:
        sides: sides of the boxes, in cells.
        counts: numbers of boxes of each side that intersect the set, at least 1.

    Raises:
        InputError: if there are fewer than 3 scales, since a line fits any two points.

    Source: Falconer, *Fractal Geometry* (2014), chapter 2.
    """
    if len(sides) < 3:
        raise InputError(
            f"dimension: {len(sides)} scales, expected at least 3; use a larger grid, or pass the "
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
