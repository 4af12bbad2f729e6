"""Sweeps computed in parts, by the jobs of a cluster that share only a store.

    plan(sweep, store)  once          resume(store, part=(3, 100))  in each job

The unit of a part is a group of tiles whose runs share slabs. A process locks a group while it
computes it, so parts can be started twice, in any order, and with other numbers of parts.

>>> import tempfile
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, resume
>>> rates = axes(learning_rate=np.geomspace(1e-3, 1e-1, 600))
>>> with tempfile.TemporaryDirectory() as folder:
...     planned = plan(Sweep(problems.bowl([1.0, 9.0]), rates, 5), f"{folder}/runs")
...     half = resume(f"{folder}/runs", part=(0, 2)).finished.values > 0
...     whole = resume(f"{folder}/runs", part=(1, 2)).finished.values > 0
>>> planned.num_parts, int(half.sum()), int(whole.sum())
(3, 344, 600)
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gdjax.machine import format_bytes
from gdjax.stores.lock import is_held
from gdjax.stores.schema import tile_name
from gdjax.stores.writer import CHECKPOINTS, PARTS
from gdjax.sweeps.check import check
from gdjax.sweeps.dataset import nbytes
from gdjax.sweeps.executor import Memory, complete_store
from gdjax.sweeps.fit import fit
from gdjax.sweeps.plans import Plan
from gdjax.sweeps.program import Tile
from gdjax.sweeps.slab_runner import SlabMonitor, run_tiles
from gdjax.sweeps.spec import Sweep, require_sweep
from gdjax.sweeps.stored import open_sweep


@dataclass(frozen=True)
class PlannedSweep:
    """Sweep whose store has been created, and that has not been computed.

    Args:
        store: path or URL of the store.
        num_runs: number of runs.
        num_tiles: number of tiles.
        num_parts: largest useful number of parts, each of which computes at least one slab.
        nbytes: size of the arrays of the finished store, before compression, in bytes.
        seconds: estimated time of one process on this machine, from the first steps of one slab.
    """

    store: str
    num_runs: int
    num_tiles: int
    num_parts: int
    nbytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.store}: {self.num_runs} runs in {self.num_tiles} tiles, "
            f"{format_bytes(self.nbytes)}; about {math.ceil(self.seconds):,} s on this machine; "
            f"at most {self.num_parts} parts"
        )


def plan(
    sweep: Sweep,
    store: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> PlannedSweep:
    """Check a sweep and create its store, without computing it.

    `gd.resume(store, part=(3, 100))` then computes a part of it, in any process.

    Args:
        sweep: sweep, `gd.Sweep(problem, axes, num_steps, ...)`.
        store: path or URL of the store.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Returns:
        Number of tiles and of useful parts, size, and estimated time.
    """
    require_sweep("plan: sweep", sweep)
    fitted = fit(check(sweep, store, storage_options))
    complete_store(fitted, fitted.layout, fitted.identity, lambda _: 0)
    tiles = fitted.layout.schema.tiles
    groups = fitted.groups(np.ndindex(*tiles), fill=False)
    share = sum(len(fitted.positions(tile)[0]) for tile in groups[0]) / fitted.sweep.axes.runs
    return PlannedSweep(
        store=str(store),
        num_runs=fitted.sweep.axes.runs,
        num_tiles=math.prod(tiles),
        num_parts=len(groups),
        nbytes=nbytes(fitted.layout, fitted.layout.variables),
        seconds=_seconds(fitted, groups[0]) / share / len(fitted.devices),
    )


def _seconds(fitted: Plan, tiles: Sequence[Tile]) -> float:
    """Return the estimated time of a group of tiles, from at most three blocks of its steps."""
    shares, times = [0.0], [time.perf_counter()]

    def show(share):
        shares.append(share)
        times.append(time.perf_counter())

    monitor = SlabMonitor(Memory(fitted.layout), tiles, lambda: len(times) > 3, show)
    run_tiles(fitted, tiles, fitted.devices[0], monitor)
    if len(times) == 1:
        show(1.0)
    first = min(1, len(times) - 2)  # the first block includes the start of the program
    return (times[-1] - times[first]) / max(shares[-1] - shares[first], 1e-9)


def count_tiles(
    store: str | Path, *, storage_options: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Count the tiles of a stored sweep by their state.

    Args:
        store: path or URL of the store, which may be in use.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Returns:
        Numbers of `tiles`, of `finished` ones, of groups of tiles that other processes compute now
        (`computing`), and of groups with a checkpoint that nobody computes (`interrupted`).
    """
    stored = open_sweep(store, storage_options=storage_options).stored
    finished, location = stored.finished(), stored.location
    names = {tile_name(tile) for tile in np.ndindex(*finished.shape)}
    locked = names & location.sizes(PARTS).keys()
    held = {name for name in locked if is_held(location, f"{PARTS}/{name}")}
    interrupted = location.sizes(CHECKPOINTS).keys() & names - held
    return {
        "tiles": finished.size,
        "finished": int(finished.sum()),
        "computing": len(held),
        "interrupted": len(interrupted),
    }
