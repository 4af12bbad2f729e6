"""Whether there is room for a sweep: memory for its runs, memory or disk for its arrays.

    bytes of a sweep = runs * bytes of a run's arrays;   files = tiles * arrays

All of it is known from shapes, before anything is computed.
"""

import math
import shutil
from pathlib import Path

import jax
from jaxtyping import PyTree

from gdjax import machine
from gdjax.errors import InputError
from gdjax.stores.schema import MAX_TILES, Layout
from gdjax.sweeps.arrays import nbytes

FILES = 5_000_000  # that a store may have
LESS = "choose a larger record_every or snapshot_every, or fewer runs"


def check_params(params: PyTree, limit: int) -> None:
    """Make sure that a device has memory for one run's parameters and their gradient.

    Args:
        params: shapes of one run's parameters.
        limit: bytes that a device has.

    Raises:
        InputError: it has not.
    """
    leaves = jax.tree.leaves(params)
    need = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if need > limit:
        raise InputError(
            f"params: {sum(leaf.size for leaf in leaves):,} numbers and their gradient need "
            f"{size(need)}, and a device has {size(limit)}; choose a smaller problem, such as a "
            f"network of smaller widths"
        )


def check_state(state_bytes: int, limit: int) -> None:
    """Make sure that a device has memory for one run's parameters and its optimiser's memory.

    Raises:
        InputError: it has not.
    """
    if state_bytes > limit:
        raise InputError(
            f"optimizer: with its memory a run needs {size(state_bytes)}, and a device has "
            f"{size(limit)}; choose an optimizer that keeps less"
        )


def check_width(width: int, state_bytes: int, limit: int) -> None:
    """Make sure that a width that was asked for can be held, before a program is made of it.

    Raises:
        InputError: it cannot.
    """
    if width * state_bytes > limit:
        raise InputError(
            f"width = {width}: a slab needs {width * state_bytes / 2**20:,.0f} MiB a device for "
            f"its states alone, and a device has {limit / 2**20:,.0f}; choose a smaller width"
        )


def check_memory(layout: Layout) -> None:
    """Make sure that this machine's memory can hold a sweep's arrays.

    Raises:
        InputError: it cannot.
    """
    need, limit = nbytes(layout, tuple(layout.variables)), machine.memory()
    if need > limit:
        raise InputError(
            f"sweep: the arrays of {_runs(layout):,} runs need {size(need)} of memory, and there "
            f"are {size(limit)}; give a store, {LESS}"
        )


def check_slab(layout: Layout, slab: int) -> None:
    """Make sure that this machine's memory can hold the arrays of one slab of runs.

    Raises:
        InputError: it cannot.
    """
    each = nbytes(layout, tuple(layout.variables)) // _runs(layout)
    limit = machine.memory()
    if each * slab > limit:
        raise InputError(
            f"sweep: the arrays of a run are {size(each)}, and {slab:,} runs are computed "
            f"together: {size(each * slab)}, of {size(limit)} of memory; choose a larger "
            f"record_every or snapshot_every, or a smaller width"
        )


def check_tiles(shape: tuple[int, ...], box: tuple[int, ...]) -> None:
    """Make sure that a grid is not cut into too many tiles.

    Args:
        shape: of the grid.
        box: length of a tile along each dimension.

    Raises:
        InputError: it is.
    """
    tiles = math.prod(-(-size // length) for size, length in zip(shape, box, strict=True))
    if tiles > MAX_TILES:
        raise InputError(
            f"sweep: {math.prod(shape):,} runs are {tiles:,} tiles, and at most {MAX_TILES:,} "
            f"are made; choose a larger width, or sweep fewer runs"
        )


def check_disk(path: Path, layout: Layout, missing: float = 1.0) -> None:
    """Make sure that a store has room on its disk.

    Args:
        path: folder of the store, there or not.
        layout: its arrays.
        missing: share of the sweep that is still to be written.

    Raises:
        InputError: it has not, or there would be too many files.
    """
    files = math.prod(layout.tiles) * (len(layout.variables) + 2)
    if files > FILES:
        raise InputError(
            f"store: {_runs(layout):,} runs would be {files:,} files, and at most {FILES:,} are "
            f"made; choose a larger width, or sweep fewer runs"
        )
    need = nbytes(layout, tuple(layout.variables)) * missing
    folders = (path.absolute(), *path.absolute().parents)
    there = next(folder for folder in folders if folder.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise InputError(
            f"store: {_runs(layout):,} runs need {size(need)} on disk, and {there} has "
            f"{size(free)} free; free some space, {LESS}"
        )


def size(count: int | float) -> str:
    """Bytes in the unit that suits them.

    Examples:
        >>> size(3 * 2**30), size(20)
        ('3.0 GiB', '20 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count:.0f} bytes"


def _runs(layout: Layout) -> int:
    return math.prod(layout.sizes[dim] for dim in layout.tile)
