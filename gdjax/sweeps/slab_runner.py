"""Execution of a tile slab by slab: blocks, checkpoints, variables of its runs.

    run_tile(plan, tile) -> run_slab(program, positions) -> variables [runs, ...]

An interrupted tile continues at the slab and step of its checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.descent import block, block_loop, outcome
from gdjax.sweeps import dataset
from gdjax.sweeps.checkpoint import (
    SlabCheckpoint,
    SlabRecords,
    TileCheckpoint,
    from_host,
    join_slabs,
    to_host,
)
from gdjax.sweeps.slab_program import Positions, SlabProgram
from gdjax.sweeps.spec import ProgramSpec

if TYPE_CHECKING:
    from gdjax.sweeps.preflight import Plan

CHECKPOINT_SECONDS = 30.0  # minimum time between checkpoints of a tile, in seconds


class TileMonitor:
    """Monitor of one tile: progress, checkpoints and interruption.

    Args:
        sink: store or memory for checkpoints of the tile.
        tile: index of the tile along each dimension.
        should_stop: function that returns whether to stop as soon as possible.
        show: function called with the completed fraction of the tile.
    """

    def __init__(
        self,
        sink: Any,
        tile: tuple[int, ...],
        should_stop: Callable[[], bool],
        show: Callable[[float], None] = lambda share: None,
    ):
        self.sink, self.tile, self.should_stop, self.show = sink, tile, should_stop, show
        self.done: list[dict[str, np.ndarray]] = []
        self.slabs = 1
        self._saved_at = time.monotonic()

    def load(self, program: SlabProgram) -> SlabCheckpoint | None:
        """Load the finished slabs of a checkpoint, and return the state of the next slab."""
        self.slabs = program.slabs_per_tile
        stored = self.sink.load_checkpoint(self.tile)
        if stored is None:
            return None
        checkpoint = TileCheckpoint.from_stored(
            stored, program.run_shapes, program.slab.runs, self.slabs
        )
        self.done = checkpoint.done
        return checkpoint.slab

    def report(self, share: float) -> None:
        """Show the completed fraction of the tile, given that of the current slab."""
        self.show((len(self.done) + share) / self.slabs)

    def pause(self, state: Callable[[], SlabCheckpoint | None]) -> bool:
        """Save a checkpoint if one is due; return whether to stop."""
        stopping = self.should_stop()
        if stopping or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            checkpoint = TileCheckpoint(self.done, state())
            self.sink.save_checkpoint(self.tile, *checkpoint.to_stored())
            self._saved_at = time.monotonic()
        return stopping


def run_tile(
    plan: "Plan", tile: tuple[int, ...], monitor: TileMonitor
) -> dict[str, np.ndarray] | None:
    """Compute one tile, slab by slab.

    Returns:
        All variables, in the full shape of the tile; None if the monitor stopped the computation.
    """
    number, own_tile = plan.program_of(tile)
    program = plan.programs[number]
    state = monitor.load(program)
    done = monitor.done
    while len(done) < program.slabs_per_tile:
        variables = run_slab(program, program.positions(own_tile, len(done)), state, monitor)
        if variables is None:
            return None
        done.append(variables)
        state = None
        if len(done) < program.slabs_per_tile and monitor.pause(lambda: None):
            return None
    shape, joined, tiled = program.tile_shape, join_slabs(done), {}
    for name, variable in plan.layout.variables.items():
        values = joined[name][: math.prod(shape)]
        values = values.reshape(*shape, *values.shape[1:])
        # Records of a branch program may begin later than those of other programs.
        inner = [plan.layout.sizes[dim] for dim in variable.dims[len(shape) :]]
        tiled[name] = dataset.pad_before(values, inner, variable.fill_value)
    return tiled


def run_slab(
    program: SlabProgram,
    positions: Positions,
    state: SlabCheckpoint | None = None,
    monitor: TileMonitor | None = None,
) -> dict[str, np.ndarray] | None:
    """Run a slab from its initial state, or from a checkpoint, to the last step.

    Args:
        program: slab program.
        positions: position in the grid of each run, one array per dimension.
        state: checkpoint of these runs, which is validated here; None for their initial state.
        monitor: monitor that shows progress, saves checkpoints and may stop the slab.

    Returns:
        All variables, [runs, ...]; None if the monitor stopped the computation.
    """
    spec = program.spec
    if state is not None and not program.fits(state):
        state = None
    if state is None and program.initial_carry is not None:
        state = program.initial_carry(program, positions)
    records = SlabRecords(state, first_record=spec.first_record)
    keep = records.keep_before_last if spec.sweep.continuable else None
    values = spec.axes.values(positions)
    for result in start_blocks(program, values, state, before_last=keep):
        records.add(result)
        if monitor is not None:
            monitor.report(result.num_steps / max(spec.schedule.last, 1))
            if not result.is_last and monitor.pause(records.checkpoint):
                return None
    return slab_variables(spec, records)


def start_blocks(
    program: SlabProgram,
    values: Mapping[str, np.ndarray],
    state: SlabCheckpoint | None = None,
    *,
    last: int | None = None,
    pause_at: int | None = None,
    before_last: Callable[[PyTree], None] | None = None,
) -> Iterator[block_loop.BlockResult]:
    """Return an iterator over the computed blocks of a slab of runs.

    Args:
        program: slab program.
        values: values of the runs, by axis name.
        state: checkpoint from which the runs continue; None for their initial state.
        last: last step, which is evaluated without an update; None for that of the sweep.
        pause_at: step at which a block must begin; None for no such step.
        before_last: function called with the carry before the last step is evaluated.
    """
    schedule, noise = program.spec.schedule, program.noise(values)
    if last is not None:
        schedule = schedule._replace(num_steps=last)
    keys, settings = program.starts(values)
    carry = program.start_program(keys, settings, program.shared)
    if state is not None:
        leaves = zip(state.carry, jax.tree.leaves(carry), strict=True)
        carry = jax.tree.unflatten(
            jax.tree.structure(carry), [from_host(leaf, like) for leaf, like in leaves]
        )
        carry = program.slab.place(carry)
        schedule = schedule._replace(first=state.step, num_steps=schedule.last - state.step)

    def run_block(carry, rows, block_schedule):
        rows = program.slab.place(rows) if program.has_own_order else rows
        return program.block_program(carry, settings, rows, noise, program.shared, block_schedule)

    return block_loop.run_blocks(
        run_block,
        carry,
        schedule,
        program.order(values),
        capacity=program.capacity,
        run_axis=True,
        controller=program.controller,
        stops_early=program.spec.sweep.stop_when_converged and pause_at is None,
        pause_at=pause_at,
        before_last=before_last,
    )


def carry_at(program: SlabProgram, positions: Positions, step: int) -> list[np.ndarray]:
    """Return the leaves of the carry of a slab of runs before a step, on the host."""
    values = program.spec.axes.values(positions)
    if step == 0:
        carry: Any = program.start_program(*program.starts(values), program.shared)
    else:
        results = start_blocks(program, values, pause_at=step)
        carry = next(result.carry for result in results if result.num_steps == step)
    return [to_host(leaf) for leaf in jax.tree.leaves(carry)]


def slab_variables(
    spec: ProgramSpec, records: SlabRecords, schedule: block_loop.RecordSchedule | None = None
) -> dict[str, np.ndarray]:
    """Return all variables of a completed slab of runs, [runs, ...].

    Args:
        spec: specification of the program.
        records: records of the slab.
        schedule: schedule of these records; None for that of the sweep.
    """
    schedule = spec.schedule if schedule is None else schedule
    state, numbers, metrics = records.carry.state, records.records, spec.shapes.array_metrics
    diverged_at = np.asarray(state.diverged_at, np.int32)
    codes = outcome.classify(
        numbers["cost"],
        numbers["gradient_norm"][:, -1],
        diverged_at,
        spec.problem.baseline,
        spec.sweep.gradient_tolerance,
    )
    params = state.params
    if spec.eval_params_fn is not None:
        params = _eval_runs(spec.eval_params_fn)(state.opt_state, params)
    trees = {"params": params, "model_state": state.model_state}
    if spec.sweep.snapshot_every is not None:
        trees[block.SNAPSHOTS] = records.arrays(block.SNAPSHOTS, spec.shapes.params)
    if spec.sweep.continuable:
        trees["carry"] = records.carry_before_last
    names = dataset.record_names(
        spec.metrics, record_equals_step=spec.block_config.record_equals_step
    )
    return {
        **{name: numbers[name] for name in names},
        **{name: records.arrays(name, value) for name, value in metrics.items()},
        **dataset.known_masks(metrics, schedule, diverged_at, spec.first_record),
        "outcome": np.asarray(codes, np.int8),
        "diverged_at": diverged_at,
        **{
            name: dataset.storable(leaf)
            for prefix, tree in trees.items()
            for name, leaf in dataset.named_leaves(prefix, tree).items()
        },
    }


@lru_cache(maxsize=16)
def _eval_runs(eval_params_fn: Callable) -> Callable:
    """Return a compiled function of the evaluation parameters of a slab of runs."""
    return jax.jit(jax.vmap(eval_params_fn))
