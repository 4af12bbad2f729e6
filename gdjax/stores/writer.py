"""A store that is written tile by tile, and is taken up again after any interruption.

    write(tile):  the chunk of every variable, their checksums, then the tile's flag

Without its flag a tile does not count. A store is written by one sweep at a time. The simplest
instance is two runs in two tiles:

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

NEWER = ("problem_hash", "flags")  # entries of an identity that older stores of format 2 lack

DERIVED = ("layout", "program_hash", "problem_hash")
"""Entries of an identity that other entries decide."""

_CHECKPOINTS = f"{OWN}/checkpoints"


class Tiles(Stored):
    """A writer of tiles of an existing store, such as a worker of a cluster.

    It takes no lock: the sweep that handed out the tiles holds it. No two writers may have the
    same tile.

    Args:
        store: path or URL of the store, or what `locate` returns.
        writer: number of the entry of `writers` that describes what computes the tiles.

    Raises:
        StoreError: there is no store, its metadata are damaged, or it is of format 2.
    """

    _lock: FileLock | Lease | None = None

    def __init__(self, store: str | Path | Folder | Bucket, writer: int = 1):
        super().__init__(store)
        self.writer = writer
        if self.format == 2:
            raise read_only(self.location)

    def finished(self) -> Bool[np.ndarray, "..."]:
        """Return which tiles have been written. One whose flag is damaged has not."""
        return self.flags()[0] > 0

    def write(
        self, tile: tuple[int, ...], arrays: Mapping[str, Any], writer: int | None = None
    ) -> None:
        """Write all variables of a tile, then its flag; drop its checkpoint.

        Args:
            tile: its index along each dimension of the grid.
            arrays: every variable, of the tile's full shape or cropped to the grid. What lies
                beyond the grid's edge is cut off.
            writer: number of the entry of `writers` that describes what computed the tile; None
                takes the one given to `Tiles` or `Store`.

        Raises:
            InputError: there is no such tile, or names, shapes or types are not the layout's.
            StoreError: the tile is finished, or cannot be written. Tiles written before remain.
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
        """Write a tile whose chunks are given as bytes, such as those of another store.

        Raises:
            StoreError: as for `write`.
        """
        if self.is_finished(tile):
            raise StoreError(
                f"{self.location}: tile {tile} is finished already, and a finished tile is never "
                f"written again; ask finished() which are missing"
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
        """Save the state of an unfinished tile, in place of an earlier one.

        Args:
            tile: its index along each dimension of the grid.
            arrays: what its computation continues from.
            meta: numbers and text that belong to it, such as the step.

        Raises:
            StoreError: it cannot be written.
        """
        raw = array_file.pack(arrays, plain(meta, "meta"))
        self.location.write(self._checkpoint(tile), raw, durable=True)

    def load_checkpoint(
        self, tile: tuple[int, ...]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return what `save_checkpoint` saved; None if there is nothing, or it is damaged."""
        raw, problem = self.location.read(self._checkpoint(tile), MAX_CHECKPOINT_BYTES)
        return None if problem else array_file.unpack(raw)

    def _checkpoint(self, tile):
        return f"{_CHECKPOINTS}/{'.'.join(map(str, self._checked(tile)))}"

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
    """The store of a sweep: created, or taken up again where it holds the same sweep.

    What belongs to no tile (metadata, coordinates) follows from `layout` and `identity`, so it is
    written again on opening where it is missing or damaged; `repair` does the rest.

    Args:
        store: path or URL of the store, or what `locate` returns.
        layout: which arrays the sweep consists of.
        identity: what makes it the same sweep. Any difference from what is stored is an error.
        writer: what else explains its numbers: versions, device, slab width, source revision. It
            becomes an entry of `writers`, if it is a new one, and the flags of tiles carry its
            number. None where `add_writer` follows.

    Raises:
        InputError: something in `identity` or `writer` cannot be recorded as JSON.
        StoreError: the store is in use, holds something else or another sweep, or is damaged
            beyond repair.

    Attributes:
        restored: the damaged files that have been restored on opening.
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
        seal(make_root(layout.schema, recorded, writers))  # refuses what is too large
        _read_own_root(self.location, layout, recorded)  # refuses what is not ours, unchanged
        self._lock = acquire(self.location)
        try:
            self.restored = self._restore(layout, recorded, writers)
            self.writer = self.add_writer(writers[0]) if writers else 0
        except BaseException:
            self.close()
            raise

    def _restore(self, layout, recorded, writers):
        """Write what belongs to no tile wherever it is not what it should be."""
        location, schema = self.location, layout.schema
        root = _read_own_root(location, layout, recorded)
        existed = root is not None or bool(location.sizes(FLAGS).keys() - {ROOT})
        self.root, self.schema = root or Root(make_root(schema, recorded, list(writers)), schema)
        if root is None and existed:  # what computed the existing tiles is not known any more
            lost = {"lost": f"{ROOT} was damaged"}
            # flags count only up to the number of writers
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
        for name in ("", OWN, _CHECKPOINTS, *self.schema.arrays):
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
        """Let another sweep have the store."""
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def add_writer(self, writer: Mapping[str, Any]) -> int:
        """Record what computes tiles, such as the device and versions of a cluster's workers.

        Returns:
            The number of its entry in `writers`, counted from 1.
        """
        described = plain(writer, "writer")
        if described not in self.writers:
            self.writers.append(described)
            self._write_root()
        return self.writers.index(described) + 1

    def annotate(self, **attributes: Any) -> None:
        """Set attributes of the store, such as the seconds that the sweep took.

        Raises:
            InputError: a name is one of the store's own, or a value is neither a number nor text.
        """
        if taken := sorted(set(attributes) & set(RESERVED[3])):
            raise InputError(f"annotate: {taken} are the store's own; choose other names")
        self.attributes.update(plain(attributes))
        self._write_root()

    def repair(self) -> list[Damage]:
        """Verify every finished tile, and count damaged ones as not finished.

        Returns:
            The damaged files, those that were restored on opening included. After this,
            `finished` says which tiles have to be computed.
        """
        damages = self.damaged_tiles()
        for damage in damages:
            assert damage.tile is not None
            # The flag goes first: a kill leaves a tile to compute, not one with a hole.
            self.location.remove(self.schema.flags.key(damage.tile))
            self.location.remove(damage.file)
        return self.restored + damages

    def _write_root(self):
        self._check_lock()
        self.location.write(ROOT, seal(self.root), durable=True)


def is_complete(location: Folder | Bucket, layout: Layout, identity: Mapping[str, Any]) -> bool:
    """Return whether a store has all of a sweep and is intact, so nothing has to be written.

    Raises:
        StoreError: the store holds something else or another sweep.
    """
    root = _read_own_root(location, layout, layout.record(identity))
    return root is not None and Stored(location).is_whole()


def require_same(store: Any, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that two sweeps are the same.

    Args:
        store: which store, for the message.
        stored: the identity that it has.
        expected: the identity that it should have.

    Raises:
        StoreError: they are not; it lists the differences.
    """
    if listed := differences(stored, expected):
        raise StoreError(
            f"{store} holds another sweep: {listed}. Choose another store, or set these back"
        )


def differences(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """List in what two identities differ, empty if in nothing.

    Entries of `NEWER` are compared where both have them: older stores of format 2 do not.
    """
    old, new = dict(_flatten(stored)), dict(_flatten(expected))
    changed = [
        key
        for key in {**old, **new}
        if (key in old and key in new and old[key] != new[key])
        or ((key in old) != (key in new) and key.partition(".")[0] not in NEWER)
    ]
    # What follows from other entries is listed only where nothing else explains it.
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
    """Return the error of a store of format 2 that would be written to."""
    return StoreError(
        f"{location}: has format 2, which this gdjax reads and does not write; finish it with the "
        f"gdjax that wrote it, or copy it: gd.extend(store, to=new_store)"
    )


def _read_own_root(location, layout, recorded):
    """Return the root of a sweep's store; None where it has to be written, again or at first."""
    root = read_root(location, layout.schema.arrays, _digest(recorded))
    if root is not None:
        if root.document["attributes"]["gdjax_format"] == 2:
            raise read_only(location)
        require_same(location, root.document["attributes"]["identity"], recorded)
    return root


def _digest(identity: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(serialize(identity)).hexdigest().encode()
