"""A sweep's runs on disk: written tile by tile, taken up again after any interruption.

    write(tile):  the chunk of every variable, then the tile's flag;  no flag, no tile

A store is one Zarr v3 group in a folder, and anybody reads it with `xarray.open_zarr`. Of a sweep
with several parts each is such a group, and xarray sees only the one that it opens. A store is
open for one sweep at a time. The simplest instance is two runs in two tiles:

>>> import tempfile
>>> from gdjax.stores.layout import Layout, Variable
>>> layout = Layout({"seed": 2}, {"seed": 1}, {"cost": Variable(("seed",), "float32")})
>>> with tempfile.TemporaryDirectory() as folder:
...     with Store(f"{folder}/two.zarr", layout, identity={"steps": 10}) as store:
...         store.write((1,), {"cost": np.ones(1, np.float32)})
...     with Store(f"{folder}/two.zarr", layout, identity={"steps": 10}) as store:
...         store.finished().tolist()
[False, True]

Only folders of a file system: a store needs renames that are atomic and `flock`.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gdjax.errors import InputError, StoreError
from gdjax.stores import checkpoint
from gdjax.stores.contents import FLAGS, MOST, ROOT, serialise
from gdjax.stores.files import MISSING, Folder, writing
from gdjax.stores.format import OWN, RESERVED, OtherFormat, Root, begun, parse_root, root_of, seal
from gdjax.stores.layout import Layout, plain
from gdjax.stores.lock import take
from gdjax.stores.reading import Damage, Stored, local

GAINED = ("problem_hash", "flags")
"""Entries of an identity that stores written before lack."""

_CHECKPOINTS = f"{OWN}/checkpoints"
_SWEEP = f"{OWN}/sweep"  # holds a digest of the sweep: whose tiles these are, if the root is lost


class Tiles(Stored):
    """A writer of tiles of an existing store, such as a worker of a cluster.

    It takes no lock: the sweep that handed out the tiles holds it. No two writers may have the
    same tile.

    Args:
        path: folder of the store.
        origin: number of the entry of the attribute `origins` that says what computes the tiles.

    Raises:
        StoreError: there is no store, or its metadata are damaged.
    """

    def __init__(self, path: str | Path, origin: int = 1):
        super().__init__(path)
        self.origin = origin

    def finished(self) -> Bool[np.ndarray, "..."]:
        """Say which tiles have been written. One whose flag is damaged counts as not written."""
        return self.flags()[0] > 0

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, Any]) -> None:
        """Write all variables of a tile, then its flag; drop its checkpoint.

        Args:
            tile: its index along each dimension of the grid.
            arrays: every variable, of the tile's full shape or cropped to the grid. What lies
                beyond the grid's edge is cut off.

        Raises:
            InputError: there is no such tile, or names, shapes or types are not the layout's.
            StoreError: the tile is finished, or the disk does not take it. Tiles written before
                stay whole.
        """
        tile = self._checked(tile)
        if self.finished_tile(tile):
            raise StoreError(
                f"{self.path}: tile {tile} is finished already, and a finished tile is never "
                f"written again; ask finished() which are missing"
            )
        if set(arrays) != set(self.contents.variables):
            raise InputError(
                f"write: variables {sorted(arrays)}, expected {sorted(self.contents.variables)}"
            )
        box = self.contents.box(tile)
        cropped = {name: self._cropped(name, values, box) for name, values in arrays.items()}
        flags = np.full([s.stop - s.start for s in box], self.origin, self.contents.flags.dtype)
        with writing(self.path):
            for array, file in self.contents.files(tile):
                values = flags if array.name == FLAGS else cropped[array.name]
                self.folder.write(file, array.encode(values))
            self.folder.remove(self._checkpoint(tile))

    def finished_tile(self, tile: tuple[int, ...]) -> bool:
        """Say whether one tile has been written."""
        return super().finished_tile(self._checked(tile))

    def save_checkpoint(
        self, tile: tuple[int, ...], arrays: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> None:
        """Keep how far an unfinished tile has come, in place of what was kept before.

        Args:
            tile: its index along each dimension of the grid.
            arrays: what its computation continues from.
            meta: numbers and text that belong to it, such as the step.

        Raises:
            StoreError: the disk does not take it.
        """
        file = self._checkpoint(self._checked(tile))
        with writing(self.path):
            self.folder.make(_CHECKPOINTS)
            self.folder.write(file, checkpoint.pack(arrays, plain(meta, "meta")), durable=True)

    def load_checkpoint(
        self, tile: tuple[int, ...]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Read what `save_checkpoint` kept; None where there is nothing, or it is damaged."""
        file = self._checkpoint(self._checked(tile))
        raw, problem = self.folder.read(file, checkpoint.MOST_BYTES)
        return None if problem else checkpoint.unpack(raw)

    def _checkpoint(self, tile: tuple[int, ...]) -> str:
        return f"{_CHECKPOINTS}/{'.'.join(map(str, tile))}"

    def _checked(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        tile = tuple(int(i) for i in tile)
        inside = len(tile) == len(self.shape) and all(
            0 <= i < n for i, n in zip(tile, self.shape, strict=True)
        )
        if not inside:
            raise InputError(f"tile = {tile}, expected an index into {self.shape} tiles")
        return tile

    def _cropped(self, name: str, values: Any, box: tuple[slice, ...]) -> np.ndarray:
        values = np.asarray(values)
        array = self.contents.variables[name]
        shape = tuple(s.stop - s.start for s in box) + array.shape[len(box) :]
        if values.shape not in (shape, array.chunk) or values.dtype != array.dtype:
            raise InputError(
                f"write: {name} is {values.dtype} of shape {values.shape}, expected {array.dtype} "
                f"of shape {shape} or, beyond the grid's edge, {array.chunk}"
            )
        return values[tuple(slice(n) for n in shape)]


class Store(Tiles):
    """The store of a sweep: created, or taken up again where it holds the same sweep.

    What belongs to no tile (metadata, coordinates) follows from `layout` and `identity`, so
    whatever of it is missing or damaged is written anew on opening; `repair` does the rest.

    Args:
        path: folder of the store.
        layout: which arrays the sweep consists of.
        identity: what makes it the same sweep: config, data hash, program hash, root seed. Any
            difference from what is stored is an error.
        information: what else explains its numbers: versions, device, slab width, source
            revision. It becomes an entry of the attribute `origins`, if it is a new one, and the
            flags of the tiles written from now on carry that entry's number.

    Raises:
        InputError: something in `identity` or `information` cannot be recorded as JSON.
        StoreError: the folder is in use, holds something else or another sweep, or is damaged
            beyond repair.

    Attributes:
        restored: the damaged files that have been restored on opening.
    """

    def __init__(
        self,
        path: str | Path,
        layout: Layout,
        *,
        identity: Mapping[str, Any],
        information: Mapping[str, Any] | None = None,
    ):
        self.folder = Folder(local(path))
        wanted = layout.record(identity)
        information = plain(information or {}, "information")
        seal(root_of(layout.contents, wanted, [information]))  # refuses what is too much to record
        _root_or_none(self.folder, layout, wanted)  # refuses what is not ours, untouched
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.folder.make(OWN)
        self._lock: int | None = take(self.folder)
        try:
            with writing(self.path):
                self.restored = self._frame(layout, wanted, information)
            self.origin = self.add_origin(information)
        except BaseException:
            self.close()
            raise

    def _frame(self, layout, wanted, information) -> list[Damage]:
        """Write what belongs to no tile wherever it is not what it should be."""
        root = _root_or_none(self.folder, layout, wanted)
        begun_before = root is not None or bool(self.folder.names(FLAGS) - {ROOT})
        if root is None:
            self._take(Root(root_of(layout.contents, wanted, [information]), layout.contents))
            if begun_before:  # what computed the tiles that are there is not known any more
                lost = {"lost": f"{ROOT} was damaged"}
                self.attributes["origins"][:0] = [lost] * int(self.flags()[0].max(initial=0))
        else:
            self._take(root)
        for name in self.contents.arrays:
            self.folder.make(name)
        found = self.damaged_frame()
        files = layout.files() if found else {}
        for damage in found:
            name, _, last = damage.file.rpartition("/")
            document = self.contents.arrays[name].document()
            raw = serialise(document) if last == ROOT else files[damage.file]
            self.folder.write(damage.file, raw)
        digest = _digest(wanted)
        if self.folder.read(_SWEEP, len(digest))[0] != digest:
            self.folder.write(_SWEEP, digest)
        for name in ("", OWN, _CHECKPOINTS, *self.contents.arrays):
            self.folder.remove_partial(name)
        if root is None:
            self._write_root()
            found.append(Damage(ROOT, "was missing or damaged"))
        return found if begun_before else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Let another sweep have the store. The kernel does so too when this process ends."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def add_origin(self, information: Mapping[str, Any]) -> int:
        """Record what computes tiles, such as the device and versions of a cluster's workers.

        Returns:
            The number of the entry in the attribute `origins`, counted from 1.
        """
        information = plain(information, "information")
        origins = self.attributes["origins"]
        if information not in origins:
            origins.append(information)
            self._write_root()
        return origins.index(information) + 1

    def annotate(self, **attributes: Any) -> None:
        """Set attributes of the store, such as the seconds that the sweep took.

        Raises:
            InputError: a name is one of the store's own, or a value cannot be recorded as JSON.
        """
        if taken := sorted(set(attributes) & set(RESERVED)):
            raise InputError(f"annotate: {taken} are the store's own; choose other names")
        self.attributes.update(plain(attributes))
        self._write_root()

    def repair(self) -> list[Damage]:
        """Verify every finished tile and take those that are damaged for not finished.

        Returns:
            The damaged files, those that were restored on opening included. After this,
            `finished` says which tiles have to be computed.
        """
        found = self.damaged_tiles()
        with writing(self.path):
            for damage in found:
                if damage.tile is not None:
                    # The flag goes first: a kill leaves a tile to compute, not one with a hole.
                    self.folder.remove(self.contents.flags.file(damage.tile))
                    self.folder.remove(damage.file)
        return self.restored + found

    def _write_root(self) -> None:
        raw = seal(self.root)
        with writing(self.path):
            self.folder.write(ROOT, raw, durable=True)


def annotate(path: str | Path, **attributes: Any) -> None:
    """Set attributes of a store that nobody has open, as `Store.annotate` does.

    Raises:
        StoreError: there is no store, or it is in use.
    """
    folder = Stored(path).folder
    lock = take(folder)
    try:
        stored = Stored(path)  # as it is now that nobody else writes
        stored.attributes.update(plain(attributes))
        with writing(stored.path):
            folder.write(ROOT, seal(stored.root), durable=True)
    finally:
        os.close(lock)


def has_all(path: str | Path, layout: Layout, identity: Mapping[str, Any]) -> bool:
    """Say whether a store holds all of a sweep and is sound, so that nothing has to be written.

    Args:
        path: folder of the store.
        layout: as for `Store`, as is the next.
        identity: what makes it the same sweep.

    Raises:
        StoreError: the folder holds something else or another sweep.
    """
    root = _root_or_none(Folder(local(path)), layout, layout.record(identity))
    return root is not None and Stored(path).whole()


def require_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Make sure that two sweeps are the same.

    Raises:
        StoreError: they are not; it lists the differences.
    """
    if found := differences(stored, wanted):
        raise StoreError(
            f"{path} holds another sweep: {found}. Choose another store, or set these back"
        )


def differences(stored: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """List in what two identities differ, empty where in nothing.

    Entries of `GAINED` are compared where both have them: older stores do not.

    Args:
        stored: of a store.
        here: what is wanted of it.
    """
    old, new = dict(_flat(stored)), dict(_flat(here))
    found = [
        f"{key}: stored {old.get(key, 'nothing')!r:.120}, wanted {new.get(key, 'nothing')!r:.120}"
        for key in {**old, **new}
        if (key in old and key in new and old[key] != new[key])
        or ((key in old) != (key in new) and key.partition(".")[0] not in GAINED)
    ]
    more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
    return "; ".join(found[:8]) + more


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def _root_or_none(folder, layout, wanted) -> Root | None:
    """The root of a sweep's store; None where it has to be written, anew or for the first time."""
    if folder.path.exists() and not folder.path.is_dir():
        raise StoreError(f"{folder.path} is a file; expected a folder. Choose another store")
    raw, problem = folder.read(ROOT, MOST["bytes of zarr.json"])
    ours = folder.read(_SWEEP, MOST["bytes of a name"])[0] == _digest(wanted)
    root = None
    try:
        root = None if problem else parse_root(raw)
    except OtherFormat as error:
        if not ours:  # but damaged
            raise StoreError(f"{folder.path}: {error}") from error
    except InputError:
        pass
    if root is not None:
        require_same(folder.path, root.document["attributes"]["identity"], wanted)
        return root
    if ours:
        return None
    names = {name for name in folder.names() if not name.startswith(f"{ROOT}.")}
    others = names - {OWN, ROOT, *layout.contents.arrays}
    if others or (names and not begun(folder)):
        raise StoreError(
            f"{folder.path} is a folder that holds something else than a store of gdjax; choose "
            f"another"
        )
    if problem != MISSING or folder.names(FLAGS) - {ROOT}:
        raise StoreError(
            f"{folder.path}: {ROOT} is {problem or 'damaged'}, and nothing says whose the tiles "
            f"are. Restore it from a backup, or choose another store"
        )
    return None


def _digest(identity: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(serialise(identity)).hexdigest().encode()
