"""A store opened for reading: checked, and as labelled arrays.

Plain `xarray.open_zarr(path)` reads a store too. What is done here besides: everything is checked
before it is shown, and a hole is never a number. Of a tile that is being written, or whose writing
was cut off, nothing is shown; a finished tile of which something is missing is an error.
"""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.errors import InputError, StoreError
from gdjax.flags import FORMER_NAMES
from gdjax.stores.contents import ROOT, ChunkedArray, check_chunk, serialise, summary
from gdjax.stores.files import MISSING, Folder
from gdjax.stores.format import Root, read_root
from gdjax.stores.joining import lost_parts, of_parts, part_paths, with_names
from gdjax.stores.lazily import grouped, lazy, orthogonal


class Damage(NamedTuple):
    """One damaged file of a store.

    Args:
        file: its path in the store.
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


def local(path: str | Path) -> Path:
    """Turn the name of a store into a path.

    Raises:
        InputError: it is no path, or a URL. Renaming and locking need a file system.
    """
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise InputError(f"store = {path!r:.80}, expected the path of a folder")
    if "://" in str(path):
        raise InputError(f"store = {path!s} is a URL; expected a folder of a file system")
    return Path(path)


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
    root = read_root(Folder(local(path)))
    return None if root is None else root.document["attributes"]


def verify(path: str | Path) -> list[Damage]:
    """Read every file of a store and say which are damaged; change nothing.

    Args:
        path: folder of the store. It may be in use by a sweep.

    Returns:
        The damaged files, an empty list where all is well; of a part that is missing, its root.
        Tiles that are not finished cannot be damaged.

    Raises:
        StoreError: there is no store, or its `zarr.json` cannot be understood.
    """
    paths = part_paths(local(path))
    found = []
    for part in paths:
        stored = Stored(part)
        if part is paths[0]:
            lost = lost_parts(paths[0], stored.attributes)
            found += [Damage(file, MISSING) for file in lost]
        prefix = "" if part is paths[0] else f"{part.relative_to(paths[0]).as_posix()}/"
        damages = stored.damaged_frame() + stored.damaged_tiles()
        found += [damage._replace(file=prefix + damage.file) for damage in damages]
    return found


def open_dataset(path: str | Path, *, skip_damaged: bool = False) -> Any:
    """Open a sweep's store for reading; it may be in use.

    Args:
        path: folder of the store.
        skip_damaged: show tiles that are damaged as if they were not finished; their chunks are
            all read for that.

    Returns:
        The sweep, an `xarray.Dataset`; where the store has grown, that of all its parts. Arrays
        are read when they are used. Runs that are not finished show the fill value: NaN in floating
        arrays. Attributes are the store's, and `tiles` and `tiles_finished`.

    Raises:
        StoreError: there is no store, it has another format, or a part of it is missing or
            damaged. What is wrong inside a chunk is raised when it is read; `verify` finds it.
    """
    return of_parts([part.dataset(skip_damaged=skip_damaged) for part in open_parts(path)])


def open_parts(path: str | Path) -> "list[Stored]":
    """Open the parts of a store, in order.

    Raises:
        StoreError: there is no store, or a part of it is missing or damaged.
    """
    store = local(path)
    first = Stored(store)
    if lost := lost_parts(store, first.attributes):
        raise StoreError(
            f"{store} is damaged: a part of it is missing ({', '.join(lost[:8])}). Take the part "
            f"from a copy of the store; parts of static axes (batch_size, names) are computed anew "
            f"if its sweep is started again on this store"
        )
    return [first, *map(Stored, part_paths(store)[1:])]


class Stored:
    """A store whose metadata have been checked.

    Args:
        path: folder of the store.

    Raises:
        StoreError: there is no store, or its `zarr.json` cannot be understood.

    Attributes:
        contents: the arrays of the store, and which part of the grid each tile covers.
    """

    def __init__(self, path: str | Path):
        self.folder = Folder(local(path))
        root = read_root(self.folder)
        if root is None:
            raise StoreError(f"{self.path}: there is no store here; check the path")
        self._take(root)

    def _take(self, root: Root) -> None:
        self.root, self.contents = root

    def dataset(self, *, skip_damaged: bool = False) -> Any:
        """The sweep as an `xarray.Dataset`; see `open_dataset`."""
        import xarray as xr

        if found := self.damaged_coordinates():
            raise StoreError(
                f"{self.path} is damaged: {found[0]}. Start its sweep again on this store: that "
                f"restores it"
            )
        flags, found = self.flags()
        found += self.damaged_tiles() if skip_damaged else self.holes(flags)
        if found and not skip_damaged:
            raise StoreError(
                f"{self.path}: tile {found[0].tile} is damaged ({found[0].file}: "
                f"{found[0].problem}). Start its sweep again on this store: that computes it anew. "
                f"To go on without: skip_damaged=True (--skip-damaged)"
            )
        for damage in found:
            flags[damage.tile] = 0
        variables = {
            name: self._variable(array, flags > 0)
            for name, array in self.contents.arrays.items()
            if name not in self.contents.coordinates
        }
        coordinates = {
            name: (array.dims, self.coordinate(array)[0], array.attrs)
            for name, array in self.contents.coordinates.items()
        }
        counts = {"tiles": flags.size, "tiles_finished": int((flags > 0).sum())}
        dataset = xr.Dataset(variables, coordinates, {**self.attributes, **counts})
        return with_names(dataset)

    def _variable(self, array: ChunkedArray, finished: np.ndarray) -> Any:
        """An array of the finished tiles; each chunk is checked when it is used."""
        grid = len(self.shape)
        lengths = array.chunk[:grid]

        def read(wanted):
            found = np.full([len(places) for places in wanted], array.fill, array.dtype)
            own = [grouped(places // n) for places, n in zip(wanted, lengths, strict=False)]
            rest = wanted[grid:]
            for tile in itertools.product(*own):
                if not finished[tile]:
                    continue
                at = [places[i] for places, i in zip(own, tile, strict=True)]
                start = [i * n for i, n in zip(tile, lengths, strict=True)]
                inside = [w[a] - s for w, a, s in zip(wanted, at, start, strict=False)]
                chunk = self._decoded(array, tile)[orthogonal(*inside, *rest)]
                found[orthogonal(*at, *(np.arange(len(places)) for places in rest))] = chunk
            return found

        attrs, fill = array.attrs, array.fill
        if array.name == "outcome" and "flag_meanings" in attrs:
            names = str(attrs["flag_meanings"]).split()
            current = " ".join(FORMER_NAMES.get(name, name) for name in names)
            attrs = {**attrs, "flag_meanings": current}
        return lazy(array.dims, array.shape, array.dtype, read, fill=fill, attrs=attrs)

    def _decoded(self, array: ChunkedArray, tile: tuple[int, ...]) -> np.ndarray:
        raw, problem = self.chunk(array, tile)
        if problem:
            raise StoreError(
                f"{self.path} is damaged: {Damage(array.file(tile), problem, tile)}. Start its "
                f"sweep again on this store, or open it with skip_damaged=True"
            )
        return array.decode(raw)

    @property
    def path(self) -> Path:
        """The folder that it is in."""
        return self.folder.path

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store says about its sweep, as it was when it was opened."""
        return self.root["attributes"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return self.contents.tiles

    def flags(self) -> tuple[np.ndarray, list[Damage]]:
        """Read the completion flag of every tile.

        Returns:
            The number of the origin that computed each tile, 0 where none has or the flag is
            damaged; and the damaged flags. A flag is the only witness that its tile is whole, so a
            tile without it is computed again.
        """
        array = self.contents.flags
        flags = np.zeros(self.shape, array.dtype)
        found = []
        written = self.folder.names(array.name)
        for tile in np.ndindex(self.shape):
            file = array.file(tile)
            if file.rpartition("/")[2] not in written:
                continue
            raw, problem = self.chunk(array, tile)
            if problem:
                found.append(Damage(file, problem, tile))
            else:
                flags[tile] = self._flag(tile, raw)
        return flags, found

    def _flag(self, tile: tuple[int, ...], raw: bytes) -> int:
        """The origin of all runs of a tile, 0 where they have none, or none of this store."""
        lengths = [slice(s.stop - s.start) for s in self.contents.box(tile)]
        values = np.unique(self.contents.flags.decode(raw)[tuple(lengths)])
        known = len(values) == 1 and values[0] <= len(self.attributes["origins"])
        return int(values[0]) if known else 0

    def finished_tile(self, tile: tuple[int, ...]) -> bool:
        """Say whether one tile has been written. One with a damaged flag counts as not written."""
        array = self.contents.flags
        raw, problem = self.chunk(array, tile)
        return not problem and self._flag(tile, raw) > 0

    def chunk(self, array: ChunkedArray, tile: tuple[int, ...] = ()) -> tuple[bytes, str | None]:
        """Read the file of one chunk and say what is wrong with it, None if nothing is."""
        raw, problem = self.folder.read(array.file(tile), array.nbytes)
        return raw, problem or check_chunk(array, raw)

    def holes(self, flags: np.ndarray) -> list[Damage]:
        """Which chunks of finished tiles are missing or cut off; none is read."""
        found = []
        for tile in map(tuple, np.argwhere(flags > 0).tolist()):
            for array, file in self.contents.files(tile):
                if problem := self.folder.problem(file, array.nbytes):
                    found.append(Damage(file, problem, tile))
        return found

    def damaged_tiles(self) -> list[Damage]:
        """Which chunks of finished tiles are damaged, flags included; all are read."""
        flags, found = self.flags()
        for tile in map(tuple, np.argwhere(flags > 0).tolist()):
            for array in self.contents.variables.values():
                if problem := self.chunk(array, tile)[1]:
                    found.append(Damage(array.file(tile), problem, tile))
        return found

    def whole(self) -> bool:
        """Say whether every tile is finished and no file is damaged; if so, all are read."""
        return bool((self.flags()[0] > 0).all()) and not self.damaged_frame() + self.damaged_tiles()

    def damaged_coordinates(self) -> list[Damage]:
        """Which coordinates are damaged, or not those of the sweep."""
        every = self.contents.coordinates.values()
        problems = {array.file(): self.coordinate(array)[1] for array in every}
        return [Damage(file, problem) for file, problem in problems.items() if problem]

    def coordinate(self, array: ChunkedArray) -> tuple[np.ndarray, str | None]:
        """Read a coordinate and say what is wrong with it, None if nothing is."""
        raw, problem = self.chunk(array)
        if problem:
            return np.zeros(0, array.dtype), problem
        values = array.decode(raw).astype(array.dtype)
        described = self.attributes["identity"]["layout"]["coordinates"][array.name]
        same = f"{summary(values)} ({', '.join(array.dims)})" == described
        return values, None if same else "holds other values than its sweep says"

    def damaged_frame(self) -> list[Damage]:
        """Which files are damaged that do not belong to a tile: metadata and coordinates."""
        found = []
        for name, array in self.contents.arrays.items():
            expected = serialise(array.document())
            raw, problem = self.folder.read(f"{name}/{ROOT}", len(expected))
            if problem or raw != expected:
                problem = problem if problem == MISSING else "differs from the store's root"
                found.append(Damage(f"{name}/{ROOT}", problem))
        return found + self.damaged_coordinates()
