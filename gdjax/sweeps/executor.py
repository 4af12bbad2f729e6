"""Executor of sweeps: compute missing tiles in memory, in a store, or on Dask.

    compute(Asked) = execute(fit(check(Asked))), here or on Dask workers
    for each group of unfinished tiles:  sink.write(tile, variables of run_tiles(fitted, tiles))

Devices take groups in turn. Tiles are written while the next ones are computed.
"""

import concurrent.futures
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from gdjax.base import progress, slabs
from gdjax.base.arrays import Schema
from gdjax.base.documents import plain
from gdjax.base.errors import warn
from gdjax.base.interrupts import interruptible
from gdjax.stores.location import Folder
from gdjax.stores.reader import Stored, attributes_of, with_names, without_carry
from gdjax.stores.writer import Store, complete_sweep
from gdjax.sweeps.check import Asked, Checked, check
from gdjax.sweeps.fit import Fitted, check_disk, fit
from gdjax.sweeps.identity import described_settings, writer
from gdjax.sweeps.program import Tile
from gdjax.sweeps.slab_runner import SlabMonitor, run_tiles


def compute(
    asked: Asked,
    prepare: Callable[[Store], None] | None = None,
    *,
    part: tuple[int, int] | None = None,
) -> xr.Dataset:
    """Check and fit a sweep, compute its missing tiles, and return its Dataset.

    Args:
        asked: the sweep, and where it is computed.
        prepare: function called with the opened store before tiles are computed.
        part: number of the part to compute and number of parts; None for all missing tiles.
    """
    checked = check(asked)
    if asked.client is None:
        return execute(fit(checked), prepare, part=part)
    from gdjax.sweeps.dask_executor import on_workers  # Dask is optional

    with on_workers(asked) as (schema, identity, compute_tiles):
        own = writer(checked.devices[0])
        return _in_store(checked, schema, identity, own, compute_tiles, prepare)


def execute(
    fitted: Fitted,
    prepare: Callable[[Store], None] | None = None,
    *,
    part: tuple[int, int] | None = None,
    compute_tiles: "Callable[[Fitted, Store | Memory], None] | None" = None,
) -> xr.Dataset:
    """Compute the missing tiles of a sweep and return its Dataset.

    Args:
        fitted: the sweep.
        prepare, part: as in `compute`.
        compute_tiles: function that computes the missing tiles of a store or of memory; None for
            `run_missing`.
    """
    checked = fitted.checked
    missing = partial(compute_tiles or partial(run_missing, part=part), fitted)
    if fitted.asked.store is None:
        started = time.perf_counter()
        runs = compute_in_memory(fitted, missing)
        return runs.assign_attrs(seconds=time.perf_counter() - started)
    shared = part is not None
    described = (fitted.schema, checked.identity, fitted.writer)
    return _in_store(checked, *described, missing, prepare, shared=shared)


def _in_store(checked, schema, identity, own, compute_tiles, prepare, *, shared=False):
    started, described = time.perf_counter(), (schema, identity, own)
    stored, is_computed = complete_store(checked, *described, compute_tiles, prepare, shared=shared)
    runs = without_carry(stored.dataset())
    return runs.assign_attrs(seconds=time.perf_counter() - started) if is_computed else runs


def compute_in_memory(fitted: Fitted, compute: "Callable[[Memory], None]") -> xr.Dataset:
    """Compute a sweep in memory and return a Dataset with the attributes of a store."""
    memory, schema = Memory(fitted.schema), fitted.schema
    compute(memory)
    continuable = {"continuable": fitted.checked.keeps_carry}
    settings = {**described_settings(fitted.asked.sweep), **continuable}
    dataset = xr.Dataset(
        {n: _variable(array, memory.arrays[n]) for n, array in schema.arrays.items()},
        {n: _variable(array, schema.values[n]) for n, array in schema.coordinates.items()},
        {
            "identity": json.dumps(plain(settings, "identity")),
            **attributes_of([[plain(fitted.writer, "writer")]]),
        },
    )
    return with_names(dataset)


def _variable(array, values):
    # With fastpath, xarray does not import Dask to check whether the array is one of Dask's.
    return xr.Variable(array.dims, values, array.attributes, fastpath=True)


def complete_store(
    checked: Checked,
    schema: Schema,
    identity: Mapping[str, Any],
    own: Mapping[str, Any],
    compute: Callable[[Store], None],
    prepare: Callable[[Store], None] | None = None,
    *,
    shared: bool = False,
) -> tuple[Stored, bool]:
    """Open the store of a sweep, remove damaged tiles and compute the missing ones.

    A complete store is not written to, so it may be read-only. Return the store, and whether it was
    not complete.
    If the store is shared, other processes may compute other tiles at the same time. Finished tiles
    are then not verified, since each of many processes would read the whole store.

    Args:
        checked: the sweep, with the location of the store.
        schema, identity, shared: as in `Store`.
        own: description of this writer.
        compute: function that computes the missing tiles.
        prepare: function called with the opened store before `compute`.
    """
    location, allow_unverified = checked.asked.location, checked.asked.allow_unverified
    own_root = allow_unverified, checked.root
    stored = None if shared else complete_sweep(location, schema, identity, *own_root)
    if stored is not None:
        return stored, False
    settings = {"allow_unverified": allow_unverified, "shared": shared, "root": checked.root}
    with Store(location, schema, identity=identity, writer=own, **settings) as store:
        for damage in store.restored if shared else store.repair():
            warn(f"{location} was damaged: {damage}")
        if isinstance(location, Folder):
            check_disk(location.path, schema, float(np.mean(~store.finished())))
        if prepare is not None:
            prepare(store)
        try:
            compute(store)
        except KeyboardInterrupt:
            finished = store.finished()
            raise KeyboardInterrupt(
                f"{finished.sum()} of {finished.size} tiles are saved in {location}; to continue, "
                f"repeat the call with this store"
            ) from None
        if store.num_skipped:
            warn(
                f"{location}: skipped the tiles that other processes compute ({store.num_skipped})"
            )
    return store, True


def run_missing(
    fitted: Fitted, sink: "Store | Memory", part: tuple[int, int] | None = None
) -> None:
    """Compute missing tiles of a store or of memory: all, or those of a part.

    A part is every n-th group of tiles that share slabs. Groups are those of all tiles, so that
    processes with different numbers of parts compute the same groups.
    """
    missing = ~sink.finished()
    if part is None:
        groups = fitted.groups(tuple(tile) for tile in np.argwhere(missing).tolist())
    else:
        groups_of_part = fitted.groups(np.ndindex(*missing.shape))[part[0] :: part[1]]
        groups = [tiles for tiles in groups_of_part if any(missing[tile] for tile in tiles)]
    num_runs = [sum(len(fitted.positions(tile)[0]) for tile in tiles) for tiles in groups]
    devices = fitted.devices[: max(1, len(groups))]
    for number in sorted({fitted.program_of(tiles[0]) for tiles in groups}):
        program = fitted.programs[number]
        for device in devices[1:]:
            program.initial_program.ahead(*program.initial_example(device))
            program.descent.block.ahead(*program.block_example(device))
    num_steps = fitted.asked.sweep.num_steps
    # Fractions of the steps and of the work of each group, and of the work done earlier
    done, earlier = np.zeros((2, len(groups))), np.zeros(len(groups))
    begun: set[int] = set()
    changing, failed = threading.Lock(), threading.Event()

    def share():
        left = float((1 - earlier) @ num_runs)
        return float((done[1] - earlier) @ num_runs) / left if left else 0.0

    with (
        interruptible() as stop,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        progress.bar(
            f"compiling for {sum(num_runs):,} runs of {num_steps:,} steps",
            waited=lambda: sum(p.descent.block.seconds for p in fitted.programs) / len(devices),
            share=share,
            total=num_steps * sum(num_runs),
            unit="run-step",
            delay=1,
            unit_scale=True,
        ) as bar,
    ):

        def should_stop():
            return stop.is_set() or failed.is_set()

        def compute(number, device):
            def show(shares):
                with changing:
                    if number not in begun:
                        begun.add(number)
                        earlier[number] = shares[1]
                    done[:, number] = shares
                    bar.update(max(0, int(done[0] @ num_runs * num_steps) - bar.n))

            try:
                if not (tiles := sink.claim(groups[number])):
                    return groups[number], None
                monitor = SlabMonitor(sink, tiles, should_stop, show)
                return tiles, run_tiles(fitted, tiles, device, monitor)
            except BaseException:
                failed.set()  # the other devices save their state and stop
                raise

        def write(tiles, variables):
            # The checkpoint is that of the first tile, which is therefore written last.
            for tile in reversed(tiles):
                sink.write(tile, variables.pop())

        numbers = itertools.takewhile(lambda _: not should_stop(), range(len(groups)))
        written, last = None, None
        with contextlib.closing(slabs.on_devices(compute, numbers, devices)) as results:
            try:
                for tiles, variables in results:
                    number = fitted.program_of(tiles[0])
                    if last is not None and number != last:
                        fitted.programs[last].release()
                    last = number
                    if written is not None:
                        written.result()
                    if variables is not None:
                        written = pool.submit(write, tiles, variables)
                    # Variables are freed once written, not after the next tiles.
                    del variables
                if written is not None:
                    written.result()
            except BaseException:
                failed.set()
                raise
        if stop.is_set():
            raise KeyboardInterrupt


class Memory:
    """In-memory counterpart of a store."""

    def __init__(self, schema: Schema):
        self.schema = schema
        # No initialization is needed, since every tile is written. Pages that are not yet written
        # occupy no memory.
        self.arrays = {
            name: np.empty(schema.shape(array), array.dtype)
            for name, array in schema.arrays.items()
        }

    def finished(self) -> np.ndarray:
        """Return an array of False: no tile has been computed."""
        return np.zeros(self.schema.tiles, bool)

    def claim(self, tiles: Sequence[Tile]) -> Sequence[Tile]:
        """Return all tiles; results in memory are computed by this process alone."""
        return tiles

    def begin(self, *_: Any) -> None:
        """Do nothing: neither writers nor checkpoints are kept in memory."""

    save_checkpoint = load_checkpoint = begin

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, Any]) -> None:
        """Keep the variables of a tile."""
        region = self.schema.region(tile)
        cropped = tuple(slice(s.stop - s.start) for s in region)
        for name, whole in self.arrays.items():
            whole[region] = arrays[name][cropped]
