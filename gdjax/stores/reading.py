"""A store opened for reading, as labelled arrays.

Plain `xarray.open_zarr(path)` reads a store too. What is done here besides: damaged metadata and
coordinates are an error that names the file, and of a tile that is being written, or whose writing
was cut off, nothing is shown.
"""

from pathlib import Path

import numpy as np
import xarray as xr
from zarr.storage import LocalStore

from gdjax.stores.format import local, read_flags, require_sound_root
from gdjax.stores.layout import contents


def open_dataset(path: str | Path) -> xr.Dataset:
    """Open a sweep's store for reading; it may be in use.

    Args:
        path: folder of the store.

    Returns:
        The sweep. Arrays are read when they are used. Runs that are not finished show the fill
        value: NaN in floating arrays. Attributes are the store's, and `tiles` and
        `tiles_finished`.

    Raises:
        StoreError: there is no store, it has another format, or metadata or coordinates are
            damaged. A damaged chunk raises ValueError when it is read; `verify` names it.
    """
    path = local(path)
    arrays = contents(require_sound_root(path))
    finished = read_flags(path, arrays)[0] > 0
    hidden = {
        array.file(tile)
        for tile in map(tuple, np.argwhere(~finished).tolist())
        for array in (*arrays.variables.values(), arrays.flags)
    }
    dataset = xr.open_zarr(_Finished(path, hidden), chunks=None)
    return dataset.assign_attrs(tiles=finished.size, tiles_finished=int(finished.sum()))


class _Finished(LocalStore):
    """A store in which some chunks, those of unfinished tiles, are not to be seen."""

    def __init__(self, root: Path, hidden: set[str], *, read_only: bool = True):
        super().__init__(root, read_only=read_only)
        self.hidden = hidden

    def with_read_only(self, read_only: bool = False) -> "_Finished":
        return type(self)(self.root, self.hidden, read_only=read_only)

    async def get(self, key, prototype=None, byte_range=None):
        return None if key in self.hidden else await super().get(key, prototype, byte_range)

    def get_sync(self, key, *, prototype=None, byte_range=None):
        if key in self.hidden:
            return None
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)
