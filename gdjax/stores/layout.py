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

import hashlib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gdjax.errors import InputError

FLAGS = "finished"
"""Name of the array that says which runs are there."""

# xarray turns numbers with these units into time spans, with a warning.
_DECODED_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


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
        for name, array in (*self.variables.items(), *self.coordinates.items()):
            _check_name(name)
            _check_dims(name, array.dims, self.sizes)
            if array.attrs.get("units") in _DECODED_UNITS:
                raise InputError(
                    f"Layout: {name} has units {array.attrs['units']!r}, which xarray would turn "
                    f"into time spans; write the symbol, such as 's'"
                )
        grid = tuple(self.tile)
        for name, variable in self.variables.items():
            if variable.dims[: len(grid)] != grid or name in self.sizes:
                raise InputError(
                    f"Layout: variable {name} has dims {variable.dims}; expected a name that is "
                    f"no dimension, and the grid's dimensions {grid} first"
                )
            if _dtype(name, variable.dtype).kind in "iu" and variable.fill_value is None:
                raise InputError(
                    f"Layout: integer variable {name} needs a fill_value: what is read where "
                    f"nothing has been computed yet, such as -1"
                )
        for name, coordinate in self.coordinates.items():
            shape = np.shape(coordinate.values)
            expected = tuple(self.sizes[d] for d in coordinate.dims)
            _dtype(name, np.asarray(coordinate.values).dtype)
            if shape != expected or any(c.isspace() for c in name):
                raise InputError(
                    f"Layout: coordinate {name!r} has shape {shape} over {coordinate.dims}; "
                    f"expected {expected}, and a name without spaces"
                )

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return tuple(-(-self.sizes[name] // length) for name, length in self.tile.items())

    def identity(self) -> dict[str, Any]:
        """What makes two layouts the same, as JSON: everything but attributes and fill values."""
        return {
            "sizes": {name: int(size) for name, size in self.sizes.items()},
            "tile": {name: int(length) for name, length in self.tile.items()},
            "variables": {
                name: f"{np.dtype(v.dtype)} ({', '.join(v.dims)})"
                for name, v in self.variables.items()
            },
            "coordinates": {
                name: f"{_summary(np.asarray(c.values))} ({', '.join(c.dims)})"
                for name, c in self.coordinates.items()
            },
        }

    def files(self) -> dict[str, bytes]:
        """The files of a store in which nothing has been computed, without the root's `zarr.json`.

        Returns:
            The metadata of every array and the chunks of the coordinates, by their path in the
            store.
        """
        from zarr.storage import MemoryStore

        held: dict[str, Any] = {}
        store = MemoryStore(held)
        grid = tuple(self.tile)
        flags = Variable(
            grid,
            np.uint16,
            {"long_name": "0: not computed; k: computed by the k-th of origins", "units": "1"},
            fill_value=0,
        )
        for name, variable in {**self.variables, FLAGS: flags}.items():
            shape = tuple(self.sizes[d] for d in variable.dims)
            chunks = tuple(
                min(self.tile.get(d, self.sizes[d]), self.sizes[d]) for d in variable.dims
            )
            _create(store, name, variable, shape, chunks)
        for name, coordinate in self.coordinates.items():
            values = np.asarray(coordinate.values)
            described = Variable(coordinate.dims, values.dtype, coordinate.attrs, fill_value=0)
            _create(store, name, described, values.shape, values.shape)[...] = values
        return {file: raw.to_bytes() for file, raw in held.items() if file != "zarr.json"}


class ChunkedArray(NamedTuple):
    """One array of a store, as its metadata describe it."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype

    def file(self, tile: tuple[int, ...] = ()) -> str:
        """Path of the chunk that belongs to a tile; of the only chunk, for a coordinate."""
        index = tile + (0,) * (len(self.shape) - len(tile))
        return "/".join((self.name, ".".join(("c", *map(str, index)))))

    @property
    def nbytes(self) -> int:
        """Size of every chunk's file: the numbers, uncompressed, and four bytes of CRC32C."""
        return math.prod(self.chunk) * self.dtype.itemsize + 4


class Contents(NamedTuple):
    """The arrays of a store, as the metadata in its root describe them.

    Args:
        variables: what is computed for every run.
        coordinates: what is written once.
        flags: number of the origin that computed a run; 0 where none has.
    """

    variables: dict[str, ChunkedArray]
    coordinates: dict[str, ChunkedArray]
    flags: ChunkedArray

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return tuple(-(-n // m) for n, m in zip(self.flags.shape, self.flags.chunk, strict=True))

    def box(self, tile: tuple[int, ...]) -> tuple[slice, ...]:
        """Which part of the grid a tile covers; edge tiles end with the grid."""
        lengths = zip(tile, self.flags.chunk, self.flags.shape, strict=True)
        return tuple(slice(i * m, min((i + 1) * m, n)) for i, m, n in lengths)


def contents(root: Mapping[str, Any]) -> Contents:
    """Read which arrays there are from the consolidated metadata of a store's root."""
    arrays = {
        name: ChunkedArray(
            name,
            tuple(described["dimension_names"]),
            tuple(described["shape"]),
            tuple(described["chunk_grid"]["configuration"]["chunk_shape"]),
            np.dtype(described["data_type"]),
        )
        for name, described in root["consolidated_metadata"]["metadata"].items()
    }
    flags = arrays.pop(FLAGS)
    named = root["attributes"].get("coordinates", "").split()
    coordinates = {name: arrays.pop(name) for name in named}
    return Contents(arrays, coordinates, flags)


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


def _create(store, name, variable, shape, chunks):
    """Create one array: uncompressed, with a checksum, its chunks side by side in one folder."""
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec

    dtype = np.dtype(variable.dtype)
    fill = variable.fill_value
    if fill is None:
        fill = False if dtype.kind == "b" else math.nan
    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=fill,
        attributes=plain(variable.attrs, name),
        dimension_names=variable.dims,
        filters=None,
        serializer=BytesCodec(endian="little"),
        # No compression: zstd at level 1 saves 8 % of float32 noise and makes writing slower by
        # half. As it is, every chunk's file has a size known beforehand.
        compressors=[Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )


def _summary(values: np.ndarray) -> str:
    """Say what a coordinate's values are in a line that differs where they differ."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    return f"{values.dtype} {values.flat[0]} ... {values.flat[-1]}, sha256 {digest}"


def _check_name(name: str) -> None:
    if not name or "/" in name or name.startswith((".", "__")) or name in (FLAGS, "zarr.json"):
        raise InputError(
            f"Layout: {name!r} cannot name an array; expected a name without '/', that does not "
            f"start with '.' or '__', other than {FLAGS!r}"
        )


def _check_dims(name: str, dims: tuple[str, ...], sizes: Mapping[str, int]) -> None:
    if not set(dims) <= set(sizes) or len(set(dims)) < len(dims):
        raise InputError(
            f"Layout: {name} has dims {dims}; expected each once, out of {tuple(sizes)}"
        )


def _dtype(name: str, dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        raise InputError(
            f"Layout: {name} has dtype {dtype}, which not every reader knows; cast to float32, or "
            f"write names as integers with flag_values and flag_meanings"
        )
    return dtype
