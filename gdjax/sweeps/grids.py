"""Grids within grids: positions of one in another, and the order of runs.

>>> from gdjax.sweeps.axes import axes
>>> wide, narrow = axes(rate=[0.1, 1.0, 2.0]), axes(rate=[2.0, 0.1])
>>> [at.tolist() for at in places(wide, narrow)]
[[2, 0]]
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdjax.errors import InputError
from gdjax.sweeps.axes import Axes


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
