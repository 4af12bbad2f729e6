"""Named axes, the grid of runs that they span, and lookup of grid positions.

    runs = product of dimensions;   a dimension has one axis, or several that vary together

Numbers are inputs of a program that is compiled once. Batch sizes, steps of branches, booleans and
names are *static*: one program is compiled per value.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import ScalarLike

from gdjax.base import documents
from gdjax.base.arguments import check_type
from gdjax.base.arrays import check_name
from gdjax.base.errors import InputError
from gdjax.base.reprs import short

PERTURBATION_SEED = "perturbation_seed"
SEEDS = ("seed", "data_seed", "noise_seed", PERTURBATION_SEED)  # the last one is for branches
BATCH_SIZE = "batch_size"
BRANCH_STEP = "branch_step"  # step at which a branch leaves its trunk
PERTURBATION = "perturbation"  # norm of the perturbation at that step
MEASURED_STEP, MEASURED_POINT = "measured_step", "measured_point"  # axes of `measure`
BRANCH_AXES = frozenset({BRANCH_STEP, PERTURBATION, PERTURBATION_SEED})
MAX_AXIS_VALUES = 10_000_000
AxisValue = ScalarLike | str


@dataclass(frozen=True)
class ZippedAxes:
    """Axes that vary together along one dimension."""

    values: Mapping[str, np.ndarray]


def zip_axes(**values: Iterable[Any]) -> ZippedAxes:
    """Combine axes that vary together: run i has the i-th value of each.

    Args:
        values: lists of values of equal length, by axis name.

    Examples:
        >>> axes(pair=zip_axes(learning_rate=[0.1, 1.0], init_scale=[2.0, 1.0])).shape
        (2,)
    """
    if not values:
        raise InputError("zip_axes: no axes; pass at least one, such as learning_rate=[0.1]")
    arrays = {name: _values(name, entries) for name, entries in values.items()}
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"zip_axes: lengths differ ({lengths}); pass equal numbers of values")
    return ZippedAxes(arrays)


@dataclass(frozen=True, eq=False)
class Axes:
    """Grid of runs: the axes along each dimension and their values."""

    dimensions: Mapping[str, Mapping[str, np.ndarray]]

    def __repr__(self) -> str:
        along = ", ".join(f"{name}: {short(values)}" for name, values in self.by_name.items())
        return f"Axes({self.runs:,} runs; {along})"

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
        """Names of the axes of all dimensions."""
        return tuple(self.by_name)

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        """Values of the axes of all dimensions, by name."""
        return {
            axis: values for along in self.dimensions.values() for axis, values in along.items()
        }

    @property
    def static(self) -> tuple[str, ...]:
        """Names of the static axes: a program is compiled for each of their values."""
        return tuple(axis for axis, values in self.by_name.items() if is_static(axis, values))

    @property
    def first_values(self) -> dict[str, Any]:
        """First value of each axis, as a Python number, bool or string."""
        return {axis: values[0].item() for axis, values in self.by_name.items()}

    def box(self, index: tuple[np.ndarray, ...]) -> "Axes":
        """Return the subgrid at given positions, one array per dimension."""
        return Axes(
            {
                dim: {axis: values[positions] for axis, values in along.items()}
                for positions, (dim, along) in zip(index, self.dimensions.items(), strict=True)
            }
        )

    @cached_property
    def static_groups(self) -> list[list[np.ndarray]]:
        """For each dimension, groups of positions with equal values of the static axes."""
        groups = []
        for along in self.dimensions.values():
            static = {axis: v for axis, v in along.items() if is_static(axis, v)}
            by_values: dict[Any, list[int]] = {}
            for position, values in enumerate(rows_of(static)):
                by_values.setdefault(values, []).append(position)
            everywhere = [np.arange(len(next(iter(along.values()))))]
            groups.append([np.array(group) for group in by_values.values()] or everywhere)
        return groups

    def boxes(self) -> Iterator["Axes"]:
        """Return an iterator over the subgrids in which no static axis varies.

        Examples:
            >>> [box.shape for box in axes(batch_size=[8, 32], rate=[0.1, 1.0, 2.0]).boxes()]
            [(1, 3), (1, 3)]
        """
        return (self.box(index) for index in itertools.product(*self.static_groups))

    def box_number(self, index: tuple[int, ...]) -> int:
        """Return the number of the box that contains the run at a position.

        Examples:
            >>> axes(batch_size=[8, 32], rate=[0.1, 1.0, 2.0]).box_number((1, 2))
            1
        """
        counts = [len(groups) for groups in self.static_groups]
        numbers = [
            0 if len(groups) == 1 else next(i for i, g in enumerate(groups) if position in g)
            for position, groups in zip(index, self.static_groups, strict=True)
        ]
        return int(np.ravel_multi_index(numbers, counts))

    def values(self, index: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """Return the value of each axis for runs at positions along each dimension."""
        return self.box(index).by_name


def axes(**named: Iterable[Any] | ZippedAxes) -> Axes:
    """Make a grid of named axes, one per dimension unless combined by `zip_axes`.

    Args:
        named: values by axis name: `seed`, `data_seed`, `noise_seed`, `batch_size`, or a keyword of
            the problem's `init` or `cost` or of the optimizer factory. Values are numbers, booleans
            or names. Qualify a name that is a keyword of several functions:
            `**{"init.scale": ...}`. For axes combined by `zip_axes`, choose a name of their
            dimension.

    Examples:
        >>> grid = axes(learning_rate=[0.1, 1.0], seed=range(3))
        >>> grid.shape, sorted(grid.sizes)
        ((2, 3), ['learning_rate', 'seed'])
    """
    if not named:
        raise InputError("axes: no axes; pass at least one, such as seed=range(8)")
    for name in named:
        check_name(name, "axes")
    dimensions = {
        name: dict(value.values) if isinstance(value, ZippedAxes) else {name: _values(name, value)}
        for name, value in named.items()
    }
    # A dimension with several axes also has a coordinate with the name of the dimension.
    flat = [axis for along in dimensions.values() for axis in along]
    flat += [name for name, along in dimensions.items() if name not in along]
    twice = {axis for axis in flat if flat.count(axis) > 1}
    if twice:
        raise InputError(f"axes: {', '.join(sorted(twice))} is given on two dimensions; keep one")
    for name, along in dimensions.items():
        check_distinct_runs(name, along)
    return Axes(dimensions)


def check_distinct_runs(dim: str, along: Mapping[str, np.ndarray]) -> None:
    """Check that no two positions have equal values, which would give equal runs."""
    repeats = pd.DataFrame(dict(along)).duplicated().to_numpy()
    if repeats.any():
        at = np.argmax(repeats)
        twice = ", ".join(f"{axis} = {values[at]}" for axis, values in along.items())
        raise InputError(
            f"axes: {twice} occurs more than once along {dim}; keep one, since equal settings give "
            f"equal runs"
        )


def is_static(axis: str, values: np.ndarray) -> bool:
    """Return whether a program is compiled for each value of an axis."""
    return axis in (BATCH_SIZE, BRANCH_STEP) or values.dtype.kind in "bU"


def _values(name, entries):
    """Return the values of an axis as int64, float64, bool or strings."""
    check_name(name, "axes")
    is_list = not (
        np.isscalar(entries) or isinstance(entries, Mapping) or getattr(entries, "ndim", 1) == 0
    )
    try:
        if isinstance(entries, range) and len(entries) <= MAX_AXIS_VALUES:
            entries = np.arange(entries.start, entries.stop, entries.step)
        if not hasattr(entries, "dtype") and not np.isscalar(entries):
            entries = list(itertools.islice(entries, MAX_AXIS_VALUES + 1))
        kinds = {isinstance(v, str) for v in entries} if isinstance(entries, list) else {False}
        whole = isinstance(entries, list) and all(type(v) is int for v in entries)
        values = np.atleast_1d(np.asarray(entries, np.int64 if whole else None))
        if len(values) > MAX_AXIS_VALUES:
            raise InputError(
                f"axes: {name} has too many values, expected at most {MAX_AXIS_VALUES:,}; sweep "
                f"fewer values, or distribute them over two axes"
            )
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError):  # not a list, or a ragged nested list
        kinds, values = {False}, np.asarray([])
    kind = values.dtype.kind
    valid = values.ndim == 1 and len(values) and len(kinds) == 1 and is_list
    if kind == "U":
        # The attributes of a store list names separated by spaces.
        valid = valid and all(v.isprintable() and len(v.split()) == 1 for v in values.tolist())
    else:
        valid = valid and kind in "biuf" and np.all(np.isfinite(values))
        valid = valid and not np.ma.is_masked(entries)
        valid = valid and not (kind == "u" and values.max() >= 2**63)
    if not valid:
        raise InputError(
            f"axes: {name} = {entries!r:.80}, expected a list of finite numbers, such as [0.1, "
            f"1.0], of integers below 2^63, such as range(8), of booleans, or of names "
            f"without spaces"
        )
    if name.split(".")[-1] in SEEDS or name in (BATCH_SIZE, BRANCH_STEP):
        least = int(name == BATCH_SIZE)
        whole = values.astype(np.int64) if kind in "iuf" else np.full(len(values), -1)
        if np.any(whole < least) or np.any(whole >= 2**32) or np.any(whole != values):
            raise InputError(
                f"axes: {name} = {entries!r:.80}, expected whole numbers in [{least}, 2^32)"
            )
        return whole
    return values if kind in "bU" else values.astype(np.float64 if kind == "f" else np.int64)


def rows_of(along: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the values of axes that vary together, one tuple for each position."""
    return [*zip(*(np.asarray(values).tolist() for values in along.values()), strict=True)]


def positions(grid: Axes, at: Mapping[str, AxisValue]) -> dict[str, int]:
    """Return the position of given values, for each dimension with a given value.

    Numbers are considered equal within float32 rounding.

    Examples:
        >>> grid = axes(learning_rate=[0.1, 1.0], seed=range(3))
        >>> positions(grid, {"learning_rate": np.float32(0.1)})
        {'learning_rate': 0}
    """
    known = grid.by_name
    expected = f"a mapping of axis names to values of a run; the axes are {_listed(grid)}"
    check_type("at", at, Mapping, expected)
    for name, value in at.items():
        if name not in known or not _is_comparable(known[name], value):
            raise InputError(
                f"at: {name} = {value!r:.80}, expected the name and a value of an axis; the "
                f"axes are {_listed(grid)}"
            )
    indices = {}
    for dim, along in grid.dimensions.items():
        if along_axis := {axis: at[axis] for axis in along if axis in at}:
            indices[dim] = _position_along(along, along_axis)
    return indices


def position(grid: Axes, at: Mapping[str, AxisValue]) -> tuple[int, ...]:
    """Return the position of one run along each dimension (see `positions`)."""
    indices = positions(grid, at)
    for dim, along in grid.dimensions.items():
        if dim not in indices:
            raise InputError(
                f"at: no value for {' or '.join(along)}; expected one, since the axes are "
                f"{_listed(grid)}"
            )
    return tuple(indices[dim] for dim in grid.dimensions)


def _is_comparable(values, value):
    """Return whether the type of a value is comparable with the values of an axis."""
    if values.dtype.kind == "U":
        return isinstance(value, str)
    number = np.asarray(value)
    return number.ndim == 0 and number.dtype.kind in "biuf" and bool(np.isfinite(number))


def _position_along(along, wanted):
    """Return the position along one dimension with the given values of its axes."""
    fits = np.ones(len(next(iter(along.values()))), bool)
    for axis, value in wanted.items():
        values, kind = along[axis], along[axis].dtype.kind
        distance = values != value if kind == "U" else np.abs(values.astype(float) - float(value))
        order = np.argsort(distance, kind="stable")
        closest = order[0]
        tolerance = np.finfo(np.float32).eps * abs(values[closest]) if kind == "f" else 0
        if distance[closest] > tolerance:
            raise InputError(
                f"at: {axis} = {value!r:.80} is not in the grid; the nearest values are "
                f"{_texts(values[order][:4], 9)}; pass one of them"
            )
        fits &= values == values[closest]
    shown = ", ".join(f"{axis} = {value!r:.80}" for axis, value in wanted.items())
    if not fits.any():
        raise InputError(f"at: no run has {shown}; expected values that vary together in the grid")
    if fits.sum() > 1:
        others = [axis for axis in along if axis not in wanted]
        raise InputError(f"at: several runs have {shown}; also pass {' or '.join(others)}")
    return int(np.argmax(fits))


def _listed(grid):
    def short(values):
        if len(values) <= 16:
            return _texts(values, 6)
        return f"{_texts(values[:8], 6)}, ..., {_texts(values[-4:], 6)}"

    return "; ".join(f"{axis}: {short(values)}" for axis, values in grid.by_name.items())


def _texts(values, digits):
    numeric = values.dtype.kind in "if"
    return ", ".join(f"{v:.{digits}g}" if numeric else str(v) for v in values.tolist())


def axes_along(runs: xr.Dataset) -> dict[str, list[str]]:
    """Return the names of the axes along each dimension of the runs of a sweep.

    A dimension whose axes are not recorded, such as that of `concat`, is an axis itself.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import sweep
        >>> grid = axes(pair=zip_axes(learning_rate=[0.1, 0.2], seed=[0, 1]))
        >>> axes_along(sweep(problems.bowl([1.0, 9.0]), grid, 1))
        {'pair': ['learning_rate', 'seed']}
    """
    recorded = documents.recorded_identity(runs)
    dims = {str(dim): [str(dim)] for dim in runs["outcome"].dims}
    return dims | {dim: list(along) for dim, along in recorded.get("axes", {}).items()}
