"""Which arrays a sweep consists of, and which file of its store holds which part of them.

The grid of runs is cut into boxes, the tiles; in every array a chunk is a tile, and dimensions
other than the grid's (the step, a parameter's own) lie whole in one chunk:

    chunk of variable v for tile (i, j)  =  v[i*m : (i+1)*m, j*n : (j+1)*n, ...]  =  file v/c.i.j.0

The simplest instance is one variable over one axis:

>>> layout = Layout(
...     sizes={"seed": 5},
...     tile={"seed": 2},
...     variables={"cost": Variable(("seed",), "float32")},
... )
>>> layout.tiles
(3,)
"""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gdjax.errors import InputError
from gdjax.stores.contents import FLAGS, ChunkedArray, Contents, summary


@dataclass(frozen=True, eq=False)
class Variable:
    """One array over the grid of runs.

    Args:
        dims: its dimensions: those of the grid, in the grid's order, then its own.
        dtype: type of its numbers: boolean, integer or floating.
        attrs: `long_name`, `units`, `flag_values`, `flag_meanings` and the like.
        fill_value: what is read where nothing has been computed yet. None is NaN for floats and
            False for booleans; an integer variable has to name one.
    """

    dims: tuple[str, ...]
    dtype: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)
    fill_value: float | int | bool | None = None


@dataclass(frozen=True, eq=False)
class Coordinate:
    """The values that belong to positions along one dimension or more.

    Args:
        dims: its dimensions. One that is named like its only dimension indexes it.
        values: numbers; names are given as integers with `flag_values` and `flag_meanings`.
        attrs: as for `Variable`.
    """

    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Layout:
    """The arrays of a sweep: dimensions, tiles, variables and coordinates.

    Args:
        sizes: length of every dimension that occurs.
        tile: length of a tile along each dimension of the grid, in the grid's order.
        variables: what is computed for every run, by name; a parameter's name joins its keys by
            dots (`params.0.weights`).
        coordinates: by name.

    Raises:
        InputError: the parts do not fit together, or could not be read back without a warning.
    """

    sizes: Mapping[str, int]
    tile: Mapping[str, int]
    variables: Mapping[str, Variable]
    coordinates: Mapping[str, Coordinate] = field(default_factory=dict)

    def __post_init__(self):
        for what, lengths in (("sizes", self.sizes), ("tile", self.tile)):
            for name, length in lengths.items():
                if length < 1:
                    raise InputError(f"Layout: {what}[{name!r}] = {length}, expected at least 1")
        if not self.tile or not self.variables:
            raise InputError("Layout: expected at least one dimension in tile and one variable")
        if twice := set(self.variables) & set(self.coordinates):
            raise InputError(f"Layout: {sorted(twice)} are both variables and coordinates")
        if FLAGS in (*self.variables, *self.coordinates):
            raise InputError(f"Layout: {FLAGS!r} is the array that says which runs are there")
        for name, array in (*self.variables.items(), *self.coordinates.items()):
            if not set(array.dims) <= set(self.sizes):
                raise InputError(
                    f"Layout: {name} has dims {array.dims}; expected them out of "
                    f"{tuple(self.sizes)}"
                )
        for name, variable in self.variables.items():
            if np.dtype(variable.dtype).kind in "iu" and variable.fill_value is None:
                raise InputError(
                    f"Layout: integer variable {name} needs a fill_value: what is read where "
                    f"nothing has been computed yet, such as -1"
                )
        for name, coordinate in self.coordinates.items():
            shape = np.shape(coordinate.values)
            expected = tuple(self.sizes[d] for d in coordinate.dims)
            if shape != expected:
                raise InputError(
                    f"Layout: coordinate {name!r} has shape {shape} over {coordinate.dims}; "
                    f"expected {expected}"
                )
        self.contents.check()

    @cached_property
    def contents(self) -> Contents:
        """The arrays of a store of this layout."""
        grid = tuple(self.tile)
        flags = Variable(
            grid,
            np.uint16,
            {"long_name": "0: not computed; k: computed by the k-th of origins", "units": "1"},
            fill_value=0,
        )
        return Contents(
            {name: self._array(name, variable) for name, variable in self.variables.items()},
            {
                name: self._array(name, Variable(c.dims, np.asarray(c.values).dtype, c.attrs), {})
                for name, c in self.coordinates.items()
            },
            self._array(FLAGS, flags),
        )

    def _array(self, name, variable, lengths=None):
        lengths = self.tile if lengths is None else lengths
        shape = tuple(int(self.sizes[d]) for d in variable.dims)
        chunk = tuple(
            min(int(lengths.get(d, n)), n) for d, n in zip(variable.dims, shape, strict=True)
        )
        dtype = np.dtype(variable.dtype)
        fill = variable.fill_value
        if fill is None:
            fill = {"b": False, "f": math.nan}.get(dtype.kind, 0)
        fill = plain(dtype.type(fill)) if dtype.kind in "biuf" else None
        fill = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(fill, fill)
        attrs = plain(variable.attrs, name)
        return ChunkedArray(name, tuple(variable.dims), shape, chunk, dtype, fill, attrs)

    @property
    def of_a_run(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of what one run has of each variable."""
        grid = len(self.tile)
        return {
            name: (tuple(self.sizes[d] for d in v.dims[grid:]), np.dtype(v.dtype))
            for name, v in self.variables.items()
        }

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return self.contents.tiles

    def identity(self) -> dict[str, Any]:
        """What makes two layouts the same, as JSON: everything but attributes and fill values."""
        values = {
            name: f"{summary(np.asarray(c.values))} ({', '.join(c.dims)})"
            for name, c in self.coordinates.items()
        }
        return {**self.contents.identity(), "coordinates": values}

    def record(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What a store of these arrays says that it is.

        Args:
            identity: what makes a sweep the same sweep, its arrays aside.

        Raises:
            InputError: something in it cannot be recorded as JSON.
        """
        return {**plain(identity, "identity"), "layout": self.identity()}

    def files(self) -> dict[str, bytes]:
        """The coordinates' chunks, by their path in the store."""
        return {
            array.file(): array.encode(np.asarray(self.coordinates[name].values))
            for name, array in self.contents.coordinates.items()
        }


def plain(value: Any, where: str = "attributes") -> Any:
    """Write a value as JSON can hold it: containers, numbers and text; inf and nan become text.

    Args:
        value: anything made of mappings, sequences, NumPy numbers, text, booleans and None.
        where: what the value is, for the error.

    Raises:
        InputError: something in it has no such form.

    Examples:
        >>> plain({"widths": (16, 16), "bound": np.float64("inf")})
        {'widths': [16, 16], 'bound': 'inf'}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    raise InputError(
        f"{where} = {value!r} cannot be recorded in a store; expected numbers, text, None, or "
        f"lists and mappings of them"
    )
