"""Writing of stores, tile by tile, resumable after any interruption.

    write(tile):  the chunk of every variable, their checksums, then the tile's flag

A tile without its flag is not finished. Only one sweep at a time writes a store. An example with
two runs in two tiles:

>>> import tempfile
>>> from gdjax.stores.schema import Layout, Variable
>>> layout = Layout({"seed": 2}, {"seed": 1}, {"cost": Variable(("seed",), "float32")})
>>> with tempfile.TemporaryDirectory() as path:
...     with Store(f"{path}/two.zarr", layout, identity={"num_steps": 10}, writer={}) as store:
...         store.write((1,), {"cost": np.ones(1, np.float32)})
...     with Store(f"{path}/two.zarr", layout, identity={"num_steps": 10}) as store:
...         store.finished().tolist()
[False, True]
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gdjax._runtime import array_file
from gdjax.errors import InputError, StoreError
from gdjax.stores.location import Bucket, Folder, locate
from gdjax.stores.lock import FileLock, Lease, acquire
from gdjax.stores.reader import SWEEP, Damage, Stored, read_root
from gdjax.stores.schema import (
    FLAGS,
    MAX_WRITERS,
    OWN,
    RESERVED,
    ROOT,
    Layout,
    Root,
    checksum,
    make_root,
    plain,
    seal,
    serialize,
)

MAX_CHECKPOINT_BYTES = 2**34

NEWER = ("problem_hash", "flags")  # entries that are missing in older stores of format 2

DERIVED = ("layout", "program_hash", "problem_hash")
"""Entries of an identity that are determined by other entries."""

CHECKPOINTS = f"{OWN}/checkpoints"  # folder for states of unfinished tiles and searches


class Tiles(Stored):
    """A writer of tiles of an existing store, such as a worker of a cluster.

    It acquires no lock, since the sweep that assigns the tiles holds the lock. No two writers may
    write the same tile.

    Args:
        store: path, URL or location of the store.
        writer: number of the entry of `writers` that describes the program and the machine that
            compute the tiles.

    Raises:
        StoreError: if there is no store, its metadata are damaged, or it has format 2.
    """

    _lock: FileLock | Lease | None = None

    def __init__(self, store: str | Path | Folder | Bucket, writer: int = 1):
        super().__init__(store)
        self.writer = writer
        if self.format == 2:
            raise read_only(self.location)

    def finished(self) -> Bool[np.ndarray, "..."]:
        """Return whether each tile is finished; a tile with a damaged flag is not."""
        return self.flags()[0] > 0

    def write(
        self, tile: tuple[int, ...], arrays: Mapping[str, Any], writer: int | None = None
    ) -> None:
        """Write all variables of a tile, then its flag; remove its checkpoint.

        Args:
            tile: index of the tile along each dimension of the grid.
            arrays: all variables by name, with the full shape of a tile or cropped to the grid.
                Values beyond the grid's edge are ignored.
            writer: number of the entry of `writers` that describes the program and the machine that
                computed the tile; None uses that of this object.

        Raises:
            InputError: if there is no such tile, or names, shapes or types differ from the layout.
            StoreError: if the tile is already finished or cannot be written. Tiles already written
                are unaffected.
        """
        tile = self._checked(tile)
        variables, region = self.schema.variables, self.schema.region(tile)
        if set(arrays) != set(variables):
            raise InputError(f"write: variables {sorted(arrays)}, expected {sorted(variables)}")
        chunks = {}
        for name, array in variables.items():
            values = np.asarray(arrays[name])
            shape = tuple(s.stop - s.start for s in region) + array.shape[len(region) :]
            if values.shape not in (shape, array.chunk) or values.dtype != array.dtype:
                raise InputError(
                    f"write: {name} is {values.dtype} of shape {values.shape}, expected "
                    f"{array.dtype} of shape {shape} or, beyond the grid's edge, {array.chunk}"
                )
            chunks[name] = array.encode(values[tuple(slice(n) for n in shape)])
        self.write_chunks(tile, chunks, self.writer if writer is None else writer)

    def write_chunks(self, tile: tuple[int, ...], chunks: Mapping[str, bytes], writer: int) -> None:
        """Write a tile from the bytes of its chunks, such as those of another store.

        Raises:
            InputError: if there is no entry with the number `writer`.
            StoreError: if the tile is already finished or cannot be written.
        """
        if self.is_finished(tile):
            raise StoreError(
                f"{self.location}: tile {tile} is already finished and is not overwritten; see "
                f"finished() for the missing tiles"
            )
        if not 1 <= writer <= len(self.writers):
            raise InputError(
                f"writer = {writer}, expected 1 to {len(self.writers)}: see add_writer"
            )
        location, (variables, _, flags, checksums) = self.location, self.schema
        assert checksums is not None

        def write(array):
            location.write(array.key(tile), chunks[array.name])

        self._check_lock()
        list(location.map(write, variables.values()))
        values = np.array([checksum(chunks[name]) for name in variables], checksums.dtype)
        location.write(checksums.key(tile), checksums.encode(values.reshape(checksums.chunk)))
        self._check_lock()
        shape = [s.stop - s.start for s in self.schema.region(tile)]
        location.write(flags.key(tile), flags.encode(np.full(shape, writer, flags.dtype)))
        location.remove(self._checkpoint(tile))

    def save_checkpoint(
        self, tile: tuple[int, ...], arrays: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> None:
        """Save the state of an unfinished tile, replacing an earlier checkpoint.

        Args:
            tile: index of the tile along each dimension of the grid.
            arrays: arrays from which the computation continues, by name.
            meta: numbers and text of the checkpoint, such as the step.

        Raises:
            StoreError: if the checkpoint cannot be written.
        """
        raw = array_file.pack(arrays, plain(meta, "meta"))
        self.location.write(self._checkpoint(tile), raw, durable=True)

    def load_checkpoint(
        self, tile: tuple[int, ...]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the checkpoint of `save_checkpoint`; None if it is missing or damaged."""
        raw, problem = self.location.read(self._checkpoint(tile), MAX_CHECKPOINT_BYTES)
        return None if problem else array_file.unpack(raw)

    def _checkpoint(self, tile):
        return f"{CHECKPOINTS}/{'.'.join(map(str, self._checked(tile)))}"

    def _checked(self, tile):
        tile = tuple(int(i) for i in tile)
        if len(tile) != len(self.shape) or not all(
            0 <= i < n for i, n in zip(tile, self.shape, strict=True)
        ):
            raise InputError(f"tile = {tile}, expected an index into {self.shape} tiles")
        return tile

    def _check_lock(self):
        if self._lock is not None:
            self._lock.check()


class Store(Tiles):
    """The store of a sweep, created or resumed.

    Files outside tiles (metadata, coordinates) are determined by `layout` and `identity`,
    so they are restored on opening if they are missing or damaged; `repair` handles tiles.

    Args:
        store: path, URL or location of the store.
        layout: arrays of the sweep.
        identity: identity of the sweep. Any difference from the stored one is an error.
        writer: description of the program and the machine that compute the results: versions,
            device, slab width, source revision. It is added to `writers` unless it is already
            listed, and its number there is the flag of the tiles. None if `add_writer` is called
            later.

    Raises:
        InputError: if a value in `identity` or `writer` cannot be represented in JSON.
        StoreError: if the store is in use, contains other files or another sweep, or is damaged
            beyond repair.

    Attributes:
        restored: damaged files that were restored on opening.
    """

    def __init__(
        self,
        store: str | Path | Folder | Bucket,
        layout: Layout,
        *,
        identity: Mapping[str, Any],
        writer: Mapping[str, Any] | None = None,
    ):
        self.location = locate(store)
        recorded = layout.record(identity)
        writers = [] if writer is None else [plain(writer, "writer")]
        seal(make_root(layout.schema, recorded, writers))  # raises if the root is too large
        _read_own_root(self.location, layout, recorded)  # raises before any change
        self._lock = acquire(self.location)
        try:
            self.restored = self._restore(layout, recorded, writers)
            self.writer = self.add_writer(writers[0]) if writers else 0
        except BaseException:
            self.close()
            raise

    def _restore(self, layout, recorded, writers):
        """Restore missing or damaged files outside tiles, and return the damage."""
        location, schema = self.location, layout.schema
        root = _read_own_root(location, layout, recorded)
        existed = root is not None or bool(location.sizes(FLAGS).keys() - {ROOT})
        self.root, self.schema = root or Root(make_root(schema, recorded, list(writers)), schema)
        if root is None and existed:  # the writers of the existing tiles are unknown
            lost = {"lost": f"{ROOT} was damaged"}
            # Flags above the number of writers are ignored, so the maximum number of writers is set
            # first.
            self.attributes["writers"] = [lost] * MAX_WRITERS
            self.attributes["writers"] = [lost] * int(self.flags()[0].max(initial=0)) + writers
        damages = self.damaged_frame()
        chunks = dict(layout.chunks()) if damages else {}
        for damage in damages:
            name, _, last = damage.file.rpartition("/")
            document = self.schema.arrays[name].document()
            raw = serialize(document) if last == ROOT else chunks[damage.file]
            location.write(damage.file, raw)
        digest = _digest(recorded)
        if location.read(SWEEP, len(digest))[0] != digest:
            location.write(SWEEP, digest)
        for name in ("", OWN, CHECKPOINTS, *self.schema.arrays):
            location.remove_partial(name)
        if root is None:
            self._write_root()
            damages.append(Damage(ROOT, "was missing or damaged"))
        return damages if existed else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Release the lock of the store."""
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def add_writer(self, writer: Mapping[str, Any]) -> int:
        """Add a description of the program and the machine that compute tiles.

        Returns:
            The number of the entry in `writers`, counted from 1.
        """
        described = plain(writer, "writer")
        if described not in self.writers:
            self.writers.append(described)
            self._write_root()
        return self.writers.index(described) + 1

    def annotate(self, **attributes: Any) -> None:
        """Set annotations of the store, such as the duration of the sweep in seconds.

        Raises:
            InputError: if a name is reserved, or a value cannot be represented in JSON.
        """
        if taken := sorted(set(attributes) & set(RESERVED[3])):
            raise InputError(f"annotate: {taken} are reserved; choose other names")
        self.attributes.update(plain(attributes))
        self._write_root()

    def repair(self) -> list[Damage]:
        """Verify every finished tile, and mark damaged ones as not finished.

        Returns:
            The damaged files, including those that were restored on opening. Afterwards, `finished`
            returns the tiles that need not be computed.
        """
        damages = self.damaged_tiles()
        for damage in damages:
            assert damage.tile is not None
            # The flag is removed first: if the process is killed, the tile is recomputed.
            self.location.remove(self.schema.flags.key(damage.tile))
            self.location.remove(damage.file)
        return self.restored + damages

    def _write_root(self):
        self._check_lock()
        self.location.write(ROOT, seal(self.root), durable=True)


def is_complete(location: Folder | Bucket, layout: Layout, identity: Mapping[str, Any]) -> bool:
    """Return whether a store contains a complete sweep and is intact.

    Raises:
        StoreError: if the store contains other files or another sweep.
    """
    root = _read_own_root(location, layout, layout.record(identity))
    return root is not None and Stored(location).is_whole()


def require_same(store: Any, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that the identities of two sweeps are equal.

    Args:
        store: name of the store, for the message.
        stored: identity of the stored sweep.
        expected: identity of the requested sweep.

    Raises:
        StoreError: if the identities differ; the message lists the differences.
    """
    if listed := differences(stored, expected):
        raise StoreError(
            f"{store} contains another sweep: {listed}. Choose another store, or restore these "
            f"settings"
        )


def differences(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return the differences between two identities as text; empty if they are equal.

    Entries of `NEWER` are compared only if both have them, since older stores of format 2 lack
    them.
    """
    old, new = dict(_flatten(stored)), dict(_flatten(expected))
    changed = [
        key
        for key in {**old, **new}
        if (key in old and key in new and old[key] != new[key])
        or ((key in old) != (key in new) and key.partition(".")[0] not in NEWER)
    ]
    # Derived entries are listed only if no other entry differs.
    causes = [key for key in changed if key.partition(".")[0] not in DERIVED]
    listed = [
        f"{key}: stored {old.get(key, 'nothing')!r:.120}, expected {new.get(key, 'nothing')!r:.120}"
        for key in causes or changed
    ]
    more = f"; and {len(listed) - 8} more" if len(listed) > 8 else ""
    return "; ".join(listed[:8]) + more


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flatten(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def read_only(location: Folder | Bucket) -> StoreError:
    """Return the error for an attempt to write a store of format 2."""
    return StoreError(
        f"{location}: the store has format 2, which this version of gdjax can read but not write; "
        f"finish it with the version of gdjax that wrote it, or copy it: gd.extend(store, "
        f"to=new_store)"
    )


def _read_own_root(location, layout, recorded):
    """Return the root of a sweep's store; None if it has to be written."""
    root = read_root(location, layout.schema.arrays, _digest(recorded))
    if root is not None:
        if root.document["attributes"]["gdjax_format"] == 2:
            raise read_only(location)
        require_same(location, root.document["attributes"]["identity"], recorded)
    return root


def _digest(identity: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(serialize(identity)).hexdigest().encode()
