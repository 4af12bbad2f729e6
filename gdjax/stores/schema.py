"""The schema of a store: its arrays, their metadata, and its sweep.

The grid of runs is divided into tiles. In each array over the grid, a chunk contains one tile.
Other dimensions (steps, and those of a parameter) are not divided:

    chunk of variable v for tile (i, j)  =  v[i m : (i+1) m, j n : (j+1) n, ...]  =  v/c.i.j.0

A chunk is uncompressed and ends with the CRC32C of its values, so its size is known in advance.
Metadata are JSON, and are accepted only if they equal the metadata that this module would write:

>>> layout = Layout({"seed": 5}, {"seed": 2}, {"cost": Variable(("seed",), "float32")})
>>> cost = layout.schema.variables["cost"]
>>> layout.schema.tiles, cost.key((1,)), cost.nbytes
((3,), 'cost/c.1', 12)
>>> root = Root(layout.record({"num_steps": 10}), layout.schema)
>>> parse_root(root.to_bytes()) == root
True
"""

import collections
import contextlib
import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from gdjax.base.arguments import check_whole
from gdjax.base.documents import digest, plain, serialize
from gdjax.base.errors import InputError
from gdjax.base.limits import Digest

FORMAT = 4

ROOT = "zarr.json"  # file with the metadata of the store, and of each array in its folder
OWN = ".gdjax"  # folder for files other than arrays, such as the lock and checkpoints
SWEEP = f"{OWN}/sweep"  # file with the digest of the sweep
TILES = f"{OWN}/tiles"  # folder with the record of each finished tile
WRITERS = f"{OWN}/writers"  # folder with a description of each writer
FLAGS = "finished"  # array over the grid that is not 0 where a run has been computed

Int = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DataType = Literal["bool", Int, "float16", "float32", "float64"]
# Other attributes of arrays could change the values that a reader returns (`scale_factor`).
ATTRIBUTES = ("long_name", "units", "flag_values", "flag_masks", "flag_meanings", "comment")

MAX_ROOT_BYTES = 2**26
MAX_NAME_BYTES = 200
MAX_TILES = 2**20
MAX_CHUNK_BYTES = 2**36
MAX_RECORD_BYTES = 2**20  # maximum size of the record of a tile, or of the description of a writer

# Windows interprets these names as devices, with any file extension.
_DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10))}

# xarray converts numbers with these units to time spans, with a warning.
_DECODED_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


class OtherFormat(InputError):
    """Error for a store of another format."""


def check_name(name: Any, argument: str) -> None:
    """Check that a name is a valid file name on every operating system.

    Args:
        name: name of an array, of a dimension, or of a problem in a comparison.
        argument: name of the argument that contains it, for the message.

    Examples:
        >>> check_name("params.0.weights", "variables")
        >>> check_name("../x", "problems")
        Traceback (most recent call last):
        gdjax.base.errors.InputError: problems: '../x' is not a valid name: expected letters...
    """
    valid = (
        isinstance(name, str)
        and name.isprintable()
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
        and not set(name) & set('/\\:*?"<>|')
        and not name.startswith((".", "__", " "))
        and not name.endswith((".", " "))
        and name.casefold() != ROOT
        and name.split(".")[0].casefold() not in _DEVICES
    )
    if not valid:
        raise InputError(
            f"{argument}: {name!r:.80} is not a valid name: expected letters, digits and symbols "
            f'other than / \\ : * ? " < > |, at most {MAX_NAME_BYTES} bytes, not starting with '
            f"'.', '__' or a space, not ending with '.' or a space, and neither {ROOT!r} nor the "
            f"name of a Windows device (aux, nul)"
        )


def check_distinct(names: Iterable[str], argument: str) -> None:
    """Check that names are distinct file names, also on systems that ignore case."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise InputError(
                f"{argument}: {other!r} and {name!r} are the same file on systems that ignore "
                f"case; rename one of them"
            )


def check_at_most(number: int, limit: int, unit: str, where: str) -> None:
    """Check that a number does not exceed a limit."""
    if number > limit:
        raise InputError(f"{where}: {number:,} {unit}, expected at most {limit:,}")


# Arrays


@dataclass(frozen=True, eq=False)
class Variable:
    """An array over the grid of runs.

    Args:
        dims: dimensions, beginning with those of the grid in the grid's order.
        dtype: data type, which is boolean, integer or floating.
        attrs: attributes such as `long_name`, `units`, `flag_values` and `flag_meanings`.
        fill_value: value of runs that have not been computed yet. None means NaN for floats, False
            for booleans, and the smallest value of signed and the largest of unsigned integers.
    """

    dims: tuple[str, ...]
    dtype: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)
    fill_value: Any = None

    @property
    def fill(self) -> Any:
        """Value of runs that have not been computed yet."""
        kind = np.dtype(self.dtype).kind
        if self.fill_value is None and kind in "iu":
            limits = np.iinfo(self.dtype)
            return limits.min if kind == "i" else limits.max
        default = math.nan if kind == "f" else False
        return default if self.fill_value is None else self.fill_value


@dataclass(frozen=True, eq=False)
class Coordinate:
    """Values that label the positions along one or more dimensions.

    Args:
        dims: dimensions. A coordinate with the name of its only dimension indexes it.
        values: numbers of the shape of the dimensions; names are represented by integers with
            `flag_values` and `flag_meanings`.
        attrs: attributes such as `long_name`, `units`, `flag_values` and `flag_meanings`.
    """

    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)


class ArraySchema(NamedTuple):
    """Description of an array of a store, as in its metadata."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype
    fill_value: Any
    attrs: Mapping[str, Any]

    def key(self, tile: tuple[int, ...] = ()) -> str:
        """Return the key of a tile's chunk, or of the only chunk of a coordinate."""
        index = tile + (0,) * (len(self.shape) - len(tile))
        return "/".join((self.name, ".".join(("c", *map(str, index)))))

    @property
    def nbytes(self) -> int:
        """Size of every chunk in bytes: uncompressed values, and four bytes of CRC32C."""
        return math.prod(self.chunk) * self.dtype.itemsize + 4

    def document(self) -> dict[str, Any]:
        """Return the Zarr metadata of the array."""
        return {
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": self.fill_value,
            # Chunks are not compressed: zstd at level 1 reduces the size of float32 noise by 8 %
            # and increases the time to write it by half.
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

    # Processor time to encode and write a chunk, median of five rounds of 400: for 84 bytes,
    # 0.38 ms with zarr-python 3.1.6 and 0.033 ms here; for 256 KiB, 0.65 ms and 0.17 ms.
    def encode(self, values: np.ndarray) -> bytes:
        """Return the bytes of a chunk, padded with the fill value."""
        fill = float(self.fill_value) if self.dtype.kind == "f" else self.fill_value
        whole = np.full(self.chunk, fill, self.dtype.newbyteorder("<"))
        whole[tuple(slice(n) for n in values.shape)] = values
        raw = whole.tobytes()
        return raw + crc32c(raw).to_bytes(4, "little")

    def decode(self, raw: bytes) -> np.ndarray:
        """Return the values of an intact chunk, including those beyond the array's edge."""
        dtype = self.dtype.newbyteorder("<")
        return np.frombuffer(raw, dtype, math.prod(self.chunk)).reshape(self.chunk)

    def problem(self, raw: bytes) -> str | None:
        """Return a description of the damage to the bytes of a chunk; None if intact."""
        if len(raw) != self.nbytes:
            return f"{len(raw)} bytes, expected {self.nbytes}"
        return None if crc32c(memoryview(raw)[:-4]) == checksum(raw) else "checksum differs"


def crc32c(raw: bytes | memoryview) -> int:
    """Return the checksum of Zarr's codec "crc32c"."""
    import google_crc32c

    return google_crc32c.value(np.frombuffer(raw, np.uint8))


def checksum(raw: bytes) -> int:
    """Return the checksum at the end of a chunk."""
    return int.from_bytes(raw[-4:], "little")


def _array(
    name: str, variable: Variable, sizes: Mapping[str, int], tile: Mapping[str, int]
) -> ArraySchema:
    """Return an array of a store, divided into chunks along the dimensions of a tile."""
    dims, dtype, attrs = tuple(variable.dims), np.dtype(variable.dtype), plain(variable.attrs, name)
    check_name(name, "array")
    if len(set(dims)) < len(dims) or not set(dims) <= set(sizes):
        raise InputError(
            f"{name} has dims {dims}; expected distinct dimensions among {tuple(sizes)}"
        )
    if dtype.name not in get_args(DataType):
        raise InputError(
            f"{name} has dtype {dtype}, which not every reader supports; cast to float32, or store "
            f"names as integers with flag_values and flag_meanings"
        )
    for key, value in attrs.items():
        values = value if isinstance(value, list) else [value]
        if key not in ATTRIBUTES or not all(isinstance(v, str | int | float) for v in values):
            raise InputError(
                f"{name} has attribute {key!r:.40} = {value!r:.40}; expected numbers or text for "
                f"one of {', '.join(ATTRIBUTES)}"
            )
    if (units := attrs.get("units")) in _DECODED_UNITS or " since " in str(units):
        raise InputError(
            f"{name} has units {units!r}, which xarray would decode as a duration; use the symbol, "
            f"such as 's'"
        )
    shape = tuple(sizes[d] for d in dims)
    chunk = tuple(min(tile.get(d, n), n) for d, n in zip(dims, shape, strict=True))
    fill = np.array(variable.fill, dtype).item()
    fill = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(fill), fill)
    array = ArraySchema(name, dims, shape, chunk, dtype, fill, attrs)
    check_at_most(array.nbytes, MAX_CHUNK_BYTES, "bytes of a chunk", name)
    return array


class Schema(NamedTuple):
    """The arrays of a store."""

    variables: dict[str, ArraySchema]  # results of the runs
    coordinates: dict[str, ArraySchema]  # arrays that are written once
    flags: ArraySchema

    @property
    def arrays(self) -> dict[str, ArraySchema]:
        """All arrays, by name."""
        return {**self.variables, FLAGS: self.flags, **self.coordinates}

    def documents(self) -> dict[str, bytes]:
        """Return the file with the metadata of each array, by key."""
        return {f"{n}/{ROOT}": serialize(a.document()) for n, a in self.arrays.items()}

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return tuple(-(-n // m) for n, m in zip(self.flags.shape, self.flags.chunk, strict=True))

    def region(self, tile: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the part of the grid that a tile covers, cropped to the grid."""
        lengths = zip(tile, self.flags.chunk, self.flags.shape, strict=True)
        return tuple(slice(i * m, min((i + 1) * m, n)) for i, m, n in lengths)

    def identity(self) -> dict[str, Any]:
        """Return the identity of the arrays, without the values of coordinates."""
        every = (self.flags, *self.variables.values(), *self.coordinates.values())
        return {
            "sizes": {d: n for a in every for d, n in zip(a.dims, a.shape, strict=True)},
            "tile": dict(zip(self.flags.dims, self.flags.chunk, strict=True)),
            "variables": {
                name: f"{a.dtype.name} ({', '.join(a.dims)})" for name, a in self.variables.items()
            },
        }


def _schema(
    sizes: Mapping[str, int],
    tile: Mapping[str, int],
    variables: Mapping[str, Variable],
    coordinates: Mapping[str, Variable],
) -> Schema:
    """Return the arrays of a store."""
    for argument, lengths in (("sizes", sizes), ("tile", tile)):
        for dim, length in lengths.items():
            check_name(dim, argument)
            check_whole(f"{argument}[{dim!r}]", length, 1, math.inf)
    if not tile or not variables:
        raise InputError("layout: expected at least one dimension in tile and one variable")
    grid = tuple(tile)
    attrs = {"long_name": "0: not computed; k: computed by the k-th of writers", "units": "1"}
    schema = Schema(
        {name: _array(name, variable, sizes, tile) for name, variable in variables.items()},
        {name: _array(name, variable, sizes, {}) for name, variable in coordinates.items()},
        flags=_array(FLAGS, Variable(grid, np.uint16, attrs, 0), sizes, tile),
    )
    check_at_most(math.prod(schema.tiles), MAX_TILES, "tiles", FLAGS)
    names = [*variables, *coordinates, FLAGS]
    for name, array in schema.variables.items():
        if array.dims[: len(grid)] != grid or name in sizes:
            raise InputError(
                f"variable {name} has dims {array.dims}; expected the dimensions {grid} of the "
                f"grid first, and a name other than that of a dimension"
            )
    if spaced := [name for name in coordinates if " " in name]:
        raise InputError(f"coordinate {spaced[0]!r}: expected a name without spaces")
    if twice := [name for name, count in collections.Counter(names).items() if count > 1]:
        raise InputError(f"{twice} are names of two arrays; rename one ({FLAGS} is reserved)")
    check_distinct(names, "variables")
    return schema


# The root


class Root(NamedTuple):
    """Metadata of a store, known before any chunk is read."""

    identity: dict[str, Any]  # identity of the sweep, with its arrays as `layout`
    schema: Schema

    def document(self) -> dict[str, Any]:
        """Return the root document without its digest, as `zarr.json` of a group."""
        metadata = {name: array.document() for name, array in self.schema.arrays.items()}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {
                "gdjax_format": FORMAT,
                "coordinates": " ".join(self.schema.coordinates),
                "identity": self.identity,
            },
            "consolidated_metadata": {
                "kind": "inline",
                "must_understand": False,
                "metadata": metadata,
            },
        }

    def to_bytes(self) -> bytes:
        """Return the contents of `zarr.json`."""
        return seal(self.document())


def seal(document: Mapping[str, Any]) -> bytes:
    """Return a root document as bytes, with its SHA-256 as digest.

    The SHA-256 is computed from these bytes with an empty digest. The identity is JSON text within
    the JSON, so that xarray can write it to netCDF.
    """
    identity = json.dumps(document["attributes"]["identity"], allow_nan=False)
    blank = {**document, "attributes": {**document["attributes"], "identity": identity}}
    blank["attributes"]["digest"] = ""
    blank["attributes"]["digest"] = digest(blank)
    raw = serialize(blank)
    check_at_most(len(raw), MAX_ROOT_BYTES, "bytes of zarr.json", "the record of the sweep")
    return raw


class _ArrayRecord(msgspec.Struct):
    data_type: DataType
    dimension_names: tuple[str, ...]
    attributes: dict[str, Any]
    fill_value: bool | int | float | str


class _Attributes(msgspec.Struct):
    gdjax_format: Any
    identity: str


class _Consolidated(msgspec.Struct):
    metadata: dict[str, _ArrayRecord]


class _Root(msgspec.Struct):
    attributes: _Attributes
    consolidated_metadata: _Consolidated


class _Layout(msgspec.Struct):
    sizes: dict[str, int]
    tile: dict[str, int]
    coordinates: dict[str, str]


class _Identity(msgspec.Struct):
    layout: _Layout


def parse_root(raw: bytes) -> Root:
    """Return the root of a store from its `zarr.json`, which must be that of `Root.to_bytes`."""
    try:
        root = _decode_root(raw)
        if root.to_bytes() == raw:
            return root
        cause = "it differs from that of its sweep and arrays"
    except OtherFormat:
        raise
    except (InputError, msgspec.MsgspecError) as error:
        cause = str(error)
    except (ValueError, ArithmeticError, TypeError, RecursionError) as error:
        cause = type(error).__name__
    raise InputError(f"{ROOT} is damaged ({cause})")


def _decode_root(raw):
    """Return the root with the identity and the arrays in a `zarr.json`."""
    document = msgspec.json.decode(raw, type=_Root)
    version = document.attributes.gdjax_format
    if type(version) is not int or version != FORMAT:
        raise OtherFormat(
            f"the store has format {version!r:.20}, but this version of gdjax reads format "
            f"{FORMAT}; open it with the version of gdjax that wrote it, or run its sweep again in "
            f"a new store"
        )
    identity = json.loads(document.attributes.identity)
    layout = msgspec.convert(identity, _Identity).layout
    arrays = {
        name: Variable(a.dimension_names, a.data_type, a.attributes, a.fill_value)
        for name, a in document.consolidated_metadata.metadata.items()
    }
    coordinates = {name: arrays.pop(name) for name in layout.coordinates if name in arrays}
    arrays.pop(FLAGS, None)
    schema = _schema(layout.sizes, layout.tile, arrays, coordinates)
    if identity["layout"] != {**schema.identity(), "coordinates": layout.coordinates}:
        raise InputError("the arrays do not match the recorded sweep")
    return Root(identity, schema)


# Tiles and their writers


class TileRecord(msgspec.Struct, frozen=True):
    """Record of a finished tile: it is written last, and is the flag of its completion.

    Args:
        writers: name of each writer that computed a part of the tile, in order.
        checksums: CRC32C of the chunk of each variable.
    """

    writers: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1)]
    checksums: tuple[int, ...]

    def to_bytes(self, sweep: str, tile: tuple[int, ...]) -> bytes:
        """Return the contents of the file, bound to a sweep and a position by a digest."""
        document = {"writers": list(self.writers), "checksums": list(self.checksums)}
        bound = digest({"sweep": sweep, "tile": list(tile), **document})
        return serialize({**document, "digest": bound})

    @classmethod
    def from_bytes(cls, raw: bytes, sweep: str, tile: tuple[int, ...]) -> "TileRecord | None":
        """Return the record in a file; None if it is damaged or belongs elsewhere."""
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            record = msgspec.json.decode(raw, type=cls)
            return record if record.to_bytes(sweep, tile) == raw else None


def tile_name(tile: tuple[int, ...]) -> str:
    """Return the name of the files of a tile other than its chunks."""
    return ".".join(map(str, tile))


# The arrays of a sweep


@dataclass(frozen=True, eq=False)
class Layout:
    """The arrays of a sweep: dimensions, tiles, variables and coordinates.

    Args:
        sizes: length of every dimension.
        tile: length of a tile along each dimension of the grid, in the grid's order.
        variables: results of the runs, by name; the name of a parameter joins its keys by dots
            (`params.0.weights`).
        coordinates: coordinates by name.

    Attributes:
        schema: arrays of a store with this layout.
    """

    sizes: Mapping[str, int]
    tile: Mapping[str, int]
    variables: Mapping[str, Variable]
    coordinates: Mapping[str, Coordinate] = field(default_factory=dict)
    schema: Schema = field(init=False, repr=False)

    def __post_init__(self):
        coordinates = {}
        for name, coordinate in self.coordinates.items():
            dtype = np.asarray(coordinate.values).dtype
            fill = 0 if dtype.kind in "iu" else None
            coordinates[name] = Variable(coordinate.dims, dtype, coordinate.attrs, fill)
        sizes, tile = ({d: int(n) for d, n in of.items()} for of in (self.sizes, self.tile))
        schema = _schema(sizes, tile, self.variables, coordinates)
        for name, array in schema.coordinates.items():
            if (shape := np.shape(self.coordinates[name].values)) != array.shape:
                raise InputError(
                    f"layout: coordinate {name!r} has shape {shape} over {array.dims}; expected "
                    f"{array.shape}"
                )
        object.__setattr__(self, "schema", schema)

    def record(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return the identity of a sweep with these arrays, from the identity without them."""
        values = {
            name: describe_values(np.asarray(c.values), c.dims)
            for name, c in self.coordinates.items()
        }
        layout = {**self.schema.identity(), "coordinates": values}
        return {**plain(identity, "identity"), "layout": layout}

    def chunks(self) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the bytes of each coordinate's chunk."""
        for name, array in self.schema.coordinates.items():
            yield array.key(), array.encode(np.asarray(self.coordinates[name].values))


def describe_values(values: np.ndarray, dims: tuple[str, ...]) -> str:
    """Return the type, first and last values, hash and dimensions as text."""
    hashed = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    extremes = f"{values.flat[0]} ... {values.flat[-1]}"
    return f"{values.dtype.name} {extremes}, sha256 {hashed} ({', '.join(dims)})"
