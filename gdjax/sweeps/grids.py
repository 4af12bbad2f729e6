"""Grids in grids: where one stands in another, which boxes cover the rest, in whose order runs are.

>>> from gdjax.sweeps.axes import axes
>>> wide, narrow = axes(rate=[0.1, 1.0, 2.0]), axes(rate=[2.0, 0.1])
>>> [at.tolist() for at in places(wide, narrow)]
[[2, 0]]
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gdjax.errors import InputError
from gdjax.sweeps.axes import Axes


def missing(grid: Axes, there: Sequence[Axes]) -> list[Axes]:
    """Boxes that together have each run of a grid once that none of some smaller grids has.

    Raises:
        InputError: one of those has something that the grid lacks.

    Examples:
        >>> from gdjax.sweeps.axes import axes
        >>> wide = axes(rate=[0.1, 1.0, 2.0], seed=range(4))
        >>> [box.shape for box in missing(wide, [axes(rate=[0.1, 2.0], seed=range(3))])]
        [(3, 1), (1, 3)]
    """
    wanted = np.ones(grid.shape, bool)
    for smaller in there:
        wanted[np.ix_(*places(grid, smaller))] = False
    boxes = []
    while wanted.any():
        corner = np.unravel_index(np.argmax(wanted), wanted.shape)
        box = [np.array([i]) for i in corner]
        for dim in reversed(range(wanted.ndim)):
            line = [*box[:dim], np.arange(wanted.shape[dim]), *box[dim + 1 :]]
            others = tuple(d for d in range(wanted.ndim) if d != dim)
            box[dim] = np.nonzero(wanted[np.ix_(*line)].all(axis=others))[0]
        wanted[np.ix_(*box)] = False
        boxes.append(grid.box(tuple(box)))
    return boxes


def places(grid: Axes, smaller: Axes) -> list[np.ndarray]:
    """Where the values of a smaller grid stand in a grid, for each dimension.

    Raises:
        InputError: they are not all there.
    """
    if list(grid.dimensions) != list(smaller.dimensions):
        raise InputError(
            f"axes: {', '.join(grid.dimensions)} are asked for, and the store has "
            f"{', '.join(smaller.dimensions)}; a store grows along the axes that it has"
        )
    found = []
    for dim, along in grid.dimensions.items():
        at = {values: i for i, values in enumerate(_tuples(along))}
        there = smaller.dimensions[dim]
        needed = _tuples(there) if there.keys() == along.keys() else [tuple(there)]
        lost = [values for values in needed if values not in at]
        if lost:
            raise InputError(
                f"axes: the store has {dim} = {', '.join(map(str, lost[0]))}, which is not asked "
                f"for; give all values that are there, and new ones"
            )
        found.append(np.array([at[values] for values in needed]))
    return found


def same(grid: Axes, other: Axes) -> bool:
    """Whether two grids have the same values in the same order."""
    return [*map(_tuples, grid.dimensions.values())] == [*map(_tuples, other.dimensions.values())]


def arranged(dataset: Any, grid: Axes) -> Any:
    """A Dataset with its runs in the order of a grid's values."""
    order = {}
    for dim, along in grid.dimensions.items():
        here = {axis: dataset.coords[axis].values for axis in along}
        at = {values: i for i, values in enumerate(_tuples(here))}
        order[dim] = np.array([at[values] for values in _tuples(along)])
    if all(np.array_equal(places, np.arange(len(places))) for places in order.values()):
        return dataset
    return dataset.isel(order)


def _tuples(along: Mapping[str, np.ndarray]) -> list[tuple]:
    return list(zip(*(along[axis].tolist() for axis in sorted(along)), strict=True))
