"""A sweep's runs on disk: written tile by tile, taken up again after any interruption.

    write(tile):  the chunk of every variable, then the tile's flag;  no flag, no tile

A store is one Zarr v3 group in a folder, and anybody reads it with `xarray.open_zarr`. It is open
for one sweep at a time. The simplest instance is two runs in two tiles:

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

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gdjax.errors import InputError, StoreError
from gdjax.stores import checkpoint, frame
from gdjax.stores.format import (
    OWN,
    Damage,
    damaged_tiles,
    local,
    read_flag,
    read_flags,
    read_root,
    require_sound_root,
    write_file,
    write_root,
)
from gdjax.stores.layout import FLAGS, Layout, contents, plain

_RESERVED = ("gdjax_format", "coordinates", "identity", "origins", "digest")


def read_attributes(path: str | Path) -> dict[str, Any] | None:
    """Read what a store says about its sweep; it may be in use.

    Args:
        path: folder of the store.

    Returns:
        Its attributes: `gdjax_format`, `identity`, `origins`, and what was annotated. None where
        there is no store yet.

    Raises:
        StoreError: there is something else, another format, or nothing that can be understood.
    """
    root = read_root(local(path))
    return None if root is None else root["attributes"]


class Tiles:
    """A writer of tiles of an existing store, such as a worker of a cluster.

    It takes no lock: the sweep that handed out the tiles holds it. No two writers may have the
    same tile.

    Args:
        path: folder of the store.
        origin: number of the entry of the attribute `origins` that says what computes the tiles.

    Raises:
        StoreError: there is no store, or its metadata or coordinates are damaged.

    Attributes:
        contents: the arrays of the store, and which part of the grid each tile covers.
    """

    def __init__(self, path: str | Path, origin: int = 1):
        self.path = local(path)
        self.origin = origin
        self._open(require_sound_root(self.path))

    def _open(self, root: dict[str, Any]) -> None:
        import zarr

        self._root = root
        self.contents = contents(root)
        group = zarr.open_group(self.path, mode="r+", use_consolidated=True)
        # Without this, a chunk of nothing but NaN is not written and looks deleted.
        self._arrays = {
            name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()
        }

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store says about its sweep, as it was when this writer was opened."""
        return self._root["attributes"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return self.contents.tiles

    def finished(self) -> Bool[np.ndarray, "..."]:
        """Say which tiles have been written. One whose flag is damaged counts as not written."""
        return read_flags(self.path, self.contents)[0] > 0

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, Any]) -> None:
        """Write all variables of a tile, then its flag; drop its state.

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
        with _writing(self.path):
            for name, values in cropped.items():
                self._arrays[name][box] = values
            self._arrays[FLAGS][box] = self.origin
            self._state(tile).unlink(missing_ok=True)

    def finished_tile(self, tile: tuple[int, ...]) -> bool:
        """Say whether one tile has been written."""
        return read_flag(self.path, self.contents, self._checked(tile)) > 0

    def save_state(
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
        file = self._state(self._checked(tile))
        with _writing(self.path):
            file.parent.mkdir(exist_ok=True)
            write_file(file, checkpoint.pack(arrays, plain(meta, "meta")))

    def load_state(
        self, tile: tuple[int, ...]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Read what `save_state` kept; None where there is nothing, or it is damaged."""
        try:
            return checkpoint.unpack(self._state(self._checked(tile)).read_bytes())
        except OSError:
            return None

    def _state(self, tile: tuple[int, ...]) -> Path:
        return self.path / OWN / "states" / ".".join(map(str, tile))

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

    Metadata and coordinates that are damaged are restored on opening, which needs `layout`;
    `repair` does the rest.

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
        self.path = local(path)
        wanted = {**plain(identity, "identity"), "layout": layout.identity()}
        information = plain(information or {}, "information")
        read_root(self.path)  # refuses what is no store of ours before anything is touched
        with _writing(self.path):
            (self.path / OWN).mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock(self.path)
        try:
            with _writing(self.path):
                self.restored, root = frame.prepare(self.path, layout, wanted, information)
            self._open(root)
            self.origin = self.add_origin(information)
        except BaseException:
            self.close()
            raise

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
        origins = self._root["attributes"]["origins"]
        if information not in origins:
            origins.append(information)
            self._write_root()
        return origins.index(information) + 1

    def annotate(self, **attributes: Any) -> None:
        """Set attributes of the store, such as the seconds that the sweep took.

        Raises:
            InputError: a name is one of the store's own, or a value cannot be recorded as JSON.
        """
        if taken := sorted(set(attributes) & set(_RESERVED)):
            raise InputError(f"annotate: {taken} are the store's own; choose other names")
        self._root["attributes"].update(plain(attributes))
        self._write_root()

    def repair(self) -> list[Damage]:
        """Verify every finished tile and take those that are damaged for not finished.

        Returns:
            The damaged files, those that were restored on opening included. After this,
            `finished` says which tiles have to be computed.
        """
        found = damaged_tiles(self.path, self.contents)
        with _writing(self.path):
            for damage in found:
                if damage.tile is not None:
                    # The flag goes first: a kill leaves a tile to compute, not one with a hole.
                    (self.path / self.contents.flags.file(damage.tile)).unlink(missing_ok=True)
                    (self.path / damage.file).unlink(missing_ok=True)
        return self.restored + found

    def _write_root(self) -> None:
        with _writing(self.path):
            write_root(self.path, self._root)


@contextlib.contextmanager
def _writing(path: Path) -> Generator[None]:
    """Turn an error of the disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "see to the disk or its permissions"
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); {remedy} and start its sweep "
            f"again on this store: what is finished stays finished"
        ) from error


def _lock(path: Path) -> int:
    """Take the store for this process, until it ends or closes the returned descriptor."""
    file = path / OWN / "lock"
    with _writing(path):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        os.close(descriptor)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise StoreError(
                f"{path}: its file system cannot lock files ({error.strerror}); choose a folder "
                f"of another file system"
            ) from error
        raise StoreError(
            f"{path} is being written by {holder}; wait until it has ended, or end it, and start "
            f"again: what is finished stays finished. To look at the store meanwhile, open it "
            f"for reading"
        ) from None
    with contextlib.suppress(OSError):  # only for the message above
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor
