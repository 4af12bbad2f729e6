"""Execution of a search, rung by rung.

    for each rung:  pack the active runs into slabs, run each slab to the rung,
                    select the runs that continue;  the others end

A run continues from its carry before the record at the rung, so that its results are those of a run
without rungs. Runs that diverged or stalled do not continue, nor do runs that converged if runs are
not compared (`reduction_factor=None`).
"""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from gdjax.base import progress, slabs
from gdjax.base.arrays import Array
from gdjax.base.interrupts import interruptible
from gdjax.base.slabs import rows_of
from gdjax.descent import outcome
from gdjax.descent.block import SNAPSHOTS
from gdjax.descent.block_loop import RecordSchedule
from gdjax.search.spec import SEARCH_VARIABLES, SearchSpec
from gdjax.stores.writer import CHECKPOINTS, Store
from gdjax.sweeps.checkpoint import SlabCheckpoint, SlabRecords
from gdjax.sweeps.executor import Memory
from gdjax.sweeps.fit import Fitted
from gdjax.sweeps.program import Program
from gdjax.sweeps.slab_runner import SlabMonitor, restore_state, slab_variables, start_blocks

Runs = Int[np.ndarray, " runs"]
"""Runs of a search, as positions in the flattened grid."""

Carries = tuple[Runs, list[np.ndarray]]
"""Runs, and leaves of their carries, [runs, ...]."""

_SAVED = "rung."  # prefix of the names of files with saved runs


class RungResult(NamedTuple):
    """Runs that have reached a rung.

    Args:
        runs: numbers of these runs.
        carry: leaves of their carries at the rung, before its record, [runs, ...].
        variables: variables of the runs by name, [runs, ...]. Those along steps have the steps from
            the previous rung to this one.
    """

    runs: Runs
    carry: list[np.ndarray]
    variables: dict[str, np.ndarray]


def with_search_variables(fitted: Fitted) -> Fitted:
    """Return a search with its own variables."""
    dims = tuple(fitted.schema.tile)
    names = {
        "ended_at": (np.int32, "step at which the run ended"),
        "rung": (np.int16, "number of the rung at which the run ended, from 0"),
    }
    assert isinstance(fitted.asked.sweep, SearchSpec)
    if fitted.asked.sweep.num_brackets > 1:
        names["bracket"] = (np.int16, "number of the rung at which the run is first compared")
    own = {
        name: Array(long_name, dims, dtype=dtype, fill=-1)
        for name, (dtype, long_name) in names.items()
    }
    schema = dataclasses.replace(fitted.schema, arrays={**fitted.schema.arrays, **own})
    return dataclasses.replace(fitted, schema=schema)


def run_rungs(fitted: Fitted, sink: Store | Memory) -> None:
    """Run a search into a store or memory."""
    search = Search(fitted, sink)
    steps = np.diff(search.spec.rungs, prepend=0).tolist()
    active, total = np.ones(search.spec.axes.runs, bool), 0
    for rung, num_steps in enumerate(steps):  # if no run diverges or stalls
        total += num_steps * int(active.sum())
        active = search.spec.survivors(np.zeros(len(active)), active, rung)
    with (
        interruptible() as stop,
        progress.bar("compiling", total=total, unit="run-step", delay=1, unit_scale=True) as bar,
    ):
        for rung, num_steps in enumerate(steps):
            for result in search.run(rung, stop):
                bar.update(len(result.runs) * num_steps)
            search.end_rung(rung, search.survivors(rung))
    search.remove_saved()


class Search:
    """State of a search.

    Args:
        fitted: the search.
        sink: store or memory to which finished tiles are written.

    Attributes:
        active: whether each run takes part in the next rung.
        reached: number of the last rung that each run has reached; -1 for none.
        may_continue: whether each run may continue after that rung, because its outcome is not one
            of `SearchSpec.ending_outcomes`, its metric is known, and its tile is not finished.
        carries: active runs of each program, sorted, and leaves of their carries.
        waiting: runs of each program that have reached the rung and may continue, in parts.
    """

    def __init__(self, fitted: Fitted, sink: Store | Memory):
        assert isinstance(fitted.asked.sweep, SearchSpec)
        self.fitted, self.sink, self.spec = fitted, sink, fitted.asked.sweep
        self.memory = sink if isinstance(sink, Memory) else Memory(fitted.schema)
        for name, array in fitted.schema.arrays.items():
            self.memory.arrays[name].fill(array.fill_value)
        grid = self.spec.axes
        self.arrays = {
            name: array.reshape(grid.runs, *array.shape[len(grid.shape) :])
            for name, array in self.memory.arrays.items()
        }
        self.active = np.ones(grid.runs, bool)
        self.reached = np.full(grid.runs, -1)
        self.may_continue = np.zeros(grid.runs, bool)
        self.carries: dict[int, Carries] = {}
        self.waiting: dict[int, list[Carries]] = {n: [] for n in range(len(fitted.programs))}
        self.finished = sink.finished().ravel()
        if isinstance(sink, Store) and self.finished.any():
            self._read_finished(sink)
        if "bracket" in self.arrays:
            self.arrays["bracket"][:] = self.spec.bracket_of_runs

    # Runs

    @cached_property
    def tiles(self) -> Runs:
        """Number of the tile of each run."""
        positions = np.unravel_index(np.arange(self.spec.axes.runs), self.spec.axes.shape)
        lengths = self.fitted.schema.tile.values()
        tiles = [p // n for p, n in zip(positions, lengths, strict=True)]
        return np.ravel_multi_index(tiles, self.fitted.schema.tiles)

    @cached_property
    def programs(self) -> Runs:
        """Number of the program of each run."""
        tiles = np.ndindex(self.fitted.schema.tiles)
        return np.array([self.fitted.program_of(tile) for tile in tiles])[self.tiles]

    def slabs(
        self, rung: int, number: int, due: Bool[np.ndarray, " runs"]
    ) -> Iterator[tuple[Runs, SlabCheckpoint | None]]:
        """Yield the runs of each slab of a program that are due, and their saved state, if any.

        Slabs of saved runs come first. They may contain runs that are not due.
        """
        due, width = due.copy(), self.fitted.programs[number].width
        for runs, state in self._saved_slabs(rung, number):
            if due[runs].any():
                due[runs] = False
                yield runs, state
        runs = np.flatnonzero(due)
        for first in range(0, len(runs), width):
            yield runs[first : first + width], None

    def _saved_slabs(self, rung, number):
        """Yield the runs and the state of each saved slab; files are untrusted input."""
        if not isinstance(self.sink, Store):
            return
        program, (first, last) = self.fitted.programs[number], self.spec.steps_to(rung)
        own = np.flatnonzero(self.programs == number)
        for name in sorted(self.sink.location.sizes(CHECKPOINTS)):
            if not name.startswith(f"{_SAVED}{rung}.{number}."):
                continue
            arrays, meta, _ = self.sink.load_state(f"{CHECKPOINTS}/{name}") or ({}, {}, ())
            runs = arrays.pop("runs", np.zeros(0))
            is_own = runs.ndim == 1 and runs.dtype == np.int64 and np.isin(runs, own).all()
            if not is_own or not 0 < len(np.unique(runs)) == len(runs) <= program.width:
                continue
            state = restore_state(program, arrays, meta, first)
            if state is not None and state.step <= last:
                yield runs, state

    # Results

    def run(self, rung: int, stop: threading.Event) -> Iterator[RungResult]:
        """Run the active runs to a rung, and yield the result of each slab.

        If `stop` is set, the slabs in progress are saved, and `KeyboardInterrupt` is raised.
        """
        for number, program in enumerate(self.fitted.programs):
            due = self.active & (self.reached < rung) & (self.programs == number)
            pending = self.slabs(rung, number, due)
            pending = itertools.takewhile(lambda _: not stop.is_set(), pending)
            devices = self.fitted.devices[: max(1, -(-int(due.sum()) // program.width))]
            compute = partial(self.compute, program, rung, stop.is_set)
            for result in slabs.on_devices(compute, pending, devices):
                if result is not None:
                    self.add(rung, result)
                    yield result
            if stop.is_set():
                raise KeyboardInterrupt
            program.release()

    def _read_finished(self, store):
        """Read the metric and the last rung of finished runs."""
        ended, runs = self.finished[self.tiles], store.dataset()
        values = runs[self.spec.metric].values.reshape(len(ended), -1)
        self.arrays[self.spec.metric][ended] = values[ended]
        steps = runs["ended_at"].values.ravel()[ended]
        self.reached[ended] = np.searchsorted(self.spec.rungs, steps)

    def compute(
        self,
        program: Program,
        rung: int,
        should_stop: Callable[[], bool],
        slab: tuple[Runs, SlabCheckpoint | None],
        device: jax.Device,
    ) -> RungResult | None:
        """Run a slab from the previous rung, or from a saved state, to a rung.

        Returns:
            The result; None if `should_stop` returned True, after the state has been saved.
        """
        runs, state = slab
        first, last = self.spec.steps_to(rung)
        rows = rows_of(runs, 0, program.width)
        if state is None and rung:
            active_runs, leaves = self.carries[self.programs[runs[0]]]
            own = np.searchsorted(active_runs, rows)
            state = SlabCheckpoint(first, [leaf[own] for leaf in leaves], {}, {})
        values = self.spec.axes.values(np.unravel_index(rows, self.spec.axes.shape))
        records, monitor = SlabRecords(state), SlabMonitor(self, (rung, runs), should_stop)
        at_rung = state
        for result in start_blocks(program, values, device, state, last=last, pause_at=last):
            records.add(result)
            if result.num_steps == last and not result.is_last:
                at_rung = records.checkpoint()
                monitor.save(at_rung)
            if not result.is_last and monitor.pause(records.checkpoint):
                return None
        assert at_rung is not None
        schedule = program.schedule._replace(first=first, num_steps=last - first)
        variables, own = slab_variables(program, records, schedule), slice(len(runs))
        on_steps = {
            name: self._on_steps(variables[name], name, schedule)[own]
            for name in self.fitted.schema.arrays
            if name not in SEARCH_VARIABLES
        }
        goes_on = rung + 1 < len(self.spec.rungs)
        carry = [leaf[own] for leaf in at_rung.carry] if goes_on else []
        return RungResult(runs, carry, on_steps)

    def times(self, name: str) -> Any:
        """Return the steps of a variable in the schema; None if it has one value per run."""
        schema = self.fitted.schema
        own = schema.arrays[name].dims[len(schema.tile) :]
        has_steps = bool(own) and own[0] in schema.coordinates
        return schema.values[own[0]] if has_steps else None

    def _on_steps(self, values, name, schedule: RecordSchedule):
        """Return values at the steps of the schema; omit additional records at rungs."""
        times = self.times(name)
        if times is None:
            return values
        steps = schedule.recorded_steps()
        schema = self.fitted.schema
        along = schema.arrays[name].dims[len(schema.tile)]
        if along != "step":
            kind = SNAPSHOTS if along == "snapshot_step" else along.removesuffix("_step")
            steps = steps[schedule.is_kept(kind, steps)]
        return values[:, np.isin(steps, times)]

    def add(self, rung: int, result: RungResult) -> None:
        """Add the runs of a result that were due at the rung."""
        is_due = self.active[result.runs] & (self.reached[result.runs] < rung)
        runs, carry, variables = jax.tree.map(lambda array: array[is_due], result)
        first, last = self.spec.steps_to(rung)
        for name, values in variables.items():
            times = self.times(name)
            if times is None:
                self.arrays[name][runs] = values
            else:
                columns = np.flatnonzero((times >= first) & (times <= last))
                self.arrays[name][np.ix_(runs, columns)] = values
        self._classify(runs, last)
        self.reached[runs] = rung
        ended = np.isin(self.arrays["outcome"][runs], self.spec.ending_outcomes)
        self.may_continue[runs] = ~ended & ~np.isnan(self.values(rung)[runs])
        if carry:
            self.waiting[self.programs[runs[0]]].append((runs, carry))
            if self.spec.reduction_factor is not None and self.spec.median_over is None:
                self._drop(self.survivors(rung))  # medians are known at the end of the rung

    def _classify(self, runs, last):
        """Set the outcome of runs at a step from all of their records."""
        program = self.fitted.programs[self.programs[runs[0]]]
        records = int(np.sum(self.times("cost") <= last))
        self.arrays["outcome"][runs] = outcome.classify(
            self.arrays["cost"][runs][:, :records],
            self.arrays["gradient_norm"][runs, records - 1],
            self.arrays["diverged_at"][runs],
            program.facts.problem.baseline,
            self.spec.gradient_tolerance,
        )

    def values(self, rung: int) -> Float[np.ndarray, " runs"]:
        """Return the metric of each run at a rung; NaN if unknown."""
        (column,) = np.flatnonzero(self.times(self.spec.metric) == self.spec.rungs[rung])
        # The median of two large values may overflow in float32.
        return self.arrays[self.spec.metric][:, column].astype(np.float64)

    def survivors(self, rung: int) -> Bool[np.ndarray, " runs"]:
        """Return which of the runs that have reached the rung continue; none after the last one."""
        if rung + 1 == len(self.spec.rungs):
            return np.zeros(self.spec.axes.runs, bool)
        candidates = (self.reached > rung) | ((self.reached == rung) & self.may_continue)
        return self.spec.survivors(self.values(rung), self.active & candidates, rung)

    def _drop(self, survive):
        """Drop the carries of runs that do not continue."""
        for parts in self.waiting.values():
            parts[:] = [
                (runs, leaves) if rows.all() else (runs[rows], [leaf[rows] for leaf in leaves])
                for runs, leaves in parts
                if (rows := survive[runs]).any()
            ]

    def end_rung(self, rung: int, survive: Bool[np.ndarray, " runs"]) -> None:
        """End the runs that do not continue, and write the tiles without active runs."""
        ended = np.flatnonzero(self.active & ~survive)
        self.arrays["ended_at"][ended] = self.spec.rungs[rung]
        self.arrays["rung"][ended] = rung
        self.active = survive
        self._drop(survive)
        for number, parts in self.waiting.items():
            if parts:
                runs, leaves = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
                order = np.argsort(runs)
                self.carries[number] = runs[order], [leaf[order] for leaf in leaves]
            parts.clear()
        if isinstance(self.sink, Store):
            self._write_tiles(self.sink)

    # Store

    def _write_tiles(self, store):
        """Write the tiles whose runs have all ended."""
        due = ~self.finished
        due[self.tiles[self.active]] = False
        for number in np.flatnonzero(due):
            tile = tuple(int(i) for i in np.unravel_index(number, self.fitted.schema.tiles))
            region = store.schema.region(tile)
            store.write(tile, {name: array[region] for name, array in self.memory.arrays.items()})
            self.finished[number] = True

    def save_checkpoint(
        self, key: tuple[int, Runs], arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
    ) -> None:
        """Save the state of a slab on the way to a rung, or before the record at the rung."""
        rung, runs = key
        if isinstance(self.sink, Store):
            name = f"{_SAVED}{rung}.{self.programs[runs[0]]}.{runs[0]}"
            self.sink.save_state(f"{CHECKPOINTS}/{name}", {**arrays, "runs": runs}, meta)

    def remove_saved(self) -> None:
        """Remove the saved runs of a finished search."""
        if isinstance(self.sink, Store):
            for name in self.sink.location.sizes(CHECKPOINTS):
                if name.startswith(_SAVED):
                    self.sink.location.remove(f"{CHECKPOINTS}/{name}")
