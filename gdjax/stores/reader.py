"""Reading of stores, with checks of their metadata and chunks.

    zarr.json -> checked root -> CheckedStore (metadata, chunks of finished tiles) -> xarray

`xarray.open_zarr(store)` also reads a store. It returns the fill value for tiles that are not
finished, and does not detect missing or exchanged chunks.
"""

import asyncio
import functools
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.arguments import check_flag
from gdjax.errors import InputError, StoreError
from gdjax.flags import current_names
from gdjax.stores.location import MISSING, Bucket, Folder, locate
from gdjax.stores.schema import (
    CHECKSUMS,
    FLAGS,
    MAX_ROOT_BYTES,
    OWN,
    ROOT,
    ArraySchema,
    OtherFormat,
    Root,
    checksum,
    describe_values,
    parse_root,
    serialize,
)

SWEEP = f"{OWN}/sweep"  # file with the digest that identifies the sweep if the root is lost

EXCHANGED = "is not the chunk that was written here"
RESTORE = "Run the sweep again on this store with its original arguments, which"


class Damage(NamedTuple):
    """A damaged file of a store.

    Args:
        file: key of the file in the store.
        problem: description of the damage.
        tile: tile that has to be computed again; None for metadata and coordinates, which are
            restored when the sweep continues.
    """

    file: str
    problem: str
    tile: tuple[int, ...] | None = None

    def __str__(self) -> str:
        again = "" if self.tile is None else f"; tile {self.tile} has to be computed again"
        return f"{self.file}: {self.problem}{again}"


def read_attributes(
    store: str | Path, *, storage_options: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Read the attributes of a store, which may be in use.

    Args:
        store: path or URL of the store.
        storage_options: keywords of `obstore.store.from_url`, for a URL.

    Returns:
        The attributes, among them `gdjax_format`, `identity`, `writers` (in format 2 `origins`) and
        annotations; None if there is no store yet.

    Raises:
        StoreError: if the location contains other files, a store of another format, or a damaged
            `zarr.json`.
    """
    root = read_root(locate(store, storage_options))
    return None if root is None else root.document["attributes"]


def verify(store: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> list[Damage]:
    """Read the metadata and finished tiles of a store, and return the damaged files.

    The store is not changed.

    Args:
        store: path or URL of the store, which may be in use by a sweep.
        storage_options: keywords of `obstore.store.from_url`, for a URL.

    Returns:
        The damaged files; an empty list if there are none. For a missing part of a store of format
        2, its root is listed. Tiles that are not finished are not checked.

    Raises:
        StoreError: if there is no store, or its `zarr.json` is damaged or of another format.
    """
    from gdjax.stores.format_2 import find_parts

    first = Stored(locate(store, storage_options))
    locations, lost = find_parts(first)
    damages = [Damage(file, MISSING) for file in lost]
    parts = {"": first} | {f"{key}/": Stored(location) for key, location in locations.items()}
    for prefix, part in parts.items():
        part_damages = part.damaged_frame() + part.damaged_tiles()
        damages += [damage._replace(file=prefix + damage.file) for damage in part_damages]
    return damages


def open_dataset(
    store: str | Path,
    *,
    skip_damaged: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Any:
    """Open the store of a sweep for reading; it may be in use.

    Args:
        store: path or URL of the store.
        skip_damaged: whether to treat damaged tiles as not finished; this reads all chunks.
        storage_options: keywords of `obstore.store.from_url`, for a URL.

    Returns:
        The sweep as an `xarray.Dataset`. Arrays are read when they are used; those of a store of
        format 2 with several parts are read on opening. Runs that are not finished have the fill
        value: NaN in floating arrays. The state from which `extend` continues runs is omitted.
        Attributes are those of the store (`identity` and `writers` as JSON text), `tiles` and
        `tiles_finished`.

    Raises:
        StoreError: if there is no store, the store has another format, or a part of it is missing
            or damaged. Damage inside a chunk raises this error when the chunk is read; `verify`
            finds it earlier.
    """
    from gdjax.stores.format_2 import join_parts

    check_flag("skip_damaged", skip_damaged)
    parts = open_parts(store, storage_options)
    return without_carry(join_parts([part.dataset(skip_damaged=skip_damaged) for part in parts]))


def without_carry(dataset: Any) -> Any:
    """Return the Dataset of a store without the state from which runs can continue."""
    return dataset.drop_vars([n for n in dataset.data_vars if str(n).startswith("carry.")])


def open_parts(
    store: str | Path, storage_options: Mapping[str, Any] | None = None
) -> "list[Stored]":
    """Open each part of a store; stores of format 3 have one part."""
    from gdjax.stores.format_2 import find_parts

    first = Stored(locate(store, storage_options))
    locations, lost = find_parts(first)
    if lost:
        raise StoreError(
            f"{first.location} is damaged: a part of it is missing ({', '.join(lost[:8])}). "
            f"Restore the part from a copy of the store"
        )
    return [first, *map(Stored, locations.values())]


def read_root(
    location: Folder | Bucket, arrays: Collection[str] | None = None, digest: bytes = b""
) -> Root | None:
    """Read and check the root of a store; return None if there is no store.

    Args:
        location: location of the store.
        arrays: names of the arrays of a sweep to store there; None for a reader.
        digest: digest of the identity of that sweep. If the location has the same digest, a damaged
            root gives None instead of an error.

    Raises:
        StoreError: if the location contains other files, a store of another format, or a store
            whose root is damaged.
    """
    if isinstance(location, Folder) and location.path.exists() and not location.path.is_dir():
        raise StoreError(f"{location} is a file; expected a folder. Choose another store")
    is_own = bool(digest) and location.read(SWEEP, len(digest))[0] == digest
    raw, problem = location.read(ROOT, MAX_ROOT_BYTES)
    error: Any = f"{ROOT} is missing" if problem == MISSING else f"{ROOT}: {problem}"
    try:
        if not problem:
            return parse_root(raw)
    except OtherFormat as other:
        if not is_own:  # in the store of this sweep, a root of another format is damaged
            raise StoreError(f"{location}: {other}") from other
    except InputError as damage:
        error = damage
    if is_own:
        return None
    names = location.sizes()
    known = {name for name in names if not name.startswith(f"{ROOT}.")}
    others = known - {OWN, ROOT, *arrays} if arrays is not None else set()
    if others or (known and names.get(OWN) != -1 and (arrays is not None or problem == MISSING)):
        raise StoreError(f"{location} exists but is not a gdjax store; choose another path")
    if problem == MISSING and not location.sizes(FLAGS).keys() - {ROOT}:
        return None
    if arrays is None:
        raise StoreError(f"{location}: {error}. {RESTORE} restores it")
    raise StoreError(
        f"{location}: {error}, so the tiles cannot be attributed to a sweep. Restore the "
        f"store from a copy, or choose another store"
    )


class Stored:
    """A store whose metadata have been checked.

    Args:
        store: path, URL or location of the store.

    Raises:
        StoreError: if there is no store, or its `zarr.json` is damaged or of another format.

    Attributes:
        location: location of the files.
        schema: arrays of the store.
    """

    def __init__(self, store: str | Path | Folder | Bucket):
        self.location = locate(store)
        root = read_root(self.location)
        if root is None:
            raise StoreError(f"{self.location}: there is no store at this path; check the path")
        self.root, self.schema = root

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the store when it was opened."""
        return self.root["attributes"]

    @property
    def format(self) -> int:
        """Version of the store's format."""
        return self.attributes["gdjax_format"]

    @property
    def writers(self) -> list[dict[str, Any]]:
        """Descriptions of the writers, numbered from 1 in the flags of tiles."""
        return self.attributes["origins" if self.format == 2 else "writers"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return self.schema.tiles

    def dataset(self, *, skip_damaged: bool = False) -> Any:
        """Return the sweep as an `xarray.Dataset`; see `open_dataset`."""
        import xarray as xr

        if damages := self.damaged_coordinates():
            raise StoreError(f"{self.location} is damaged: {damages[0]}. {RESTORE} restores it")
        flags, damages = self.flags()
        damages += self.damaged_tiles() if skip_damaged else self.holes(flags)
        if damages and not skip_damaged:
            raise StoreError(
                f"{self.location}: tile {damages[0].tile} is damaged ({damages[0].file}: "
                f"{damages[0].problem}). {RESTORE} computes it again. To ignore it, pass "
                f"skip_damaged=True (--skip-damaged)"
            )
        for damage in damages:
            flags[damage.tile] = 0
        dataset = xr.open_zarr(checked_store(self, flags), chunks=None, consolidated=True)
        counts = {"tiles": flags.size, "tiles_finished": int((flags > 0).sum())}
        dataset = dataset.drop_vars(CHECKSUMS, errors="ignore").assign_attrs(counts)
        if self.format == 2:
            from gdjax.stores.format_2 import current_array_name

            names = {name: current_array_name(str(name)) for name in dataset.data_vars}
            dataset = dataset.rename_vars({n: new for n, new in names.items() if n != new})
        if "flag_meanings" in (attrs := dataset["outcome"].attrs if "outcome" in dataset else {}):
            attrs["flag_meanings"] = " ".join(current_names(attrs))
        return with_names(dataset)

    def flags(self) -> tuple[np.ndarray, list[Damage]]:
        """Read the completion flag of every tile.

        Returns:
            The number of the writer of each tile, 0 if there is none or the flag is damaged; and
            the damaged flags. A tile is complete only if it has a flag, so a tile without an intact
            flag is computed again.
        """
        array = self.schema.flags
        flags = np.zeros(self.shape, array.dtype)
        written = self.location.sizes(array.name)
        tiles = [t for t in np.ndindex(self.shape) if array.key(t).split("/")[1] in written]
        chunks = self.location.map(lambda tile: self.chunk(array, tile), tiles)
        damages = []
        for tile, (raw, problem) in zip(tiles, chunks, strict=True):
            if problem:
                damages.append(Damage(array.key(tile), problem, tile))
            else:
                flags[tile] = self._writer(tile, raw)
        return flags, damages

    def _writer(self, tile, raw):
        """Return the number of a tile's writer; 0 if invalid or different between runs."""
        region = self.schema.region(tile)
        values = self.schema.flags.decode(raw)[tuple(slice(s.stop - s.start) for s in region)]
        first = int(values.flat[0])
        return first if first <= len(self.writers) and (values == first).all() else 0

    def is_finished(self, tile: tuple[int, ...]) -> bool:
        """Return whether a tile is complete; a tile with a damaged flag is not."""
        raw, problem = self.chunk(self.schema.flags, tile)
        return not problem and self._writer(tile, raw) > 0

    def chunk(self, array: ArraySchema, tile: tuple[int, ...] = ()) -> tuple[bytes, str | None]:
        """Read a chunk; return its bytes and a description of its damage, None if intact."""
        raw, problem = self.location.read(array.key(tile), array.nbytes)
        return raw, problem or array.problem(raw)

    def tile_chunks(self, tile: tuple[int, ...]) -> tuple[dict[str, bytes], list[Damage]]:
        """Read the chunks of a finished tile except its flag.

        Returns:
            The bytes of the chunks by array, and the damage of chunks that are missing, have a
            wrong checksum or have been exchanged for other chunks.
        """
        arrays = [array for array in self.schema.tiled.values() if array.name != FLAGS]
        read = self.location.map(lambda array: self.chunk(array, tile), arrays)
        chunks, damages = {}, []
        for array, (raw, problem) in zip(arrays, read, strict=True):
            chunks[array.name] = raw
            if problem:
                damages.append(Damage(array.key(tile), problem, tile))
        if self.schema.checksums is not None and not damages:
            written = self.schema.checksums.decode(chunks[CHECKSUMS]).ravel()
            for array, value in zip(self.schema.variables.values(), written, strict=True):
                if checksum(chunks[array.name]) != value:
                    damages.append(Damage(array.key(tile), EXCHANGED, tile))
        return chunks, damages

    def holes(self, flags: np.ndarray) -> list[Damage]:
        """Return the chunks of finished tiles that are missing or have a wrong size."""
        damages = []
        tiles = [tuple(tile) for tile in np.argwhere(flags > 0).tolist()]
        for array in self.schema.tiled.values() if tiles else ():
            sizes = self.location.sizes(array.name)
            for tile in tiles:
                key = array.key(tile)
                size = sizes.get(key.split("/")[1])
                if size != array.nbytes:
                    problem = f"{size} bytes, expected {array.nbytes}"
                    problem = MISSING if size is None else "is not a file" if size < 0 else problem
                    damages.append(Damage(key, problem, tile))
        return damages

    def damaged_tiles(self) -> list[Damage]:
        """Read all chunks of finished tiles and return the damaged ones, flags included."""
        flags, damages = self.flags()
        for tile in map(tuple, np.argwhere(flags > 0).tolist()):
            damages += self.tile_chunks(tile)[1]
        return damages

    def is_whole(self) -> bool:
        """Return whether every tile is finished and no file is damaged."""
        return bool((self.flags()[0] > 0).all()) and not self.damaged_frame() + self.damaged_tiles()

    def damaged_coordinates(self) -> list[Damage]:
        """Return the coordinates that are damaged or differ from those of the sweep."""
        described = self.attributes["identity"]["layout"]["coordinates"]
        arrays = list(self.schema.coordinates.values())
        chunks = self.location.map(self.chunk, arrays)
        damages = []
        for array, (raw, problem) in zip(arrays, chunks, strict=True):
            if problem:
                damages.append(Damage(array.key(), problem))
                continue
            values = array.decode(raw).astype(array.dtype)
            if describe_values(values, array.dims) != described[array.name]:
                damages.append(Damage(array.key(), "its values differ from those of the sweep"))
        return damages

    def damaged_frame(self) -> list[Damage]:
        """Return the damaged files that are not part of a tile: metadata and coordinates."""
        expected = {
            f"{name}/{ROOT}": serialize(a.document()) for name, a in self.schema.arrays.items()
        }
        read = self.location.map(lambda key: self.location.read(key, len(expected[key])), expected)
        damages = []
        for (key, document), (raw, problem) in zip(expected.items(), read, strict=True):
            if raw != document:
                differs = "differs from the store's root"
                damages.append(Damage(key, problem if problem == MISSING else differs))
        return damages + self.damaged_coordinates()


def checked_store(stored: Stored, flags: np.ndarray) -> Any:
    """Return a Zarr store of the checked metadata and the chunks of finished tiles."""
    from zarr.core.buffer import cpu
    from zarr.storage import MemoryStore, WrapperStore

    schema, location = stored.schema, stored.location
    sweep = location.read(SWEEP, MAX_ROOT_BYTES)

    class CheckedStore(WrapperStore[MemoryStore]):
        """Store that raises an error for a missing or wrong chunk."""

        async def get(self, key, prototype, byte_range=None):
            name, _, last = key.partition("/")
            array = schema.arrays.get(name)
            if array is None or last == ROOT:
                return await super().get(key, prototype, byte_range)
            tile = ()
            if name not in schema.coordinates:
                tile = tuple(map(int, last.split(".")[1:]))[: flags.ndim]
                if not flags[tile]:
                    return None
            if isinstance(location, Folder):
                return prototype.buffer.from_bytes(read(array, tile))
            return prototype.buffer.from_bytes(await asyncio.to_thread(read, array, tile))

    def read(array, tile):
        raw, problem = stored.chunk(array, tile)
        has_checksum = schema.checksums is not None and array.name in schema.variables
        if not problem and has_checksum and checksum(raw) != written(tile)[array.name]:
            problem = EXCHANGED
        # Values with a checksum belong to the sweep, since the checksum does.
        if (problem or not has_checksum) and location.read(SWEEP, MAX_ROOT_BYTES) != sweep:
            raise StoreError(
                f"{location} was removed or replaced after this Dataset was opened, so its arrays "
                f"that were not read yet are lost; open the store again"
            )
        if problem:
            raise StoreError(
                f"{location} is damaged: {Damage(array.key(tile), problem, tile)}. {RESTORE} "
                f"computes it again, or open it with skip_damaged=True"
            )
        return raw

    @functools.cache
    def written(tile):
        assert schema.checksums is not None
        values = schema.checksums.decode(read(schema.checksums, tile))
        return dict(zip(schema.variables, values.ravel().tolist(), strict=True))

    attributes = {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in stored.attributes.items()
    }
    documents = {f"{name}/{ROOT}": a.document() for name, a in schema.arrays.items()}
    documents[ROOT] = {**stored.root, "attributes": attributes}
    buffers: Any = {key: cpu.Buffer.from_bytes(serialize(d)) for key, d in documents.items()}
    return CheckedStore(MemoryStore(buffers, read_only=True))


def with_names(dataset: Any) -> Any:
    """Return a Dataset with integer coordinates replaced by their meanings."""
    named = {}
    for name, coordinate in dataset.coords.items():
        meanings = str(coordinate.attrs.get("flag_meanings", "")).split()
        codes = coordinate.values
        if meanings and codes.dtype.kind in "iu":
            if codes.min() < 0 or codes.max() >= len(meanings):
                raise StoreError(
                    f"{name}: has values without a name in flag_meanings; the store is damaged"
                )
            attrs = {k: v for k, v in coordinate.attrs.items() if not k.startswith("flag_")}
            # The dtype is object, since Zarr has no fixed-length strings.
            named[name] = (coordinate.dims, np.array(meanings, object)[codes], attrs)
    return dataset.assign_coords(named)
