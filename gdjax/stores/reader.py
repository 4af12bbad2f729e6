"""Reading of stores, with checks of their metadata and chunks.

    zarr.json -> checked root -> CheckedStore (metadata, chunks of finished tiles) -> xarray

`xarray.open_zarr(store)` also reads a store. It returns the fill value for tiles that are not
finished, and does not detect missing or exchanged chunks.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from gdjax.base.arguments import check_flag
from gdjax.base.documents import digest
from gdjax.base.errors import InputError, StoreError
from gdjax.stores.location import (
    MISSING,
    Bucket,
    Folder,
    StoreLike,
    check_no_file,
    locate,
)
from gdjax.stores.schema import (
    FLAGS,
    MAX_RECORD_BYTES,
    MAX_ROOT_BYTES,
    OWN,
    ROOT,
    SWEEP,
    TILES,
    WRITERS,
    OtherFormat,
    Root,
    StoredArray,
    TileRecord,
    checksum,
    describe_values,
    parse_root,
    tile_name,
)

EXCHANGED = "is not the chunk that was written here"
MISPLACED = "is damaged, or belongs to another sweep or tile"
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


def verify(store: StoreLike) -> list[Damage]:
    """Read the metadata and finished tiles of a store, and return the damaged files.

    The store is not changed.

    Args:
        store: path or URL of the store, which may be in use by a sweep.

    Returns:
        The damaged files; an empty list if there are none. Tiles that are not finished are not
        checked. A damaged `zarr.json` is an error, like another format.

    Examples:
        >>> import tempfile
        >>> import gdjax as gd
        >>> bowl, axes = gd.problems.bowl([1.0]), gd.axes(learning_rate=[0.1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = gd.sweep(bowl, axes, 1, store=f"{folder}/s")
        ...     verify(f"{folder}/s")
        []
    """
    stored = Stored(store)
    records, _ = stored.records()
    names = sorted({name for record in records.values() for name in record.writers})
    lost = [(name, stored.writer(name).get("lost")) for name in names]
    writers = [Damage(f"{WRITERS}/{name}", problem) for name, problem in lost if problem]
    return stored.damaged_frame() + stored.damaged_tiles() + writers


def opened(runs: Any) -> Any:
    """Return runs, or those of a store if they are given by its path or URL."""
    return open_dataset(runs) if isinstance(runs, StoreLike) else runs


def open_dataset(store: StoreLike, *, skip_damaged: bool = False) -> Any:
    """Open the store of a sweep for reading; it may be in use.

    Args:
        store: path or URL of the store.
        skip_damaged: whether to treat damaged tiles as not finished; this reads all chunks.

    Returns:
        The sweep as an `xarray.Dataset`. Arrays are read when they are used. Runs that are not
        finished have the fill value: NaN in floating arrays. The state from which `extend`
        continues runs is omitted. Attributes are those of the store (`identity` as JSON text),
        `writers` (JSON; `finished` is k where the writers of the k-th entry computed a run),
        `bits_checked` (see `gdjax.sweep`), `tiles` and `tiles_finished`.

    Raises:
        StoreError: if there is no store, or the store has another format. Damage inside a chunk
            raises this error when the chunk is read; `verify` finds it earlier.

    Examples:
        >>> import tempfile, gdjax as gd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bowl, rates = gd.problems.bowl([1.0, 9.0]), gd.axes(learning_rate=[0.1, 0.2])
        ...     cost = gd.sweep(bowl, rates, 5, store=folder).cost.load()
        ...     gd.open_dataset(folder).cost.equals(cost), gd.stores.verify(folder)
        (True, [])
    """
    check_flag("skip_damaged", skip_damaged)
    return without_carry(Stored(store).dataset(skip_damaged=skip_damaged))


def without_carry(dataset: Any) -> Any:
    """Return the Dataset of a store without the state from which runs can continue."""
    return dataset.drop_vars([n for n in dataset.data_vars if str(n).startswith("carry.")])


class _DamagedRootError(StoreError):
    """Root of a store that its sweep restores."""


def read_root_of_sweep(location: Folder | Bucket) -> Root | None:
    """Return the root of the store of a sweep that may continue; None if there is none to trust.

    A damaged root is restored by `Store`, which knows whether it belongs to the same sweep.
    """
    with contextlib.suppress(_DamagedRootError):
        return read_root(location)
    return None


def read_root(
    location: Folder | Bucket,
    arrays: Collection[str] | None = None,
    sweep: bytes = b"",
    known: Root | None = None,
) -> Root | None:
    """Read and check the root of a store; return None if there is no store.

    Args:
        arrays: names of the arrays of a sweep to store there; None for a reader.
        sweep: digest of the identity of that sweep. If the location has the same digest, a damaged
            root gives None instead of an error.
        known: root that was read from the location earlier, which is parsed again only if it has
            changed since.
    """

    def is_own():
        return bool(sweep) and location.read(SWEEP, len(sweep))[0] == sweep

    if isinstance(location, Folder):
        check_no_file(location.path)
    raw, problem = location.read(ROOT, MAX_ROOT_BYTES)
    error: Any = f"{ROOT} is missing" if problem == MISSING else f"{ROOT}: {problem}"
    try:
        if not problem:
            return known if known and known.to_bytes() == raw else parse_root(raw)
    except OtherFormat as other:
        if not is_own():  # in the store of this sweep, a root of another format is damaged
            raise StoreError(f"{location}: {other}") from other
    except InputError as damage:
        error = damage
    if is_own():
        return None
    names = location.sizes()
    entries = {name for name in names if not name.startswith(f"{ROOT}.")}
    foreign = entries - {OWN, ROOT, *arrays} if arrays is not None else set()
    if foreign or (entries and names.get(OWN) != -1 and (arrays is not None or problem == MISSING)):
        raise StoreError(f"{location} exists but is not a gdjax store; choose another path")
    if problem == MISSING and not has_tiles(location):
        return None
    if arrays is None and location.read(SWEEP, 1)[1] != MISSING:
        raise _DamagedRootError(f"{location}: {error}. {RESTORE} restores it")
    raise StoreError(
        f"{location}: {error}, so the tiles cannot be attributed to a sweep; the store may "
        f"have been removed while it was written. Restore it from a copy, or choose another store"
    )


def has_tiles(location: Folder | Bucket) -> bool:
    """Return whether a tile has been written, besides metadata that a killed writer began."""
    return any(name.startswith("c.") for name in location.sizes(FLAGS))


class Stored:
    """A store whose metadata have been checked.

    Args:
        store: path, URL or location of the store.
        root: its root, if it has been read.

    Attributes:
        location: location of the files.
        files: files of the arrays.
        schema: arrays of the store.
    """

    def __init__(self, store: StoreLike, root: Root | None = None):
        self.location = locate(store)
        root = read_root(self.location) if root is None else root
        if root is None:
            raise StoreError(f"{self.location}: there is no store at this path; check the path")
        self.root, self.files, self.schema = root, root.files, root.files.schema
        bound = self.location.read(SWEEP, len(self.sweep))[0]
        if bound != self.sweep.encode():
            raise StoreError(
                f"{self.location}: {ROOT} is not that of the sweep whose tiles are stored here "
                f"({SWEEP} differs). Restore the store from a copy"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of the sweep, which is not trusted."""
        return self.root.identity

    @functools.cached_property
    def sweep(self) -> str:
        """Digest of the sweep of the store."""
        return digest(self.identity)

    def dataset(self, *, skip_damaged: bool = False) -> Any:
        """Return the sweep as an `xarray.Dataset`; see `open_dataset`."""
        import xarray as xr

        coordinates, damages = self.coordinates()
        if damages:
            raise StoreError(f"{self.location} is damaged: {damages[0]}. {RESTORE} restores it")
        records, damages = self.records()
        damages += self.damaged_tiles() if skip_damaged else self.holes(records)
        if damages and not skip_damaged:
            raise StoreError(
                f"{self.location}: tile {damages[0].tile} is damaged ({damages[0].file}: "
                f"{damages[0].problem}). {RESTORE} computes it again. To ignore it, pass "
                f"skip_damaged=True (--skip-damaged)"
            )
        for damage in damages:
            records.pop(damage.tile, None)
        sets = list(dict.fromkeys(record.writers for record in records.values()))
        flags = np.zeros(self.schema.tiles, self.files.flags.dtype)
        for tile, record in records.items():
            flags[tile] = sets.index(record.writers) + 1
        store = checked_store(self, flags, records, coordinates)
        dataset = xr.open_zarr(store, chunks=None, consolidated=True)
        writers = [[self.writer(name) for name in names] for names in sets]
        counts = {"tiles": flags.size, "tiles_finished": len(records)}
        dataset = with_names(dataset.assign_attrs(counts | attributes_of(writers)))
        dataset.encoding["source"] = self.location.address  # as xarray has it
        return dataset

    def writer(self, name: str) -> dict[str, Any]:
        """Return the description of a writer that the record of a tile names."""
        raw, problem = self.location.read(f"{WRITERS}/{name}", MAX_RECORD_BYTES)
        with contextlib.suppress(ValueError, RecursionError):
            described = json.loads(raw)
            if isinstance(described, dict) and digest(described) == name:
                return described
        return {"lost": problem or "its description is damaged"}

    def records(self) -> tuple[dict[tuple[int, ...], TileRecord], list[Damage]]:
        """Read the record of every finished tile.

        Returns:
            The records by tile, and the damaged ones. A tile is complete only if it has an intact
            record, and is computed again otherwise.
        """
        written = self.location.sizes(TILES)
        tiles = [tile for tile in np.ndindex(self.schema.tiles) if tile_name(tile) in written]
        records, damages = {}, []
        for tile, record in zip(tiles, self.location.map(self.record, tiles), strict=True):
            if record is None:
                damages.append(Damage(f"{TILES}/{tile_name(tile)}", MISPLACED, tile))
            else:
                records[tile] = record
        return records, damages

    def record(self, tile: tuple[int, ...]) -> TileRecord | None:
        """Read the record of a tile; None if it is missing, damaged or belongs elsewhere."""
        raw, problem = self.location.read(f"{TILES}/{tile_name(tile)}", MAX_RECORD_BYTES)
        record = None if problem else TileRecord.from_bytes(raw, self.sweep, tile)
        is_whole = record is not None and len(record.checksums) == len(self.files.variables)
        return record if is_whole else None

    def finished(self) -> Bool[np.ndarray, "..."]:
        """Return whether each tile is finished; a tile with a damaged record is not."""
        finished = np.zeros(self.schema.tiles, bool)
        for tile in self.records()[0]:
            finished[tile] = True
        return finished

    def chunk(self, array: StoredArray, tile: tuple[int, ...] = ()) -> tuple[bytes, str | None]:
        """Read a chunk; return its bytes and a description of its damage, None if intact."""
        raw, problem = self.location.read(array.key(tile), array.nbytes)
        return raw, problem or array.problem(raw)

    def recorded_chunk(
        self, array: StoredArray, tile: tuple[int, ...], record: TileRecord
    ) -> tuple[bytes, str | None]:
        """Read the chunk of a variable, like `chunk`; it must be that of the tile's record."""
        raw, problem = self.chunk(array, tile)
        value = record.checksums[list(self.files.variables).index(array.name)]
        return raw, problem or (EXCHANGED if checksum(raw) != value else None)

    def tile_chunks(
        self, tile: tuple[int, ...], record: TileRecord
    ) -> tuple[dict[str, bytes], list[Damage]]:
        """Read the chunks of the variables of a finished tile.

        Returns:
            The bytes of the chunks by variable, and the damage of chunks that are missing, have a
            wrong checksum or are not those of the record.
        """
        arrays = self.files.variables.values()
        read = self.location.map(lambda array: self.recorded_chunk(array, tile, record), arrays)
        chunks, damages = {}, []
        for array, (raw, problem) in zip(arrays, read, strict=True):
            chunks[array.name] = raw
            if problem:
                damages.append(Damage(array.key(tile), problem, tile))
        raw, problem = self.chunk(self.files.flags, tile)
        if raw != self.finished_chunk(tile):
            damages.append(Damage(self.files.flags.key(tile), problem or EXCHANGED, tile))
        return chunks, damages

    def finished_chunk(self, tile: tuple[int, ...], number: int = 1) -> bytes:
        """Return the encoded flags of a tile of which all runs have the same flag `number`."""
        shape = [along.stop - along.start for along in self.schema.region(tile)]
        return self.files.flags.encode(np.full(shape, number, self.files.flags.dtype))

    def holes(self, tiles: Iterable[tuple[int, ...]]) -> list[Damage]:
        """Return the chunks of finished tiles that are missing or have a wrong size."""
        damages, tiles = [], list(tiles)
        arrays = self.files.variables if tiles else {}
        listed = self.location.map(self.location.sizes, arrays)
        for array, sizes in zip(arrays.values(), listed, strict=True):
            for tile in tiles:
                key = array.key(tile)
                if sizes.get(key.split("/")[1]) != array.nbytes:
                    damages.append(Damage(key, self.chunk(array, tile)[1] or MISSING, tile))
        return damages

    def damaged_tiles(self) -> list[Damage]:
        """Read all chunks and records of finished tiles and return the damaged ones."""
        records, damages = self.records()
        return damages + self.damaged_chunks(records)

    def damaged_chunks(self, records: Mapping[tuple[int, ...], TileRecord]) -> list[Damage]:
        """Read all chunks of finished tiles, by their records, and return the damaged ones."""
        return [damage for item in records.items() for damage in self.tile_chunks(*item)[1]]

    def coordinates(self) -> tuple[dict[str, bytes], list[Damage]]:
        """Read the coordinates.

        Returns:
            Their chunks by key, and those that are damaged or differ from those of the sweep.
        """
        described = self.identity["layout"]["coordinates"]
        arrays = list(self.files.coordinates.values())
        read, chunks, damages = self.location.map(self.chunk, arrays), {}, []
        for array, (raw, problem) in zip(arrays, read, strict=True):
            chunks[array.key()] = raw
            if problem:
                damages.append(Damage(array.key(), problem))
                continue
            values = array.decode(raw).astype(array.dtype)
            if describe_values(values, array.array.dims) != described[array.name]:
                damages.append(Damage(array.key(), "its values differ from those of the sweep"))
        return chunks, damages

    def damaged_frame(self) -> list[Damage]:
        """Return the damaged files that are not part of a tile: metadata and coordinates."""
        expected = self.files.documents()
        read = self.location.map(lambda key: self.location.read(key, len(expected[key])), expected)
        damages = []
        for (key, document), (raw, problem) in zip(expected.items(), read, strict=True):
            if raw != document:
                differs = "differs from the store's root"
                damages.append(Damage(key, problem if problem == MISSING else differs))
        return damages + self.coordinates()[1]


def checked_store(
    stored: Stored,
    flags: np.ndarray,
    records: Mapping[tuple[int, ...], TileRecord],
    coordinates: Mapping[str, bytes],
) -> Any:
    """Return a Zarr store of the checked metadata and the chunks of finished tiles.

    Args:
        stored: the store.
        flags: for each tile, the number of its entry of `writers`, 0 if it is not finished.
        records: records of finished tiles.
        coordinates: checked chunks of coordinates, by key.
    """
    from zarr.core.buffer import cpu
    from zarr.storage import MemoryStore, WrapperStore

    files, location = stored.files, stored.location

    class CheckedStore(WrapperStore[MemoryStore]):
        """Store that raises an error for a missing or wrong chunk."""

        async def get(self, key, prototype, byte_range=None):
            name, _, last = key.partition("/")
            array = files.arrays.get(name)
            if array is None or last == ROOT or name in files.coordinates:
                return await super().get(key, prototype, byte_range)
            tile = tuple(map(int, last.split(".")[1:]))[: flags.ndim]
            if not flags[tile]:
                return None
            if name == FLAGS:
                return prototype.buffer.from_bytes(stored.finished_chunk(tile, int(flags[tile])))
            if isinstance(location, Folder):
                return prototype.buffer.from_bytes(read(array, tile))
            return prototype.buffer.from_bytes(await asyncio.to_thread(read, array, tile))

    def read(array, tile):
        # Values with the recorded checksum belong to the sweep, since its record does.
        raw, problem = stored.recorded_chunk(array, tile, records[tile])
        if problem and location.read(SWEEP, MAX_RECORD_BYTES)[0] != stored.sweep.encode():
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

    documents = {**files.documents(), **coordinates, ROOT: stored.root.to_bytes()}
    buffers: Any = {key: cpu.Buffer.from_bytes(raw) for key, raw in documents.items()}
    return CheckedStore(MemoryStore(buffers, read_only=True))


def attributes_of(writers: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Return the attributes `writers` and `bits_checked` of a Dataset.

    The latter is "false" if the bits of a run depended on its place in a slab in a check by one of
    the writers, "not checked" if one of them did not check it, and otherwise "true".
    """
    results = {one.get("bits_checked") for several in writers for one in several}
    checked = "false" if False in results else "true" if results == {True} else "not checked"
    return {"writers": json.dumps(writers), "bits_checked": checked}


def with_names(dataset: Any) -> Any:
    """Return a Dataset with integer coordinates replaced by their meanings."""
    named = {}
    for name, coordinate in dataset.coords.items():
        meanings = str(coordinate.attrs.get("flag_meanings", "")).split()
        codes = coordinate.values
        if meanings and codes.dtype.kind in "iu":
            if codes.min() < 0 or codes.max() >= len(meanings):
                raise StoreError(f"{name} is damaged: values without a name in flag_meanings")
            attrs = {k: v for k, v in coordinate.attrs.items() if not k.startswith("flag_")}
            # The dtype is object, since Zarr has no fixed-length strings.
            named[name] = (coordinate.dims, np.array(meanings, object)[codes], attrs)
    return dataset.assign_coords(named)
