"""Sweeps computed in parts, by the jobs of a cluster that share only a store.

    plan(sweep, store)  once          resume(store, part=(3, 100))  in each job

The unit of a part is a group of tiles whose runs share slabs. A process locks a group while it
computes it, so parts can be started twice, in any order, and with other numbers of parts.
"""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gdjax.base.arguments import check_limits
from gdjax.base.limits import Count
from gdjax.base.machine import format_bytes
from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike
from gdjax.stores.lock import is_held
from gdjax.stores.schema import tile_name
from gdjax.stores.writer import CHECKPOINTS, PARTS
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import complete_store
from gdjax.sweeps.fit import fit
from gdjax.sweeps.program import Program
from gdjax.sweeps.slab_runner import start_blocks
from gdjax.sweeps.spec import Sweep, require_sweep


@dataclass(frozen=True)
class PlannedSweep:
    """Sweep whose store has been created, and that has not been computed.

    Args:
        store: path or URL of the store.
        num_runs: number of runs.
        num_tiles: number of tiles.
        num_parts: largest useful number of parts.
        nbytes: size of the arrays of the finished store, in bytes.
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


def plan(sweep: Sweep, store: StoreLike) -> PlannedSweep:
    """Check a sweep and create its store, without computing it.

    `gd.resume(store, part=(3, 100))` then computes a part of it, in any process.

    Args:
        sweep: sweep, `gd.Sweep(problem, axes, num_steps, ...)`.
        store: path or URL of the store.

    Returns:
        Number of tiles and of useful parts, size, and estimated time.

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, resume
        >>> rates = axes(learning_rate=np.geomspace(1e-3, 1e-1, 600))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     planned = plan(Sweep(problems.bowl([1.0, 9.0]), rates, 5), f"{folder}/runs")
        ...     half = resume(f"{folder}/runs", part=(0, 2)).finished.values > 0
        ...     whole = resume(f"{folder}/runs", part=(1, 2)).finished.values > 0
        >>> planned.num_parts, int(half.sum()), int(whole.sum())
        (2, 512, 600)
    """
    require_sweep("plan: sweep", sweep)
    checked = check(Asked(sweep, store))
    fitted = fit(checked)
    complete_store(checked, fitted.schema, checked.identity, fitted.writer, lambda _: None)
    tiles = fitted.schema.tiles
    return PlannedSweep(
        store=str(store),
        num_runs=sweep.axes.runs,
        num_tiles=math.prod(tiles),
        num_parts=len(fitted.groups(np.ndindex(*tiles))),
        nbytes=fitted.schema.nbytes(),
        seconds=sum(map(_seconds, fitted.programs)) / len(fitted.devices),
    )


def _seconds(program: Program) -> float:
    """Return the estimated time of a program, from at most three blocks of its first slab."""
    runs = (np.zeros(program.width, int),) * len(program.axes.shape)
    clock = [(0, time.perf_counter())]
    blocks = start_blocks(program, program.axes.values(runs), program.devices[0])
    for block in itertools.islice(blocks, 3):
        clock.append((block.num_steps, time.perf_counter()))
    # The first block includes the start of the program.
    pairs = [(now - then) / (b - a) for (a, then), (b, now) in itertools.pairwise(clock) if b > a]
    num_slabs = -(-program.axes.runs // program.width)
    return min(pairs, default=0) * program.sweep.num_steps * num_slabs


def count_tiles(
    store: StoreLike,
    num_parts: int = 1,
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    allow_unverified: bool = False,
) -> pd.DataFrame:
    """Count the tiles of a stored sweep by their state, for each part.

    Args:
        store: path or URL of the store, which may be in use.
        num_parts: number of parts.
        problem: problem of the sweep; required for several parts if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required for several parts if it was
            user-defined.
        allow_unverified: whether to go on if programs cannot be compared, as in `resume`.

    Returns:
        DataFrame with one row per part: numbers of `tiles`, of `finished` ones, of groups of tiles
        that a process computes now (`computing`), and of groups that were begun and that nobody
        computes (`interrupted`).

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes
        >>> rates = axes(learning_rate=[0.1, 0.2])
        >>> with tempfile.TemporaryDirectory() as store:
        ...     _ = plan(Sweep(problems.bowl([1.0, 9.0]), rates, 5), store)
        ...     count_tiles(store).to_dict("records")
        [{'tiles': 1, 'finished': 0, 'computing': 0, 'interrupted': 0}]
    """
    check_limits("num_parts", num_parts, Count)
    stored = StoredSweep(store, problem, make_optimizer, allow_unverified)
    finished, location = stored.stored.finished(), stored.location
    part = np.zeros(finished.shape, int)
    if num_parts > 1:
        fitted = fit(check(Asked(stored.sweep, store)))
        groups = fitted.groups(np.ndindex(*finished.shape))
        for number, tiles in enumerate(groups):
            part[tuple(zip(*tiles, strict=True))] = number % num_parts
    names = list(map(tile_name, np.ndindex(*finished.shape)))
    locked, saved = location.sizes(PARTS), location.sizes(CHECKPOINTS)
    is_begun = np.array([name in locked or name in saved for name in names])
    computing = np.array([n in locked and is_held(location, f"{PARTS}/{n}") for n in names])
    states = {
        "tiles": 1,
        "finished": finished.ravel(),
        "computing": computing,
        "interrupted": is_begun & ~computing & ~finished.ravel(),
    }
    counts = pd.DataFrame(states).groupby(part.ravel()).sum()
    return counts.reindex(pd.RangeIndex(num_parts, name="part"), fill_value=0)
