"""A store that is opened for reading: metadata are checked first, and a hole is never a number.

    zarr.json -> checked root -> CheckedStore (metadata, chunks of finished tiles) -> xarray

Plain `xarray.open_zarr(store)` reads a store, too. It shows the fill value where a tile is not
finished, and cannot notice that a chunk is missing or was exchanged for another one.
"""

import asyncio
import functools
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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

SWEEP = f"{OWN}/sweep"  # digest of the identity: whose tiles these are, if the root is lost

EXCHANGED = "is another chunk than the one that was written here"
RESTORE = "Start its sweep again on this store, with the arguments it had: that"


class Damage(NamedTuple):
    """One damaged file of a store.

    Args:
        file: its key in the store.
        problem: what is wrong with it.
        tile: the tile that has to be computed again; None for metadata and coordinates, which are
            restored when the sweep goes on.
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
    """Read what a store says about its sweep; the store may be in use.

    Args:
        store: path or URL of the store.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Returns:
        Its attributes: `gdjax_format`, `identity`, `writers` (in format 2 `origins`), and
        annotations. None where there is no store yet.

    Raises:
        StoreError: there is something else, another format, or nothing that can be understood.
    """
    root = read_root(locate(store, storage_options))
    return None if root is None else root.document["attributes"]


def verify(store: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> list[Damage]:
    """Read every file of a store and return those that are damaged; nothing is changed.

    Args:
        store: path or URL of the store. It may be in use by a sweep.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Returns:
        The damaged files, an empty list if there are none; of a lost part its root. Tiles that are
        not finished cannot be damaged.

    Raises:
        StoreError: there is no store, or its `zarr.json` cannot be understood.
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
        skip_damaged: show damaged tiles as if they were not finished; for that, all chunks are
            read.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Returns:
        The sweep, an `xarray.Dataset`. Arrays are read when they are used; those of a store of
        format 2 that has several parts are read at once. Runs that are not finished show the fill
        value: NaN in floating arrays. Attributes are the store's (`identity` and `writers` are
        JSON text), `tiles` and `tiles_finished`.

    Raises:
        StoreError: there is no store, it has another format, or a part of it is missing or
            damaged. What is wrong inside a chunk is raised when it is read; `verify` finds it.
    """
    from gdjax.stores.format_2 import join_parts

    parts = open_parts(store, storage_options)
    return join_parts([part.dataset(skip_damaged=skip_damaged) for part in parts])


def open_parts(
    store: str | Path, storage_options: Mapping[str, Any] | None = None
) -> "list[Stored]":
    """Open a store, each of its parts; stores of format 3 have one.

    Raises:
        StoreError: there is no store, or one that cannot be understood.
    """
    from gdjax.stores.format_2 import find_parts

    first = Stored(locate(store, storage_options))
    locations, lost = find_parts(first)
    if lost:
        raise StoreError(
            f"{first.location} is damaged: a part of it is missing ({', '.join(lost[:8])}). Take "
            f"the part from a copy of the store"
        )
    return [first, *map(Stored, locations.values())]


def read_root(
    location: Folder | Bucket, arrays: Collection[str] | None = None, digest: bytes = b""
) -> Root | None:
    """Read the root of a store, checked; None where there is no store.

    Args:
        location: of the store.
        arrays: names of the arrays of a sweep that is to be stored there; None for a reader.
        digest: of the identity of that sweep. Where its own root is damaged, None is returned.

    Raises:
        StoreError: the location holds something else, a store of another format, or one whose root
            is damaged.
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
        if not is_own:  # but damaged
            raise StoreError(f"{location}: {other}") from other
    except InputError as damage:
        error = damage
    if is_own:
        return None
    names = location.sizes()
    known = {name for name in names if not name.startswith(f"{ROOT}.")}
    others = known - {OWN, ROOT, *arrays} if arrays is not None else set()
    if others or (known and names.get(OWN) != -1 and (arrays is not None or problem == MISSING)):
        raise StoreError(
            f"{location} holds something else than a store of gdjax; choose another store"
        )
    if problem == MISSING and not location.sizes(FLAGS).keys() - {ROOT}:
        return None
    if arrays is None:
        raise StoreError(f"{location}: {error}. {RESTORE} restores it")
    raise StoreError(
        f"{location}: {error}, and nothing says whose the tiles are. Restore it from a backup, or "
        f"choose another store"
    )


class Stored:
    """A store whose metadata have been checked.

    Args:
        store: path or URL of the store, or what `locate` returns.

    Raises:
        StoreError: there is no store, or its `zarr.json` cannot be understood.

    Attributes:
        location: where its files are.
        schema: its arrays.
    """

    def __init__(self, store: str | Path | Folder | Bucket):
        self.location = locate(store)
        root = read_root(self.location)
        if root is None:
            raise StoreError(f"{self.location}: there is no store here; check the path")
        self.root, self.schema = root

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store said about its sweep when it was opened."""
        return self.root["attributes"]

    @property
    def format(self) -> int:
        """Version of its format."""
        return self.attributes["gdjax_format"]

    @property
    def writers(self) -> list[dict[str, Any]]:
        """What computed its tiles; a flag is the number of an entry, counted from 1."""
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
                f"{damages[0].problem}). {RESTORE} computes it again. To go on without: "
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
            The number of the writer of each tile, 0 where there is none or the flag is damaged; and
            the damaged flags. Only a flag says that its tile is complete, so a tile without it is
            computed again.
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
        """Return the writer of all runs of a tile, 0 if they have none of this store."""
        region = self.schema.region(tile)
        values = self.schema.flags.decode(raw)[tuple(slice(s.stop - s.start) for s in region)]
        first = int(values.flat[0])
        return first if first <= len(self.writers) and (values == first).all() else 0

    def is_finished(self, tile: tuple[int, ...]) -> bool:
        """Return whether a tile is complete; one with a damaged flag is not."""
        raw, problem = self.chunk(self.schema.flags, tile)
        return not problem and self._writer(tile, raw) > 0

    def chunk(self, array: ArraySchema, tile: tuple[int, ...] = ()) -> tuple[bytes, str | None]:
        """Read a chunk and return what is wrong with it, None if nothing is."""
        raw, problem = self.location.read(array.key(tile), array.nbytes)
        return raw, problem or array.problem(raw)

    def tile_chunks(self, tile: tuple[int, ...]) -> tuple[dict[str, bytes], list[Damage]]:
        """Read the chunks of a finished tile but for its flag.

        Returns:
            The chunks by array, and the damaged ones: those whose own checksum differs, and those
            that are not the ones that were written here.
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
        """Return which chunks of finished tiles are missing or truncated; none is read."""
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
        """Return which chunks of finished tiles are damaged, flags included; all are read."""
        flags, damages = self.flags()
        for tile in map(tuple, np.argwhere(flags > 0).tolist()):
            damages += self.tile_chunks(tile)[1]
        return damages

    def is_whole(self) -> bool:
        """Return whether every tile is finished and nothing is damaged; if so, all are read."""
        return bool((self.flags()[0] > 0).all()) and not self.damaged_frame() + self.damaged_tiles()

    def damaged_coordinates(self) -> list[Damage]:
        """Return which coordinates are damaged, or not those of the sweep."""
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
                damages.append(Damage(array.key(), "holds other values than its sweep says"))
        return damages

    def damaged_frame(self) -> list[Damage]:
        """Return which files are damaged that belong to no tile: metadata and coordinates."""
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
    """Return a zarr store that shows the checked metadata and the chunks of finished tiles."""
    from zarr.core.buffer import cpu
    from zarr.storage import MemoryStore, WrapperStore

    schema, location = stored.schema, stored.location

    class CheckedStore(WrapperStore[MemoryStore]):
        """Metadata from memory; a chunk that is missing or wrong is an error, not a number."""

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
        if not problem and schema.checksums is not None and array.name in schema.variables:
            problem = EXCHANGED if checksum(raw) != written(tile)[array.name] else None
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
    """Return a Dataset whose coordinates that are numbers with `flag_meanings` are names."""
    named = {}
    for name, coordinate in dataset.coords.items():
        meanings = str(coordinate.attrs.get("flag_meanings", "")).split()
        codes = coordinate.values
        if meanings and codes.dtype.kind in "iu":
            if codes.min() < 0 or codes.max() >= len(meanings):
                raise StoreError(f"{name}: has numbers without a meaning; the store is damaged")
            attrs = {k: v for k, v in coordinate.attrs.items() if not k.startswith("flag_")}
            # Zarr has no text of a fixed length.
            named[name] = (coordinate.dims, np.array(meanings, object)[codes], attrs)
    return dataset.assign_coords(named)
