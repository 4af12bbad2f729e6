"""A sweep's tiles, one after another, into a store or into memory.

    for tile in unfinished:  arrays = work.compute(tile);  sink.write(tile, arrays)

A tile is written while the next one is computed.
"""

import concurrent.futures
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gdjax import progress
from gdjax.interrupts import interruptible
from gdjax.stores.joining import of_parts, with_names
from gdjax.stores.layout import Layout, plain
from gdjax.stores.writing import Store, has_all
from gdjax.sweeps import provenance, sizing
from gdjax.sweeps.arrays import HEAVY, nbytes
from gdjax.sweeps.tiles import Work


def in_store(work: Work, path: str | Path) -> None:
    """Compute what a store lacks of a sweep."""
    complete(
        path,
        work.layout(),
        provenance.identity(work),
        provenance.information(work),
        partial(_compute, work),
    )


def begin(work: Work, path: str | Path) -> None:
    """Make the store of a sweep, as yet without runs, or make sure that it is one of this sweep."""
    layout, identity = work.layout(), provenance.identity(work)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Store(path, layout, identity=identity, information=provenance.information(work)).close()


def complete(
    path: str | Path,
    layout: Layout,
    identity: Mapping[str, Any],
    information: Mapping[str, Any],
    compute: Callable[[Store], int],
) -> None:
    """Open a sweep's store, take damaged tiles out, and have the missing ones computed.

    A store that has them all is not written to: it may lie on a disk that nobody can write.

    Args:
        path: folder of the store.
        layout: as for `Store`, as are the next two.
        identity: what makes it the same sweep.
        information: what else explains its numbers.
        compute: computes what the store lacks; returns how many tiles that were.
    """
    if has_all(path, layout, identity):
        return
    with Store(path, layout, identity=identity, information=information) as held:
        for damage in held.repair():
            warnings.warn(f"{held.path} was damaged: {damage}", stacklevel=4)
        if "flags" in identity and "flags" not in held.attributes["identity"]:
            warnings.warn(
                f"{held.path} was written before flags of JAX and XLA were recorded, so that it is "
                f"not known whether its numbers were computed with those of this process",
                stacklevel=4,
            )
        sizing.check_disk(held.path, layout, float(np.mean(~held.finished())))
        began = time.perf_counter()
        computed = 1  # whatever ends it early has taken time, too
        try:
            computed = compute(held)
        finally:
            if computed:
                spent = time.perf_counter() - began
                held.annotate(seconds=float(held.attributes.get("seconds", 0)) + spent)


def in_memory(works: Sequence[Work], keep: int) -> Callable[[], Any]:
    """The parts of a sweep, to be computed one after another; returns the Dataset of all.

    Args:
        works: what is computed.
        keep: bytes of parameters and snapshots that are kept of them all.

    Raises:
        InputError: the arrays are more than this machine's memory.
    """
    layouts = [kept(work, keep // len(works)) for work in works]
    return partial(_in_memory, works, layouts)


def _in_memory(works, layouts):
    began = time.perf_counter()
    parts = [_dataset(work, layout) for work, layout in zip(works, layouts, strict=True)]
    dataset = of_parts(parts).load() if len(parts) > 1 else parts[0]
    return dataset.assign_attrs(seconds=time.perf_counter() - began)


def _dataset(work, layout):
    """One part, computed; it says as much about itself as a store does."""
    import xarray as xr

    memory = Memory(work, layout)
    _compute(work, memory)
    dataset = xr.Dataset(
        {n: (v.dims, memory.arrays[n], dict(v.attrs)) for n, v in layout.variables.items()},
        {n: (c.dims, np.asarray(c.values), dict(c.attrs)) for n, c in layout.coordinates.items()},
        {
            "identity": plain(provenance.identity(work), "identity"),
            "origins": [plain(provenance.information(work), "information")],
        },
    )
    return with_names(dataset)


def kept(work: Work, keep: int) -> Layout:
    """A sweep's arrays in memory; without parameters, with a warning, where those are too many.

    Args:
        work: what is to be computed.
        keep: bytes of parameters and snapshots that are kept.

    Raises:
        InputError: the arrays are more than this machine's memory.
    """
    layout = work.layout()
    heavy = tuple(name for name in layout.variables if name.split(".")[0] in HEAVY)
    size = nbytes(layout, heavy)
    if size <= keep:
        sizing.check_memory(layout)
        return layout
    light = {n: v for n, v in layout.variables.items() if n not in heavy}
    used = {d for v in light.values() for d in v.dims}
    layout = dataclasses.replace(
        layout,
        variables=light,
        sizes={d: n for d, n in layout.sizes.items() if d in used},
        coordinates={n: c for n, c in layout.coordinates.items() if set(c.dims) <= used},
    )
    sizing.check_memory(layout)
    warnings.warn(
        f"sweep: {size / 2**20:,.0f} MiB of parameters are more than keep = "
        f"{keep / 2**20:,.0f} MiB and are left out; give a store, or a larger keep",
        stacklevel=5,
    )
    return layout


def _compute(work: Work, sink: Any) -> int:
    """Compute all tiles that `sink` lacks; returns how many."""
    missing = [tuple(int(i) for i in tile) for tile in np.argwhere(~sink.finished())]
    per_tile = work.plan.num_steps * math.prod(work.box)
    written = None
    with (
        interruptible() as stop,
        concurrent.futures.ThreadPoolExecutor(1) as writer,
        progress.bar(
            total=per_tile * len(missing), unit="run-step", delay=1, unit_scale=True
        ) as bar,
    ):
        for number, tile in enumerate(missing):
            bar.set_postfix_str(f"{number}/{len(missing)} tiles", refresh=False)

            def watch(share, number=number):
                bar.update(max(0, int((number + share) * per_tile) - bar.n))

            arrays = work.compute(
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
            written = writer.submit(sink.write, tile, arrays)
            if stop.is_set():
                break
        if written is not None:
            written.result()
        if stop.is_set():
            raise KeyboardInterrupt
    return len(missing)


class Memory:
    """A place for a sweep's arrays without a store."""

    def __init__(self, work: Work, layout: Layout):
        self.box, self.grid = work.box, work.sweep.axes.shape
        self.tiles = layout.tiles
        self.arrays = {
            name: np.full(
                [layout.sizes[d] for d in v.dims],
                np.nan if v.fill_value is None else v.fill_value,
                v.dtype,
            )
            for name, v in layout.variables.items()
        }

    def finished(self) -> np.ndarray:
        return np.zeros(self.tiles, bool)

    def load_checkpoint(self, _tile: tuple[int, ...]) -> None:
        return None

    def save_checkpoint(self, _tile: tuple[int, ...], _arrays: Any, _meta: Any) -> None:
        """Nothing outlives the process."""

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> None:
        box = tuple(
            slice(i * n, min((i + 1) * n, size))
            for i, n, size in zip(tile, self.box, self.grid, strict=True)
        )
        cropped = tuple(slice(s.stop - s.start) for s in box)
        for name, whole in self.arrays.items():
            whole[box] = arrays[name][cropped]
