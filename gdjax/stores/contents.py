"""The arrays of a store: names, types, lengths and attributes from a closed range, and chunks.

A chunk is uncompressed and ends with the CRC32C of what comes before, so its file has a size known
beforehand. An array's metadata are believed where they are the ones that this module would write:

>>> cost = ChunkedArray("cost", ("seed",), (5,), (2,), np.dtype("f4"), "NaN", {})
>>> cost.file((1,)), cost.nbytes
('cost/c.1', 12)
>>> array_from("cost", cost.document()) == cost
True

Any array over the grid of runs has a place here, with dimensions of its own: records, measures,
`params.*`, a network's `state.*`, an optimiser's `memory.*`.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gdjax.errors import InputError

ROOT = "zarr.json"
"""Name of the files that hold metadata: the store's, and each array's."""

FLAGS = "finished"
"""Name of the array that says which runs are there."""

DTYPES = ("bool", *(f"{s}int{n}" for n in (8, 16, 32, 64) for s in ("", "u")))
DTYPES = (*DTYPES, "float16", "float32", "float64")
ATTRIBUTES = ("long_name", "units", "flag_values", "flag_masks", "flag_meanings", "comment")
"""Attributes of arrays. Others could change the numbers that a reader is shown (`scale_factor`)."""

MOST = {
    "bytes of zarr.json": 2**26,
    "bytes of an array's attributes": 2**14,
    "levels of nesting": 24,
    "bytes of a name": 200,
    "arrays": 2**12,
    "dimensions of an array": 32,
    "length of a dimension": 2**40,
    "tiles": 2**20,
    "bytes of a chunk": 2**36,
    "origins": 2**16 - 1,
}
"""What is refused beyond, when it is written and when it is read."""

# What Windows takes for a device, with whatever ending.
_DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10))}

# xarray turns numbers with these units into time spans, with a warning.
_DECODED_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def check_name(name: Any, what: str) -> None:
    """Make sure that a name can be a file's, on every system, inside the folder it is meant for.

    Args:
        name: of an array, a dimension, a problem that is compared.
        what: the argument and what is named, for the error.

    Raises:
        InputError: it cannot.

    Examples:
        >>> check_name("params.0.weights", "variables")
        >>> check_name("../x", "problems")
        Traceback (most recent call last):
        gdjax.errors.InputError: problems: '../x' cannot be a name: expected text of letters...
    """
    fine = (
        isinstance(name, str)
        and name.isprintable()
        and 0 < len(name.encode()) <= MOST["bytes of a name"]
        and not set(name) & set('/\\:*?"<>|')
        and not name.startswith((".", "__", " "))
        and not name.endswith((".", " "))
        and name.casefold() != ROOT
        and name.split(".")[0].casefold() not in _DEVICES
    )
    if not fine:
        raise InputError(
            f"{what}: {name!r:.80} cannot be a name: expected text of letters, digits and signs "
            f'other than / \\ : * ? " < > |, at most {MOST["bytes of a name"]} bytes, that does '
            f"not start with '.' or '__' nor end with '.', and is no device of Windows (aux, nul)"
        )


def check_distinct(names: Iterable[str], what: str) -> None:
    """Make sure that names are those of different files, also where capitals are small letters.

    Raises:
        InputError: two are not.

    Examples:
        >>> check_distinct(["Cost", "cost"], "measures")
        Traceback (most recent call last):
        gdjax.errors.InputError: measures: 'Cost' and 'cost' are one file on systems that know...
    """
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise InputError(
                f"{what}: {other!r} and {name!r} are one file on systems that know no capitals; "
                f"rename one of them"
            )


def within(what: str, number: int, where: str) -> None:
    """Make sure that a number is no larger than `MOST` allows.

    Raises:
        InputError: it is.
    """
    if number > MOST[what]:
        raise InputError(f"{where}: {number:,} {what}, expected at most {MOST[what]:,}")


class ChunkedArray(NamedTuple):
    """One array of a store, as its metadata describe it."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype
    fill_value: Any
    attrs: Mapping[str, Any]

    def file(self, tile: tuple[int, ...] = ()) -> str:
        """Path of the chunk that belongs to a tile; of the only chunk, for a coordinate."""
        index = tile + (0,) * (len(self.shape) - len(tile))
        return "/".join((self.name, ".".join(("c", *map(str, index)))))

    @property
    def nbytes(self) -> int:
        """Size of every chunk's file: the numbers, uncompressed, and four bytes of CRC32C."""
        return math.prod(self.chunk) * self.dtype.itemsize + 4

    @property
    def fill(self) -> float | int | bool:
        """What stands where nothing has been computed yet."""
        return float(self.fill_value) if self.dtype.kind == "f" else self.fill_value

    def document(self) -> dict[str, Any]:
        """Its metadata, as Zarr defines them."""
        return {
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(self.chunk)},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": self.fill_value,
            # No compression: zstd at level 1 saves 8 % of float32 noise and makes writing slower
            # by half.
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
            "attributes": dict(self.attrs),
            "dimension_names": list(self.dims),
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    def encode(self, values: np.ndarray) -> bytes:
        """A chunk's file; what lies beyond the array's edge is filled up."""
        full = np.full(self.chunk, self.fill, self.dtype.newbyteorder("<"))
        full[tuple(slice(n) for n in values.shape)] = values
        raw = full.tobytes()
        return raw + _checksum(raw)

    def decode(self, raw: bytes) -> np.ndarray:
        """The numbers of a sound chunk's file, edge and all."""
        kind = self.dtype.newbyteorder("<")
        return np.frombuffer(raw, kind, math.prod(self.chunk)).reshape(self.chunk)


class Contents(NamedTuple):
    """The arrays of a store.

    Args:
        variables: what is computed for every run.
        coordinates: what is written once.
        flags: number of the origin that computed a run; 0 where none has.
    """

    variables: dict[str, ChunkedArray]
    coordinates: dict[str, ChunkedArray]
    flags: ChunkedArray

    @property
    def arrays(self) -> dict[str, ChunkedArray]:
        """All of them, by name."""
        return {**self.variables, FLAGS: self.flags, **self.coordinates}

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return tuple(-(-n // m) for n, m in zip(self.flags.shape, self.flags.chunk, strict=True))

    def box(self, tile: tuple[int, ...]) -> tuple[slice, ...]:
        """Which part of the grid a tile covers; edge tiles end with the grid."""
        lengths = zip(tile, self.flags.chunk, self.flags.shape, strict=True)
        return tuple(slice(i * m, min((i + 1) * m, n)) for i, m, n in lengths)

    def files(self, tile: tuple[int, ...]) -> Iterator[tuple[ChunkedArray, str]]:
        """The chunks of a tile: array and file, the flag last."""
        for array in (*self.variables.values(), self.flags):
            yield array, array.file(tile)

    def identity(self) -> dict[str, Any]:
        """What makes two sweeps' arrays the same, as JSON, coordinates' values aside."""
        dims = self.flags.dims
        every = self.arrays.values()
        return {
            "sizes": {d: n for a in every for d, n in zip(a.dims, a.shape, strict=True)},
            "tile": dict(zip(dims, self.flags.chunk, strict=True)),
            "variables": {
                name: f"{a.dtype.name} ({', '.join(a.dims)})" for name, a in self.variables.items()
            },
        }

    def check(self) -> None:
        """Make sure that the arrays are such as a store can hold.

        Raises:
            InputError: which is not, and why.
        """
        grid, lengths = self.flags.dims, dict(zip(self.flags.dims, self.flags.chunk, strict=True))
        within("arrays", len(self.arrays), "variables")
        check_distinct(self.arrays, "variables")
        sizes: dict[str, int] = {}
        for name, array in self.arrays.items():
            _check_array(array)
            if name in self.coordinates:
                chunk = array.shape
                if " " in name:
                    raise InputError(f"coordinate {name!r}: expected a name without spaces")
            else:
                chunk = tuple(
                    min(lengths.get(d, n), n) for d, n in zip(array.dims, array.shape, strict=True)
                )
                if array.dims[: len(grid)] != grid or name in array.dims:
                    raise InputError(
                        f"variable {name} has dims {array.dims}; expected a name that is no "
                        f"dimension, and the grid's dimensions {grid} first"
                    )
            if array.chunk != chunk:
                raise InputError(f"{name} has chunks of {array.chunk}, expected {chunk}")
            for dim, size in zip(array.dims, array.shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise InputError(f"{name}: {dim} is {size} long, elsewhere {sizes[dim]}")
        if set(self.variables) & set(sizes):
            raise InputError("variables: a name is that of a dimension; expected another")
        if self.flags.dtype != np.uint16 or self.flags.shape == () or self.flags.fill_value != 0:
            raise InputError(f"{FLAGS}: expected uint16 over the grid, 0 where nothing is")
        within("tiles", math.prod(self.tiles), FLAGS)


def array_from(name: str, described: Any) -> ChunkedArray:
    """An array from its metadata.

    Raises:
        InputError: they are not what this module would have written.
    """
    try:
        array = ChunkedArray(
            name,
            tuple(described["dimension_names"]),
            tuple(described["shape"]),
            tuple(described["chunk_grid"]["configuration"]["chunk_shape"]),
            np.dtype(described["data_type"] if described["data_type"] in DTYPES else "O"),
            described["fill_value"],
            dict(described["attributes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: no metadata of an array of ours") from error
    _check_array(array)
    # As text: 1, 1.0 and True are equal, and the order of keys is the file's.
    if json.dumps(array.document()) != json.dumps(described):
        raise InputError(f"{name}: codecs or other metadata that are not of this format")
    return array


def serialise(document: Mapping[str, Any]) -> bytes:
    """The one way in which metadata are written: equal documents are equal bytes."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def check_chunk(array: ChunkedArray, raw: bytes) -> str | None:
    """Say what is wrong with the file of a chunk, None if nothing is."""
    if len(raw) != array.nbytes:
        return f"{len(raw)} bytes, expected {array.nbytes}"
    return None if _checksum(memoryview(raw)[:-4]) == raw[-4:] else "checksum differs"


def summary(values: np.ndarray) -> str:
    """Say what a coordinate's values are in a line that differs where they differ."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    return f"{values.dtype.name} {values.flat[0]} ... {values.flat[-1]}, sha256 {digest}"


def _check_array(array):
    check_name(array.name, "array")
    within("dimensions of an array", len(array.dims), array.name)
    if len(set(array.dims)) < len(array.dims) or len(array.dims) != len(array.shape):
        raise InputError(f"{array.name} has dims {array.dims}; expected each once")
    for dim in array.dims:
        check_name(dim, f"dimension of {array.name}")
    if len(array.chunk) != len(array.shape):
        raise InputError(f"{array.name} has chunks of {array.chunk} of {array.shape}")
    for length in (*array.shape, *array.chunk):
        if type(length) is not int or length < 1:
            raise InputError(f"{array.name} has a length of {length!r}, expected at least 1")
        within("length of a dimension", length, array.name)
    if array.dtype.name not in DTYPES:
        raise InputError(
            f"{array.name} has dtype {array.dtype}, which not every reader knows; cast to float32, "
            f"or write names as integers with flag_values and flag_meanings"
        )
    within("bytes of a chunk", array.nbytes, array.name)
    _check_fill(array)
    _check_attributes(array)


def _check_fill(array):
    kind, fill = array.dtype.kind, array.fill_value
    if kind == "b":
        fine = isinstance(fill, bool)
    elif kind == "f":
        fine = fill in ("NaN", "Infinity", "-Infinity") or type(fill) is float
    else:
        limits = np.iinfo(array.dtype)
        fine = type(fill) is int and limits.min <= fill <= limits.max
    if not fine:
        raise InputError(f"{array.name} has fill_value {fill!r:.20}, not of {array.dtype}")


def _check_attributes(array):
    for name, value in array.attrs.items():
        values = value if isinstance(value, list) else [value]
        if name not in ATTRIBUTES or not all(isinstance(v, str | int | float) for v in values):
            raise InputError(
                f"{array.name} has attribute {name!r:.40} = {value!r:.40}; expected numbers or "
                f"text for one of {', '.join(ATTRIBUTES)}"
            )
    units = array.attrs.get("units")
    if units in _DECODED_UNITS or " since " in str(units):
        raise InputError(
            f"{array.name} has units {units!r}, which xarray would turn into time spans; write the "
            f"symbol, such as 's'"
        )
    within("bytes of an array's attributes", len(json.dumps(array.attrs)), array.name)


def _checksum(raw) -> bytes:
    # zarr's own checksum; through zarr an array would have to be opened and decoded.
    import google_crc32c

    return google_crc32c.value(np.frombuffer(raw, np.uint8)).to_bytes(4, "little")
