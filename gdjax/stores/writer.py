"""Writing of stores, tile by tile, resumable after any interruption.

    write(tile):  the chunk of every variable, their checksums, then the tile's flag

A tile without its flag is not finished. Only one process at a time writes a tile. An example with
two runs in two tiles:

>>> import tempfile
>>> from gdjax.base.arrays import Array, Schema
>>> cost = Array("cost", ("seed",), dtype="float32")
>>> schema = Schema({"seed": 2}, {"seed": 1}, {"cost": cost})
>>> with tempfile.TemporaryDirectory() as path:
...     with Store(f"{path}/two.zarr", schema, identity={"num_steps": 10}, writer={}) as store:
...         store.write((1,), {"cost": np.ones(1, np.float32)})
...     with Store(f"{path}/two.zarr", schema, identity={"num_steps": 10}, writer={}) as store:
...         store.finished().tolist()
[False, True]
"""

import contextlib
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gdjax.base import array_file
from gdjax.base.arrays import Schema
from gdjax.base.documents import digest, plain, serialize
from gdjax.base.errors import InputError, StoreError
from gdjax.base.limits import Digest
from gdjax.stores.location import MISSING, Bucket, Folder, StoreLike, locate
from gdjax.stores.lock import FileLock, InUseError, Lease, acquire, acquire_in_turn, is_held
from gdjax.stores.reader import Damage, Stored, has_tiles, read_root
from gdjax.stores.schema import (
    MAX_RECORD_BYTES,
    OWN,
    ROOT,
    SWEEP,
    TILES,
    WRITERS,
    Files,
    Root,
    TileRecord,
    check_at_most,
    checksum,
    tile_name,
)

MAX_CHECKPOINT_BYTES = 2**34

CHECKPOINTS = f"{OWN}/checkpoints"  # folder for states of unfinished tiles and searches
PARTS = f"{OWN}/parts"  # folder for locks of tiles, and of the processes that compute parts
OPENING_SECONDS = 120.0  # maximum time for which processes that compute parts wait to open a store


class _State(msgspec.Struct):
    sweep: str
    key: str
    writers: tuple[Digest, ...]
    meta: dict[str, Any]


class Tiles(Stored):
    """A writer of tiles of an existing store, such as a worker of a cluster.

    It acquires no lock, since the sweep that assigns the tiles holds the lock. No two writers may
    write the same tile.

    Args:
        store: path, URL or location of the store.
        writer: description of the program and the machine that compute the tiles.
    """

    _lock: FileLock | Lease | None = None

    def __init__(self, store: StoreLike, writer: Mapping[str, Any]):
        super().__init__(store)
        self._begin(writer)

    def _begin(self, writer):
        self.begun_by: dict[tuple[int, ...], tuple[str, ...]] = {}
        self.own_name = self.add_writer(writer)

    def add_writer(self, writer: Mapping[str, Any]) -> str:
        """Describe a writer in its own file, and return the name by which records refer to it."""
        described = plain(writer, "writer")
        name, raw = digest(described), serialize(described)
        check_at_most(len(raw), MAX_RECORD_BYTES, "bytes of its description", "writer")
        if self.location.read(f"{WRITERS}/{name}", len(raw))[0] != raw:
            self.location.write(f"{WRITERS}/{name}", raw)
        return name

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, Any]) -> None:
        """Write all variables of a tile, then its record; remove its checkpoint.

        The record names this writer, after those of the checkpoint from which it continued.

        Args:
            tile: index of the tile along each dimension of the grid.
            arrays: all variables by name, cropped to the grid.
        """
        tile = self._checked(tile)
        variables, region = self.files.variables, self.schema.region(tile)
        chunks = {}
        for name, array in variables.items():
            values = np.asarray(arrays[name])
            shape = tuple(s.stop - s.start for s in region) + array.shape[len(region) :]
            if values.shape != shape or values.dtype != array.dtype:
                raise InputError(
                    f"write: {name} is {values.dtype} of shape {values.shape}, expected "
                    f"{array.dtype} of shape {shape}"
                )
            chunks[name] = array.encode(values)
        self.write_chunks(tile, chunks, self._writers(tile))

    def _writers(self, tile):
        return tuple(dict.fromkeys((*self.begun_by.get(tile, ()), self.own_name)))

    def write_chunks(
        self, tile: tuple[int, ...], chunks: Mapping[str, bytes], writers: tuple[str, ...]
    ) -> None:
        """Write a tile from the bytes of its chunks, such as those of another store."""
        if self.record(tile) is not None:
            raise StoreError(
                f"{self.location}: tile {tile} is already finished and is not overwritten; see "
                f"finished() for the missing tiles"
            )
        location, variables = self.location, list(self.files.variables.values())

        def write(array):
            location.write(array.key(tile), chunks[array.name])

        self._check_lock()
        list(location.map(write, variables))
        location.write(self.files.flags.key(tile), self.finished_chunk(tile))
        record = TileRecord(writers, tuple(checksum(chunks[array.name]) for array in variables))
        self._check_lock()
        location.write(f"{TILES}/{tile_name(tile)}", record.to_bytes(self.sweep, tile))
        location.remove(self._checkpoint(tile))

    def begin(self, tiles: Sequence[tuple[int, ...]], writers: Iterable[Mapping[str, Any]]) -> None:
        """Note the writers that computed the runs of tiles before this one continues them."""
        names = tuple(map(self.add_writer, writers))
        self.begun_by |= dict.fromkeys(tiles, names)

    def save_checkpoint(
        self,
        tiles: Sequence[tuple[int, ...]],
        arrays: Mapping[str, Any],
        meta: Mapping[str, Any],
    ) -> None:
        """Save the state of unfinished tiles, replacing an earlier checkpoint.

        Args:
            tiles: tiles that are computed together; the first one names the checkpoint.
            arrays: arrays from which the computation continues, by name.
            meta: numbers and text of the checkpoint, such as the step.
        """
        bound = {"tiles": list(map(list, tiles)), **meta}
        self.save_state(self._checkpoint(tiles[0]), arrays, bound, self._writers(tiles[0]))

    def load_checkpoint(
        self, tiles: Sequence[tuple[int, ...]]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the checkpoint of `save_checkpoint`; None if there is no intact one."""
        state = self.load_state(self._checkpoint(tiles[0]))
        if state is None or state[1].pop("tiles", None) != list(map(list, tiles)):
            return None
        arrays, meta, writers = state
        self.begun_by |= dict.fromkeys(tiles, writers)
        return arrays, meta

    def save_state(
        self,
        key: str,
        arrays: Mapping[str, Any],
        meta: Mapping[str, Any],
        writers: tuple[str, ...] = (),
    ) -> None:
        """Save a state from which a computation continues, bound to the sweep and its place."""
        bound = {"sweep": self.sweep, "key": key, "writers": list(writers), "meta": meta}
        raw = array_file.pack(arrays, plain(bound, "state"))
        self.location.write(key, raw, durable=True)

    def load_state(
        self, key: str
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], tuple[str, ...]] | None:
        """Return arrays, meta and writers of `save_state`.

        Returns:
            None if the file is missing or damaged, or was written for another sweep or place.
        """
        raw, problem = self.location.read(key, MAX_CHECKPOINT_BYTES)
        arrays, bound = (None if problem else array_file.unpack(raw)) or ({}, {})
        with contextlib.suppress(msgspec.ValidationError):
            state = msgspec.convert(bound, _State)
            if (state.sweep, state.key) == (self.sweep, key):
                return arrays, state.meta, state.writers

    def _checkpoint(self, tile):
        return f"{CHECKPOINTS}/{tile_name(self._checked(tile))}"

    def _checked(self, tile):
        tile, counts = tuple(int(i) for i in tile), self.schema.tiles
        if len(tile) != len(counts) or not all(
            0 <= i < n for i, n in zip(tile, counts, strict=True)
        ):
            raise InputError(f"tile = {tile}, expected an index into {counts} tiles")
        return tile

    def _check_lock(self):
        if self._lock is not None:
            self._lock.check()


class Store(Tiles):
    """The store of a sweep, created or resumed.

    Files outside tiles (metadata, coordinates) are determined by `schema` and `identity`,
    so they are restored on opening if they are missing or damaged; `repair` handles tiles.

    Args:
        store: path, URL or location of the store.
        schema: arrays of the sweep, with the values of coordinates.
        identity: identity of the sweep. Any difference from the stored one is an error.
        writer: description of the program and the machine that compute the tiles.
        allow_unverified: whether to go on if programs cannot be compared.
        shared: whether other processes may write other tiles at the same time. They then lock the
            tiles that they compute together (see `claim`), and not the store.
        root: root of the store, if it has been read.

    Attributes:
        restored: damaged files that were restored on opening.
        num_skipped: number of tiles that were not computed since other processes compute them.
    """

    def __init__(
        self,
        store: StoreLike,
        schema: Schema,
        *,
        identity: Mapping[str, Any],
        writer: Mapping[str, Any],
        allow_unverified: bool = False,
        shared: bool = False,
        root: Root | None = None,
    ):
        self.location, self._shared, self.num_skipped = locate(store), shared, 0
        self._claims: dict[tuple[int, ...], tuple[str, FileLock | Lease]] = {}
        files = Files(schema)
        recorded = files.record(identity)
        Root(recorded, files).to_bytes()  # raises if the root is too large
        own = files, recorded, allow_unverified
        root = self._check_root(*own, root)  # raises before any change
        self._lock = (
            acquire_in_turn(self.location, OPENING_SECONDS) if shared else acquire(self.location)
        )
        try:
            if not shared:
                self._check_parts()
            self.restored = self._restore(*own, root)
            self._begin(writer)
            if shared:
                opening, key = self._lock, f"{PARTS}/{uuid.uuid4().hex}"
                self._lock = acquire(self.location, key)
                opening.close()
        except BaseException:
            self.close()
            raise

    def _check_parts(self):
        """Check that no process computes a part, and remove the locks of those that have ended."""
        for name in (names := self.location.sizes(PARTS)):
            if is_held(self.location, f"{PARTS}/{name}"):
                raise InUseError(
                    f"{self.location}: other processes are computing parts of this sweep; start "
                    f"again after they have ended, or compute a part: resume(..., part=(0, 1))"
                )
        if names:
            self.location.remove(PARTS)

    def _check_root(self, *own):
        try:
            return read_own_root(self.location, *own)
        except StoreError:
            is_begun = self.location.read(ROOT, 1)[1] == MISSING and self.location.sizes(OWN)
            if "lock" in (is_begun or {}):  # another writer may be creating the store
                acquire(self.location).close()
            raise

    def _restore(self, files, recorded, allow_unverified, known):
        """Restore missing or damaged files outside tiles, and return the damage."""
        location = self.location
        root = read_own_root(location, files, recorded, allow_unverified, known)
        existed = root is not None or has_tiles(location)
        self.root, self.files, self.schema = root or Root(recorded, files), files, files.schema
        # Files of a killed creation are kept, so that repeated creations make progress.
        is_new = not existed and not location.sizes().keys() - {OWN}
        damages = [] if is_new else self.damaged_frame()
        frame = {**files.documents(), **dict(files.chunks())} if is_new or damages else {}
        for key in frame if is_new else (damage.file for damage in damages):
            location.write(key, frame[key])
        if location.read(SWEEP, len(self.sweep))[0] != self.sweep.encode():
            location.write(SWEEP, self.sweep.encode())
        for name in ("", OWN, CHECKPOINTS, TILES, WRITERS, *self.files.arrays):
            location.remove_partial(name)
        if root is None:
            location.write(ROOT, self.root.to_bytes(), durable=True)
            damages.append(Damage(ROOT, "was missing or damaged"))
        return damages if existed else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Release the locks of the store and of its tiles."""
        for lock in (*(lock for _, lock in self._claims.values()), self._lock):
            if lock is not None:
                lock.close()
        self._claims, self._lock = {}, None

    def claim(self, tiles: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Reserve tiles that are computed together, until the first of them is written.

        Returns:
            Those that are not finished; none if another process computes them.
        """
        if not self._shared:
            return list(tiles)
        key = f"{PARTS}/{tile_name(tiles[0])}"
        try:
            lock = acquire(self.location, key)
        except InUseError:
            self.num_skipped += len(tiles)
            return []
        unfinished = [tile for tile in tiles if self.record(tile) is None]
        if unfinished:
            self._claims[unfinished[0]] = key, lock
        else:
            lock.close()
        return unfinished

    def write_chunks(
        self, tile: tuple[int, ...], chunks: Mapping[str, bytes], writers: tuple[str, ...]
    ) -> None:
        """Write a tile as `Tiles.write_chunks` does, and release it if it is the first claimed."""
        super().write_chunks(tile, chunks, writers)
        if tile in self._claims:
            key, lock = self._claims.pop(tile)
            lock.close()
            self.location.remove(key)  # whoever locks it later finds no tile to compute

    def repair(self) -> list[Damage]:
        """Verify every finished tile, and mark damaged ones as not finished.

        Returns:
            The damaged files, including those that were restored on opening. Afterwards, `finished`
            returns the tiles that need not be computed.
        """
        damages = self.damaged_tiles()
        for damage in damages:
            assert damage.tile is not None
            # The record is removed first: if the process is killed, the tile is recomputed.
            self.location.remove(f"{TILES}/{tile_name(damage.tile)}")
            self.location.remove(damage.file)
        return self.restored + damages


def complete_sweep(
    location: Folder | Bucket,
    schema: Schema,
    identity: Mapping[str, Any],
    allow_unverified: bool = False,
    root: Root | None = None,
) -> Stored | None:
    """Return the store of a sweep if it is complete and intact, else None.

    Args:
        location, schema, identity, allow_unverified, root: as in `Store`.
    """
    files = Files(schema)
    root = read_own_root(location, files, files.record(identity), allow_unverified, root)
    if root is None:
        return None
    stored = Stored(location, root)
    records, _ = stored.records()
    is_whole = len(records) == math.prod(schema.tiles)
    is_whole = is_whole and not stored.damaged_frame() + stored.damaged_chunks(records)
    return stored if is_whole else None


def read_own_root(
    location: Folder | Bucket,
    files: Files,
    recorded: Mapping[str, Any],
    allow_unverified: bool = False,
    known: Root | None = None,
) -> Root | None:
    """Return the root of a sweep's store, as `read_root` does; None if it has to be written."""
    root = read_root(location, files.arrays, digest(recorded).encode(), known)
    if root is not None:
        require_same(location, root.identity, recorded, allow_unverified)
    return root


def require_same(
    store: Any,
    stored: Mapping[str, Any],
    expected: Mapping[str, Any],
    allow_unverified: bool = False,
    *,
    recomputed: bool = False,
) -> None:
    """Check that stored numbers belong to the computation that would continue them.

    This is the only comparison of what is stored with what is now. The texts of programs can be
    compared only under equal versions and numeric flags, and neither the code of a host callback
    nor a derivative rule within another one.
    """
    old, new = dict(_flatten(stored)), dict(_flatten(expected))
    missing = object()
    changed = [k for k in {**old, **new} if old.get(k, missing) != new.get(k, missing)]
    environment, programs, derived = (
        [key for key in changed if key.partition(".")[0] in parts]
        for parts in (("environment",), ("functions", "nested_rules"), ("layout",))
    )
    settings = [key for key in changed if key not in {*environment, *programs, *derived}]
    doubt = ""
    if environment:
        doubt = f"it was computed by other versions or flags ({_listed(old, new, environment)})"
    elif recomputed:  # and compared, so that a function that cannot be compared does no harm
        doubt = ""
    elif callbacks := stored.get("callbacks"):
        verb = "calls" if len(callbacks) == 1 else "call"
        doubt = f"{', '.join(callbacks)} {verb} functions of the host, whose code is not recorded"
    elif rules := stored.get("nested_rules"):
        listed = "; ".join(f"{name}: {rule}" for name, rule in rules.items())
        doubt = f"derivative rules contain other rules, which are not recorded ({listed})"
    if not doubt:
        # The arrays follow from the settings and programs: they are listed only if these are
        # equal, and not compared if programs cannot be.
        settings = settings or programs or derived
    if settings:
        raise StoreError(
            f"{store} contains another sweep: {_listed(old, new, settings)}. Choose another store "
            f"or study (gd.extend continues the runs of a store in it), or restore these settings"
        )
    if doubt and not allow_unverified:
        remedy = "Use the versions and flags of the store, choose" if environment else "Choose"
        raise StoreError(
            f"{store}: whether its numbers are those of the same computation cannot be verified, "
            f"since {doubt}. {remedy} another store, or pass allow_unverified=True "
            f"(--allow-unverified)"
        )


def _listed(old, new, keys):
    """Return the entries that differ as text."""

    def of(values, key):
        text = repr(values[key]) if key in values else "nothing"
        return text if len(text) <= 120 else f"{text[:80]} ... {text[-40:]}"

    listed = [f"{key}: stored {of(old, key)}, expected {of(new, key)}" for key in keys]
    more = f"; and {len(listed) - 8} more" if len(listed) > 8 else ""
    return "; ".join(listed[:8]) + more


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flatten(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item
