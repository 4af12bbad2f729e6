"""The files of a store: its arrays, their metadata, and its sweep.

The grid of runs is divided into tiles. In each array over the grid, a chunk contains one tile.
Other dimensions (steps, and those of a parameter) are not divided:

    chunk of array v for tile (i, j)  =  v[i m : (i+1) m, j n : (j+1) n, ...]  =  v/c.i.j.0

A chunk is uncompressed and ends with the CRC32C of its values, so its size is known in advance.
Metadata are JSON, and are accepted only if they equal the metadata that this module would write:

>>> cost = Array("cost", ("seed",), dtype="float32")
>>> schema = Schema({"seed": 5}, {"seed": 2}, {"cost": cost})
>>> files = Files(schema)
>>> schema.tiles, files.arrays["cost"].key((1,)), files.arrays["cost"].nbytes
((3,), 'cost/c.1', 12)
>>> root = Root(files.record({"num_steps": 10}), files)
>>> parse_root(root.to_bytes()).identity == root.identity
True
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from gdjax.base.arrays import FLAGS, METADATA, Array, DataType, Schema
from gdjax.base.documents import digest, plain, serialize, sha256
from gdjax.base.errors import InputError
from gdjax.base.limits import Digest

FORMAT = 4

ROOT = METADATA  # file with the metadata of the store, and of each array in its folder
OWN = ".gdjax"  # folder for files other than arrays, such as the lock and checkpoints
SWEEP = f"{OWN}/sweep"  # file with the digest of the sweep
TILES = f"{OWN}/tiles"  # folder with the record of each finished tile
WRITERS = f"{OWN}/writers"  # folder with a description of each writer

MAX_ROOT_BYTES = 2**26
MAX_TILES = 2**20
MAX_CHUNK_BYTES = 2**36
MAX_RECORD_BYTES = 2**20  # maximum size of the record of a tile, or of the description of a writer


class OtherFormat(InputError):
    """Error for a store of another format."""


def check_at_most(number: int, limit: int, unit: str, where: str) -> None:
    """Check that a number does not exceed a limit."""
    if number > limit:
        raise InputError(f"{where}: {number:,} {unit}, expected at most {limit:,}")


# Arrays


class StoredArray:
    """The files of an array of a store.

    Args:
        name: name of the array, and of its folder.
        array: its declaration.
        shape: its shape.
        chunk: shape of each chunk.
    """

    def __init__(self, name: str, array: Array, shape: tuple[int, ...], chunk: tuple[int, ...]):
        self.name, self.array, self.shape, self.chunk = name, array, shape, chunk
        self.dtype = np.dtype(array.dtype)
        self.nbytes = math.prod(chunk) * self.dtype.itemsize + 4
        """Size of every chunk in bytes: uncompressed values, and four bytes of CRC32C."""
        check_at_most(self.nbytes, MAX_CHUNK_BYTES, "bytes of a chunk", name)

    def key(self, tile: tuple[int, ...] = ()) -> str:
        """Return the key of a tile's chunk, or of the only chunk of a coordinate."""
        index = tile + (0,) * (len(self.shape) - len(tile))
        return "/".join((self.name, ".".join(("c", *map(str, index)))))

    def document(self) -> dict[str, Any]:
        """Return the Zarr metadata of the array."""
        fill = np.array(self.array.fill_value, self.dtype).item()
        return {
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(
                str(fill), fill
            ),
            # Chunks are not compressed: zstd at level 1 reduces the size of float32 noise by 8 %
            # and increases the time to write it by half.
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
            "attributes": self.array.attributes,
            "dimension_names": list(self.array.dims),
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    # Processor time to encode and write a chunk, median of five rounds of 400: for 84 bytes,
    # 0.38 ms with zarr-python 3.1.6 and 0.033 ms here; for 256 KiB, 0.65 ms and 0.17 ms.
    def encode(self, values: np.ndarray) -> bytes:
        """Return the bytes of a chunk, padded with the fill value."""
        whole = np.full(self.chunk, self.array.fill_value, self.dtype.newbyteorder("<"))
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


class Files:
    """The files of the arrays of a store.

    Args:
        schema: the arrays.

    Attributes:
        variables: results of the runs, by name.
        coordinates: arrays that are written once, by name.
        flags: the numbers of the writers of the runs.
        arrays: all arrays, by name.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        described = "0: not computed; k: computed by the k-th of writers"
        flags = Array(described, tuple(schema.tile), dtype=np.uint16, fill=0)
        self.variables = {name: self._stored(name, a) for name, a in schema.arrays.items()}
        self.flags = self._stored(FLAGS, flags)
        self.coordinates = {
            name: StoredArray(name, a, schema.shape(a), schema.shape(a))
            for name, a in schema.coordinates.items()
        }
        self.arrays = {**self.variables, FLAGS: self.flags, **self.coordinates}
        check_at_most(math.prod(schema.tiles), MAX_TILES, "tiles", FLAGS)

    def _stored(self, name, array):
        lengths = zip(array.dims, self.schema.shape(array), strict=True)
        chunk = tuple(min(self.schema.tile.get(dim, n), n) for dim, n in lengths)
        return StoredArray(name, array, self.schema.shape(array), chunk)

    def documents(self) -> dict[str, bytes]:
        """Return the file with the metadata of each array, by key."""
        return {f"{n}/{ROOT}": serialize(a.document()) for n, a in self.arrays.items()}

    def chunks(self) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the bytes of each coordinate's chunk."""
        for name, array in self.coordinates.items():
            yield array.key(), array.encode(self.schema.values[name])

    def layout(self) -> dict[str, Any]:
        """Return the part of the identity that describes arrays, without values of coordinates."""
        every = (self.flags, *self.variables.values(), *self.coordinates.values())
        return {
            "sizes": {d: n for a in every for d, n in zip(a.array.dims, a.shape, strict=True)},
            "tile": dict(zip(self.flags.array.dims, self.flags.chunk, strict=True)),
            "variables": {
                name: f"{a.dtype.name} ({', '.join(a.array.dims)})"
                for name, a in self.variables.items()
            },
        }

    def record(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return the identity of a sweep with these arrays, from the identity without them."""
        values = {
            name: describe_values(self.schema.values[name], array.dims)
            for name, array in self.schema.coordinates.items()
        }
        layout = {**self.layout(), "coordinates": values}
        return {**plain(identity, "identity"), "layout": layout}


def describe_values(values: np.ndarray, dims: tuple[str, ...]) -> str:
    """Return the type, first and last values, hash and dimensions as text."""
    hashed = sha256(np.ascontiguousarray(values).tobytes())[:16]
    extremes = f"{values.flat[0]} ... {values.flat[-1]}"
    return f"{values.dtype.name} {extremes}, sha256 {hashed} ({', '.join(dims)})"


# The root


class Root(NamedTuple):
    """Metadata of a store, known before any chunk is read."""

    identity: dict[str, Any]  # identity of the sweep, with its arrays as `layout`
    files: Files

    def document(self) -> dict[str, Any]:
        """Return the root document without its digest, as `zarr.json` of a group."""
        metadata = {name: array.document() for name, array in self.files.arrays.items()}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {
                "gdjax_format": FORMAT,
                "coordinates": " ".join(self.files.coordinates),
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


class _ArrayAttributes(msgspec.Struct):
    units: str
    long_name: str = ""
    flag_values: tuple[int, ...] = ()
    flag_meanings: str = ""
    comment: str = ""


class _ArrayRecord(msgspec.Struct):
    data_type: DataType
    dimension_names: tuple[str, ...]
    attributes: _ArrayAttributes
    fill_value: bool | int | float | str

    def array(self) -> Array:
        own, dtype = self.attributes, np.dtype(self.data_type)
        codes = dict(zip(own.flag_meanings.split(), own.flag_values, strict=True))
        named = own.long_name, self.dimension_names, own.units, codes, own.comment
        fill = float(self.fill_value) if dtype.kind == "f" else self.fill_value
        return Array(*named, dtype, fill)


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
    arrays = {name: a.array() for name, a in document.consolidated_metadata.metadata.items()}
    coordinates = {name: arrays.pop(name) for name in layout.coordinates if name in arrays}
    arrays.pop(FLAGS, None)
    files = Files(Schema(layout.sizes, layout.tile, arrays, coordinates))
    if identity["layout"] != {**files.layout(), "coordinates": layout.coordinates}:
        raise InputError("the arrays do not match the recorded sweep")
    return Root(identity, files)


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
