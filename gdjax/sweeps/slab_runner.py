"""Run one slab of a sweep: inputs, blocks, variables of its runs.

    run_slab(program, positions) -> variables [runs, ...]

Every slab of a program runs the same compiled block. A tile is a box of the grid, computed slab by
slab. A box at the edge of the grid is filled up with copies of its last run, which are cropped when
the tile is written.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop, outcome
from gdjax.stores.schema import Layout
from gdjax.sweeps import checkpoint, dataset
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.checkpoint import SlabCheckpoint, SlabRecords, from_host, to_host
from gdjax.sweeps.inputs import SlabInputs, initial_carry_program
from gdjax.sweeps.spec import ProgramSpec

CHECKPOINT_SECONDS = 30.0  # time between two checkpoints of a tile

Positions = tuple[np.ndarray, ...]
"""Where in the grid each run of a slab stands, one array per dimension."""


class Monitor:
    """Progress, checkpoints and interruption of runs while they are computed.

    This one has none of them; `executor.TileMonitor` connects a tile with its store.
    """

    def __init__(self):
        self._saved_at = time.monotonic()

    def save(self, state: SlabCheckpoint | None) -> None:
        """Write a checkpoint."""

    def report(self, share: float) -> None:
        """Show which share of the slab is done."""

    def should_stop(self) -> bool:
        """Return whether to stop as soon as possible."""
        return False

    def pause(self, state: Callable[[], SlabCheckpoint | None]) -> bool:
        """Save a checkpoint if one is due; return whether to stop."""
        stopping = self.should_stop()
        if stopping or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.save(state())
            self._saved_at = time.monotonic()
        return stopping


@dataclasses.dataclass(frozen=True, eq=False)
class SlabProgram:
    """A program of a sweep, for slabs of a fixed width.

    Args:
        spec: what it computes.
        slab: width and devices.
        tile_shape: runs of a tile along each dimension of the grid.
        initial_carry: `initial_carry(program, positions) -> SlabCheckpoint | None` gives runs
            another start than their own, such as a step of a stored run; None has none.
    """

    spec: ProgramSpec
    slab: slabs.Slab
    tile_shape: tuple[int, ...]
    initial_carry: Callable[["SlabProgram", Positions], SlabCheckpoint | None] | None = None

    @cached_property
    def inputs(self) -> SlabInputs:
        """Inputs of its runs."""
        return SlabInputs(self.spec, self.slab)

    @property
    def slabs_per_tile(self) -> int:
        """Slabs of a tile, computed one after another."""
        return -(-math.prod(self.tile_shape) // self.slab.runs)

    def positions(self, tile: tuple[int, ...], number: int = 0) -> Positions:
        """Return where in the grid the runs of one slab of a tile stand."""
        first = number * self.slab.runs
        slot = np.arange(first, first + self.slab.runs)
        within = np.unravel_index(np.minimum(slot, math.prod(self.tile_shape) - 1), self.tile_shape)
        shape = self.spec.axes.shape
        return tuple(
            np.minimum(i * length + w, size - 1)
            for i, length, w, size in zip(tile, self.tile_shape, within, shape, strict=True)
        )

    @cached_property
    def capacity(self) -> block_loop.BlockCapacity:
        """Rows of the arrays of a block."""
        schedule, runs, shapes = self.spec.schedule, self.slab.width, self.spec.shapes
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                shapes.params, shapes.array_metrics, runs=runs, schedule=schedule
            ),
            batches=self.inputs.batch_capacity,
        )

    @cached_property
    def start_program(self) -> slabs.Program:
        """The program that starts a slab of runs: keys, settings, shared arrays to carries."""
        problem = self.spec.problem
        inits = tuple(block.metric_inits(self.spec.metrics).items())
        return initial_carry_program(
            problem.init, problem.stateful, self.spec.make_optimizer, inits, self.slab
        )

    @cached_property
    def block_program(self) -> slabs.Program:
        """The compiled block of steps that all slabs share."""
        config = self.spec.block_config._replace(buffers=tuple(self.capacity.buffers.items()))
        inputs = self.inputs
        return block.block_program(config, self.slab, inputs.has_own_order, inputs.has_own_noise)

    @cached_property
    def start_example(self) -> tuple[PyTree, ...]:
        """Arguments of `start_program` for the first tile, shared arrays without their memory."""
        values = self.spec.axes.values(self.positions((0,) * len(self.tile_shape)))
        shared = self.slab.shapes(self.inputs.host_arrays, slabs.SHARED)
        return *self.inputs.starts(values), shared

    @cached_property
    def block_example(self) -> tuple[PyTree, ...]:
        """Arguments of `block_program` for the first tile, without their memory."""
        values = self.spec.axes.values(self.positions((0,) * len(self.tile_shape)))
        _, settings, shared = self.start_example
        carry = jax.eval_shape(self.start_program.jitted, *self.start_example)
        schedule, _ = block_loop.example_inputs(self.spec.schedule, None, self.capacity)
        settings, noise = slabs.shapes((settings, self.inputs.noise(values)))
        carry = self.slab.shapes(carry, slabs.RUNS)
        return carry, settings, self.inputs.samples(), noise, shared, schedule

    def program_hash(self) -> str:
        """Return the hash of the lowered block, 16 hex digits."""
        return self.block_program.compile(*self.block_example).hash

    @cached_property
    def carry_shapes(self) -> PyTree:
        """Shapes and types of the carry of one run, states of metrics included."""
        carry = self.block_example[0]
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), carry)

    @cached_property
    def run_shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of each variable of one run."""
        return self.layout().run_shapes

    @property
    def first_record(self) -> int:
        """The step at which records begin."""
        return self.spec.first_record

    @cached_property
    def controller(self) -> block_loop.BlockLengthController:
        """Number of steps of a block, kept from slab to slab."""
        return block_loop.BlockLengthController()

    def fits(self, state: SlabCheckpoint) -> bool:
        """Return whether a checkpoint, which may be a stranger's, is one of this program."""
        _, records, arrays = jax.eval_shape(self.block_program.jitted, *self.block_example)
        schedule, carry = self.spec.schedule, self.block_example[0]
        return checkpoint.fits(state, schedule, carry, records, arrays, self.first_record)

    def layout(self, axes: Axes | None = None, first_record: int | None = None) -> Layout:
        """Return the arrays of the sweep, with their names, units and coordinates.

        Args:
            axes: those of the whole sweep; None takes the program's.
            first_record: step at which its records begin; None takes the program's.
        """
        spec, shapes, rows = self.spec, self.spec.shapes, self.inputs.host_arrays.rows
        return dataset.build_layout(
            spec.axes if axes is None else axes,
            self.tile_shape,
            spec.schedule,
            shapes.params,
            shapes.model_state,
            spec.metrics,
            shapes.array_metrics,
            record_equals_step=spec.block_config.record_equals_step,
            record_samples=spec.sweep.record_samples,
            record_batches=None if rows is None else rows.shape,
            first_record=self.first_record if first_record is None else first_record,
            carry=self.carry_shapes if spec.sweep.continuable else None,
        )


def run_slab(
    program: SlabProgram,
    positions: Positions,
    state: SlabCheckpoint | None = None,
    monitor: Monitor | None = None,
) -> dict[str, np.ndarray] | None:
    """Run a slab from its start, or from a checkpoint, to the end.

    Args:
        program: the compiled program.
        positions: where in the grid each run stands.
        state: checkpoint of these runs, which may be a stranger's; None for their start.
        monitor: shows progress, saves checkpoints and stops the slab; None for nothing of it.

    Returns:
        All variables, [runs, ...]; None if the monitor stopped it.
    """
    monitor = monitor or Monitor()
    if state is not None and not program.fits(state):
        state = None
    if state is None and program.initial_carry is not None:
        state = program.initial_carry(program, positions)
    records = SlabRecords(state, first_record=program.first_record)
    last = max(program.spec.schedule.last, 1)
    keep = records.keep_before_last if program.spec.sweep.continuable else None
    values = program.spec.axes.values(positions)
    for result in start_blocks(program, values, state, before_last=keep):
        records.add(result)
        monitor.report(result.num_steps / last)
        if result.is_last:
            break
        if monitor.pause(records.checkpoint):
            return None
    return slab_variables(program.spec, records)


def start_blocks(
    program: SlabProgram,
    values: Mapping[str, np.ndarray],
    state: SlabCheckpoint | None = None,
    *,
    pause_at: int | None = None,
    before_last: Callable[[PyTree], None] | None = None,
) -> Iterator[block_loop.BlockResult]:
    """Return the blocks of a slab of runs, computed one by one.

    Args:
        program: the compiled program.
        values: of the runs, by axis.
        state: what they go on from; None for their start.
        pause_at: a step at which a block begins in any case.
        before_last: called with the carry before the last step is evaluated.
    """
    inputs, schedule = program.inputs, program.spec.schedule
    keys, settings = inputs.starts(values)
    noise = inputs.noise(values)
    carry = program.start_program(keys, settings, inputs.shared)
    if state is not None:
        leaves = zip(state.carry, jax.tree.leaves(carry), strict=True)
        carry = jax.tree.unflatten(
            jax.tree.structure(carry), [from_host(leaf, like) for leaf, like in leaves]
        )
        carry = program.slab.place(carry)
        schedule = schedule._replace(first=state.step, num_steps=schedule.last - state.step)
    place = program.slab.place if inputs.has_own_order else (lambda rows: rows)

    def run_block(carry, rows, block_schedule):
        return program.block_program(
            carry, settings, place(rows), noise, inputs.shared, block_schedule
        )

    return block_loop.run_blocks(
        run_block,
        carry,
        schedule,
        inputs.order(values),
        capacity=program.capacity,
        run_axis=True,
        controller=program.controller,
        stops_early=program.spec.sweep.stop_when_converged,
        pause_at=pause_at,
        before_last=before_last,
    )


def carry_at(program: SlabProgram, positions: Positions, step: int) -> list[np.ndarray]:
    """Return the carry of a slab of runs before a step, as leaves on the host."""
    values = program.spec.axes.values(positions)
    if step == 0:
        inputs = program.inputs
        carry: Any = program.start_program(*inputs.starts(values), inputs.shared)
    else:
        results = start_blocks(program, values, pause_at=step)
        carry = next(result.carry for result in results if result.num_steps == step)
    return [to_host(leaf) for leaf in jax.tree.leaves(carry)]


def slab_variables(spec: ProgramSpec, records: SlabRecords) -> dict[str, np.ndarray]:
    """Return all variables of a slab of runs that is done, [runs, ...].

    Args:
        spec: the program.
        records: of the slab, to the last step.
    """
    state, numbers, shapes = records.carry.state, records.records, spec.shapes
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
        params = jax.jit(jax.vmap(spec.eval_params_fn))(state.opt_state, params)
    trees = {"params": params, "model_state": state.model_state}
    if spec.sweep.snapshot_every is not None:
        trees[block.SNAPSHOTS] = records.arrays(block.SNAPSHOTS, shapes.params)
    if spec.sweep.continuable:
        trees["carry"] = records.carry_before_last
    names = dataset.record_names(
        spec.metrics, record_equals_step=spec.block_config.record_equals_step
    )
    metrics = shapes.array_metrics
    return {
        **{name: numbers[name] for name in names},
        **{name: records.arrays(name, value) for name, value in metrics.items()},
        **dataset.known_masks(metrics, spec.schedule, diverged_at, spec.first_record),
        "outcome": np.asarray(codes, np.int8),
        "diverged_at": diverged_at,
        **{
            name: dataset.storable(leaf)
            for prefix, tree in trees.items()
            for name, leaf in dataset.named_leaves(prefix, tree).items()
        },
    }
