"""Named axes, the grid of runs that they span, and the run of it that is nearest to given values.

    runs = product of dimensions;   a dimension carries one axis, or several that vary together

>>> grid = axes(learning_rate=[0.1, 1.0], seed=range(3))
>>> grid.shape, sorted(grid.sizes)
((2, 3), ['learning_rate', 'seed'])
>>> axes(pair=together(learning_rate=[0.1, 1.0], init_scale=[2.0, 1.0])).shape
(2,)
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import ScalarLike

from gdjax.errors import InputError

SEEDS = ("seed", "data_seed", "noise_seed")
MOST = 10_000_000  # values of an axis
RESERVED = ("step", "snapshot_step", "finished")  # what a sweep's own dimensions and arrays have


@dataclass(frozen=True)
class Together:
    """Axes that vary together, along one dimension."""

    values: Mapping[str, np.ndarray]


def together(**values: Iterable[Any]) -> Together:
    """Axes that vary together: the i-th run takes the i-th value of each.

    Args:
        values: equally long lists of numbers, by axis name.

    Raises:
        InputError: lists of different lengths, or none.
    """
    if not values:
        raise InputError("together: none given; name at least one, such as learning_rate=[0.1]")
    arrays = {name: _values(name, entries) for name, entries in values.items()}
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"together: lengths differ ({lengths}); give equally many values")
    return Together(arrays)


@dataclass(frozen=True, eq=False)
class Axes:
    """The grid: for each dimension, the axes along it and their values."""

    dimensions: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension, in order."""
        return {name: len(next(iter(along.values()))) for name, along in self.dimensions.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes.values())

    @property
    def runs(self) -> int:
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """All axes, over all dimensions."""
        return tuple(name for along in self.dimensions.values() for name in along)

    def values(self, index: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """Values of each axis for runs at `index`, one array of positions a dimension."""
        return {
            axis: values[i]
            for i, along in zip(index, self.dimensions.values(), strict=True)
            for axis, values in along.items()
        }


def axes(**named: Iterable[Any] | Together) -> Axes:
    """Named axes, one dimension each; `together` puts several on one.

    Args:
        named: values by axis: `seed`, `data_seed`, a keyword of the problem's `init` or `cost`, or
            of the optimizer factory. Qualify a name that two of them have: `**{"init.scale": ...}`.

    Raises:
        InputError: an axis without values, with values that are not finite numbers, with more than
            ten million of them or one of them twice; a name that is given twice or is one of the
            sweep's own.
    """
    if not named:
        raise InputError("axes: none given; name at least one, such as seed=range(8)")
    dimensions = {
        name: dict(given.values) if isinstance(given, Together) else {name: _values(name, given)}
        for name, given in named.items()
    }
    # A dimension that carries other axes has a coordinate of its own name, too.
    flat = [axis for along in dimensions.values() for axis in along]
    flat += [name for name, along in dimensions.items() if name not in along]
    twice = {axis for axis in flat if flat.count(axis) > 1}
    if twice:
        raise InputError(f"axes: {', '.join(sorted(twice))} is given on two dimensions; keep one")
    for name in RESERVED:
        if name in flat:
            raise InputError(
                f"axes: {name} is a name that a sweep's Dataset has for itself; qualify a keyword, "
                f"as in **{{'cost.{name}': [...]}}, or give the dimension another name"
            )
    for name, along in dimensions.items():
        _check_distinct(name, along)
    return Axes(dimensions)


def _check_distinct(dim, along):
    """Make sure that no two places of a dimension have the same values: the runs would be equal."""
    places = np.stack([values.astype(np.float64) for values in along.values()], axis=1)
    _, first, counts = np.unique(places, axis=0, return_index=True, return_counts=True)
    if np.any(counts > 1):
        at = first[counts > 1][0]
        twice = ", ".join(f"{axis} = {values[at]}" for axis, values in along.items())
        raise InputError(
            f"axes: {dim} has {twice} more than once; keep one: equal settings give equal runs"
        )


def _values(name, given):
    """An axis's values as int64 or float64, whatever they came as: the same in a store's record."""
    try:
        if isinstance(given, range) and len(given) <= MOST:
            given = np.arange(given.start, given.stop, given.step)
        if not hasattr(given, "dtype") and not np.isscalar(given):
            given = list(itertools.islice(given, MOST + 1))
        values = np.atleast_1d(np.asarray(given))
        if len(values) > MOST:
            raise InputError(
                f"axes: {name} has more than {MOST:,} values; expected at most that: sweep a part, "
                f"or spread the runs over two axes"
            )
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError):  # no list, or lists of different lengths
        values = np.asarray([])
    kind_ok = values.dtype.kind in "iuf" and values.ndim == 1 and len(values)
    if not kind_ok or not np.all(np.isfinite(values)):
        raise InputError(
            f"axes: {name} = {given!r:.80}, expected a list of finite numbers, such as [0.1, 1.0]"
        )
    if name.split(".")[-1] in SEEDS:
        whole = values.astype(np.int64)
        if np.any(whole != values) or np.any(whole < 0) or np.any(whole >= 2**32):
            raise InputError(f"axes: {name} = {given!r:.80}, expected whole numbers in [0, 2^32)")
        return whole
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def positions(grid: Axes, at: Mapping[str, ScalarLike]) -> dict[str, int]:
    """The place nearest to given values, on each dimension for which there are any.

    Where several values are given on one dimension, differences are measured in units of each
    axis's range and added.

    Raises:
        InputError: a value for something that is no axis, or one that is no number.

    Examples:
        >>> positions(axes(learning_rate=[0.1, 1.0], seed=range(3)), {"learning_rate": 0.9})
        {'learning_rate': 1}
    """
    return _nearest(grid, at)


def position(grid: Axes, at: Mapping[str, ScalarLike]) -> tuple[int, ...]:
    """The place of one run along each dimension, as `positions` has it.

    Raises:
        InputError: as for `positions`, or a dimension without a value.
    """
    nearest = _nearest(grid, at)
    for dim, along in grid.dimensions.items():
        if dim not in nearest:
            raise InputError(
                f"at: nothing given for {' or '.join(along)}; expected a value on the dimension "
                f"{dim}, of {_listed(grid)}"
            )
    return tuple(nearest[dim] for dim in grid.dimensions)


def _nearest(grid, at):
    known = {axis: values for along in grid.dimensions.values() for axis, values in along.items()}
    for name, value in at.items():
        number = np.asarray(value)
        real = number.ndim == 0 and number.dtype.kind in "iuf" and np.isfinite(number)
        if name not in known or not real:
            raise InputError(
                f"at: {name} = {value!r:.80}, expected a number for an axis of {_listed(grid)}"
            )
    nearest = {}
    for dim, along in grid.dimensions.items():
        given = [axis for axis in along if axis in at]
        if given:
            scales = (float(np.ptp(along[axis])) or 1.0 for axis in given)
            distance = sum(
                np.abs(along[axis] - at[axis]) / scale
                for axis, scale in zip(given, scales, strict=True)
            )
            nearest[dim] = int(np.argmin(distance))
    return nearest


def _listed(grid):
    along = (entry for along in grid.dimensions.values() for entry in along.items())
    return "; ".join(f"{axis}: {_short(values)}" for axis, values in along)


def _short(values):
    if len(values) > 16:
        return f"{_short(values[:8])}, ..., {_short(values[-4:])}"
    return ", ".join(f"{value:.6g}" for value in values)
