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

from gdjax.base.errors import InputError

# Largest error of box-counting dimensions on grids with 192 to 1,024 cells per side, for sets of
# known dimension: the Koch curve, the Sierpinski triangle and carpet, the Henon attractor and
# lines. The error arises because the sets are not aligned with the boxes.
BIAS = 0.05


class BoxDimension(NamedTuple):
    """Box-counting dimension, with its errors.

    The error is the half width of the 95 % interval of the slope, from the scatter of the counts,
    plus the bias of box counting, which the scatter does not include (see `BIAS`).
    """

    dimension: float  # negative slope of the fitted line
    error: float
    standard_error: float  # of the slope, from the scatter of the counts around the line


def boundary(inside: Bool[np.ndarray, "*points"]) -> Bool[np.ndarray, "*cells"]:
    """Return whether each cell of a grid intersects the boundary of a set of points.

    A cell intersects the boundary if some of its corners belong to the set, and others do not. The
    grid has any number of dimensions, with at least 2 points along each axis.

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
    """Return the sides of boxes, and the numbers N(s) of boxes that intersect a set.

    The first box starts at the first cell. By default, the sides in cells are the powers of 2 up to
    an eighth of the shortest axis, since larger boxes are too few for a reliable fit.
    """
    if not cells.any():
        raise InputError("box_counts: the set is empty; there is no boundary in this window")
    if sides is None:
        sides = 2 ** np.arange(max(1, int(np.log2(max(min(cells.shape) // 8, 1))) + 1))
    places, counts = np.argwhere(cells), []
    for side in sides:
        boxes = np.zeros([-(-length // side) for length in cells.shape], bool)
        boxes[tuple((places // side).T)] = True
        counts.append(int(boxes.sum()))
    return np.asarray(sides), np.array(counts)


def dimension(
    sides: Int[np.ndarray, " scales"] | Float[np.ndarray, " scales"],
    counts: Int[np.ndarray, " scales"],
) -> BoxDimension:
    """Fit a straight line to log N against log s, with equal weights, for at least 3 scales.

    Source: Falconer, *Fractal Geometry* (2014), chapter 2.
    """
    (slope, _), covariance = np.polyfit(np.log10(sides), np.log10(counts), 1, cov=True)
    standard_error = float(np.sqrt(covariance[0, 0]))
    error = float(stats.t.isf(0.025, len(sides) - 2)) * standard_error + BIAS
    return BoxDimension(float(-slope), error, standard_error)
