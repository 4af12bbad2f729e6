"""Sweeps computed in parts, by the jobs of a cluster that share only a store.

    plan(sweep, store)  once          resume(store, part=(3, 100))  in each job

The unit of a part is a group of tiles whose runs share slabs. A process locks a group while it
computes it, so parts can be started twice, in any order, and with other numbers of parts.
"""

import collections
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import jax
import numpy as np
import pandas as pd

from gdjax.base import progress, slabs
from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import Count
from gdjax.base.machine import format_bytes
from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike
from gdjax.stores.lock import is_held
from gdjax.stores.schema import tile_name
from gdjax.stores.writer import CHECKPOINTS, PARTS
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.continued.absent_device import PredictedSweep, predict
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import complete_store
from gdjax.sweeps.fit import fit
from gdjax.sweeps.program import Program
from gdjax.sweeps.slab_runner import start_blocks
from gdjax.sweeps.spec import Sweep, require_sweep

PLAN_SECONDS = 2.0  # approximate time for which `plan` computes the slabs of a program
LOW, HIGH = 0.6, 1.6  # factors by which a range exceeds that of the measured times


@dataclass(frozen=True)
class PlannedSweep:
    """Sweep whose store has been created, and that has not been computed.

    Args:
        store: path or URL of the store.
        num_runs: number of runs.
        num_tiles: number of tiles.
        num_parts: largest useful number of parts.
        nbytes: size of the arrays of the finished store, in bytes.
        seconds: estimated time of one process on this machine, without compilation, from the first
            steps and records of one slab on each device, computed at the same time.
        seconds_low, seconds_high: range of this time.
        compile_seconds: time that compilation took; a later process may find its results cached.
        widths: number of runs that a device computes together, for each program.
        num_slabs: number of slabs.
        num_copies: number of copies of runs that fill the last slabs.
        slab_nbytes: memory that a slab needs on a device, in bytes.
    """

    store: str
    num_runs: int
    num_tiles: int
    num_parts: int
    nbytes: int
    seconds: float
    seconds_low: float
    seconds_high: float
    compile_seconds: float
    widths: tuple[int, ...]
    num_slabs: int
    num_copies: int
    slab_nbytes: int

    def __str__(self) -> str:
        widths = " or ".join(map(str, sorted(set(self.widths))))
        copies = f", which {self.num_copies} copies of runs fill" if self.num_copies else ""
        return (
            f"{self.store}: {self.num_runs} runs in {self.num_tiles} tiles, "
            f"{format_bytes(self.nbytes)}; about {math.ceil(self.seconds):,} s "
            f"({math.floor(self.seconds_low):,} to {math.ceil(self.seconds_high):,}) on this "
            f"machine, and {math.ceil(self.compile_seconds):,} s of compilation; "
            f"{self.num_slabs} slabs of {widths} runs{copies}, {format_bytes(self.slab_nbytes)} "
            f"each; at most {self.num_parts} parts"
        )


@overload
def plan(sweep: Sweep, store: StoreLike) -> PlannedSweep: ...
@overload
def plan(sweep: Sweep, *, device: str) -> PredictedSweep: ...
def plan(
    sweep: Sweep, store: StoreLike | None = None, *, device: str | None = None
) -> PlannedSweep | PredictedSweep:
    """Check a sweep and create its store, without computing it; or predict it on an absent GPU.

    `gd.resume(store, part=(3, 100))` then computes a part of it, in any process.

    Args:
        sweep: sweep, `gd.Sweep(problem, axes, num_steps, ...)`.
        store: path or URL of the store.
        device: "a100" or "h100", for which the programs are compiled instead; no store is created.

    Returns:
        Number of tiles and of useful parts, size, estimated time, and width and memory of slabs.
        For an absent GPU: width, memory, kernels, transfers and a predicted range of the time.

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
    if (store is None) == (device is None):
        raise InputError(
            f"plan: store = {store!r:.80}, device = {device!r:.80}, expected one of them: a store "
            f"to create, or the name of an absent device, such as 'h100'"
        )
    if device is not None:
        return predict(sweep, device)
    checked = check(Asked(sweep, store))
    fitted = fit(checked)
    complete_store(checked, fitted.schema, checked.identity, fitted.writer, lambda _: None)
    tiles = fitted.schema.tiles
    programs, devices = fitted.programs, fitted.devices
    with progress.bar("timing", total=len(programs), unit="program"):
        seconds = [_slab_seconds(program, devices) for program in programs]
    num_slabs = [program.num_slabs for program in programs]
    rounds = [-(-count // len(devices)) for count in num_slabs]
    low, middle, high = np.dot(rounds, seconds)
    compiled = {id(f): f.seconds for p in programs for f in (p.descent.block, p.initial_program)}
    return PlannedSweep(
        store=str(store),
        num_runs=sweep.axes.runs,
        num_tiles=math.prod(tiles),
        num_parts=len(fitted.groups(np.ndindex(*tiles))),
        nbytes=fitted.schema.nbytes(),
        seconds=float(middle),
        seconds_low=float(low),
        seconds_high=float(high),
        compile_seconds=sum(compiled.values()),
        widths=tuple(program.width for program in programs),
        num_slabs=sum(num_slabs),
        num_copies=sum(program.num_copies for program in programs),
        slab_nbytes=max(program.compiled_block.nbytes for program in programs),
    )


def _slab_seconds(program: Program, devices: Sequence[jax.Device]) -> tuple[float, float, float]:
    """Return the estimated time of a slab, and its range: low, estimate, high.

    The first steps of a slab are computed on each device that will compute slabs at the same time.
    """
    runs = (np.zeros(program.width, int),) * len(program.axes.shape)
    values = program.axes.values(runs)
    used = devices[: program.num_slabs]

    def on_all(num_steps):
        """Return the time of slabs of a few steps, one on each device."""

        def one(_, device):
            for block in start_blocks(program, values, device, last=num_steps):
                jax.block_until_ready(block.carry)

        started = time.perf_counter()
        collections.deque(slabs.on_devices(one, used, used), maxlen=0)
        return time.perf_counter() - started

    total, every = program.sweep.num_steps, program.sweep.record_every
    on_all(0)  # compiles for each device
    none, one = (np.median([on_all(n) for _ in range(3)]) for n in (0, min(1, total)))
    steps, started = min(2, total), time.perf_counter()
    while time.perf_counter() - started < PLAN_SECONDS / 2 and steps < total:
        steps = min(2 * steps, total)
        on_all(steps)
    measured = np.array([on_all(steps) for _ in range(3)])
    per_step = np.maximum(measured - one, 0) / max(steps - 1, 1)
    record = 0.0
    if steps < 2 * every:  # the measured steps have records at their ends only
        record = max(0.0, one - none - np.median(per_step))
    records = len(program.schedule.recorded_steps())
    estimates = none + total * per_step + records * record
    return LOW * min(estimates), float(np.median(estimates)), HIGH * max(estimates)


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
        fitted = fit(check(Asked(stored.sweep, location, root=stored.stored.root)))
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
