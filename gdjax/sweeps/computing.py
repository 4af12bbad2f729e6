"""A sweep's tiles, one after another, into a store or into memory.

    for tile in unfinished:  arrays = work.compute(tile);  sink.write(tile, arrays)

A tile is written while the next one is computed.
"""

import concurrent.futures
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gdjax import progress
from gdjax.interrupts import interruptible
from gdjax.stores.location import Bucket, Folder, locate
from gdjax.stores.reader import with_names
from gdjax.stores.schema import Layout, plain
from gdjax.stores.writer import Store, is_complete
from gdjax.sweeps import sizing
from gdjax.sweeps.arrays import HEAVY, nbytes
from gdjax.sweeps.programs import Programs, restrict


def in_store(
    programs: Programs,
    store: str | Path,
    options: Mapping[str, Any] | None = None,
    prepare: Callable[[Store], None] = lambda held: None,
) -> None:
    """Compute the tiles that a store lacks of a sweep.

    Args:
        programs: what is computed.
        store: path or URL of the store.
        options: `storage_options` of a URL.
        prepare: as for `complete`.
    """
    location = locate(store, options)
    compute = partial(_compute, programs)
    complete(location, programs.layout, programs.identity, compute, prepare)


def complete(
    location: Folder | Bucket,
    layout: Layout,
    identity: Mapping[str, Any],
    compute: Callable[[Store], int],
    prepare: Callable[[Store], None] = lambda held: None,
) -> None:
    """Open a sweep's store, take damaged tiles out, and have the missing ones computed.

    A store that has them all is not written to: it may be where nobody can write.

    Args:
        location: of the store.
        layout: as for `Store`, as is the next.
        identity: what makes it the same sweep.
        compute: computes the missing tiles; returns how many there were.
        prepare: called before, with the store open for writing.
    """
    if is_complete(location, layout, identity):
        return
    with Store(location, layout, identity=identity) as held:
        for damage in held.repair():
            warnings.warn(f"{location} was damaged: {damage}", stacklevel=4)
        if isinstance(location, Folder):
            sizing.check_disk(location.path, layout, float(np.mean(~held.finished())))
        prepare(held)
        began = time.perf_counter()
        computed = 1  # whatever ends it early has taken time, too
        try:
            computed = compute(held)
        finally:
            if computed:
                spent = time.perf_counter() - began
                held.annotate(seconds=float(held.attributes.get("seconds", 0)) + spent)


def in_memory(programs: Programs, layout: Layout) -> Any:
    """Compute a sweep in memory; returns its Dataset, which has the attributes of a store.

    Args:
        programs: what is computed.
        layout: the arrays that are kept.
    """
    import xarray as xr

    began = time.perf_counter()
    memory = Memory(layout)
    _compute(programs, memory)
    dataset = xr.Dataset(
        {n: (v.dims, memory.arrays[n], dict(v.attrs)) for n, v in layout.variables.items()},
        {n: (c.dims, np.asarray(c.values), dict(c.attrs)) for n, c in layout.coordinates.items()},
        {
            "identity": json.dumps(plain(programs.identity, "identity")),
            "writers": json.dumps(plain(programs.writers, "writers")),
            "seconds": time.perf_counter() - began,
        },
    )
    return with_names(dataset)


def kept(programs: Programs, max_param_bytes: int) -> Layout:
    """A sweep's arrays in memory; without parameters, with a warning, where those are too many.

    Args:
        programs: what is computed.
        max_param_bytes: bytes of parameters and snapshots that are kept.

    Raises:
        InputError: the arrays are more than this machine's memory.
    """
    layout = programs.layout
    heavy = tuple(name for name in layout.variables if name.split(".")[0] in HEAVY)
    size = nbytes(layout, heavy)
    if size > max_param_bytes:
        light = {n: v for n, v in layout.variables.items() if n not in heavy}
        layout = restrict(layout, light)
    sizing.check_memory(layout)
    if size > max_param_bytes:
        warnings.warn(
            f"sweep: {size / 2**20:,.0f} MiB of parameters are more than max_param_bytes = "
            f"{max_param_bytes / 2**20:,.0f} MiB and are left out; give a store, or a larger "
            f"max_param_bytes",
            stacklevel=5,
        )
    return layout


def _compute(programs: Programs, sink: Any) -> int:
    """Compute all tiles that `sink` lacks; returns how many."""
    missing = programs.in_order([tuple(tile) for tile in np.argwhere(~sink.finished()).tolist()])
    per_tile = programs.sweep.num_steps * math.prod(programs.tile_shape)
    written, program = None, 0
    with (
        interruptible() as stop,
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        progress.bar(
            total=per_tile * len(missing), unit="run-step", delay=1, unit_scale=True
        ) as bar,
    ):
        for number, tile in enumerate(missing):
            bar.set_postfix_str(f"{number}/{len(missing)} tiles", refresh=False)
            before, (program, _) = program, programs.program_of(tile)
            if program != before:
                programs.release(before)

            def watch(share, number=number):
                bar.update(max(0, int((number + share) * per_tile) - bar.n))

            arrays = programs.compute(
                tile,
                load=partial(sink.load_checkpoint, tile),
                save=partial(sink.save_checkpoint, tile),
                watch=watch,
                stop=stop.is_set,
            )
            if written is not None:
                written.result()
            if arrays is None:
                raise KeyboardInterrupt
            writer = sink.add_writer(programs.writers[program])
            written = executor.submit(sink.write, tile, arrays, writer)
            if stop.is_set():
                break
        if written is not None:
            written.result()
        if stop.is_set():
            raise KeyboardInterrupt
    return len(missing)


class Memory:
    """A place for a sweep's arrays without a store."""

    def __init__(self, layout: Layout):
        self.schema = layout.schema
        self.arrays = {
            name: np.full(
                [layout.sizes[d] for d in v.dims],
                np.nan if v.fill_value is None else v.fill_value,
                v.dtype,
            )
            for name, v in layout.variables.items()
        }

    def finished(self) -> np.ndarray:
        return np.zeros(self.schema.tiles, bool)

    def load_checkpoint(self, _tile: tuple[int, ...]) -> None:
        return None

    def save_checkpoint(self, _tile: tuple[int, ...], _arrays: Any, _meta: Any) -> None:
        """Nothing outlives the process."""

    def add_writer(self, _writer: Mapping[str, Any]) -> int:
        return 0  # there is no other

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, np.ndarray], _writer: int) -> None:
        region = self.schema.region(tile)
        cropped = tuple(slice(s.stop - s.start) for s in region)
        for name, whole in self.arrays.items():
            whole[region] = arrays[name][cropped]
