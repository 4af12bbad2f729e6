"""Execution of tiles slab by slab: blocks, checkpoints, variables of their runs.

    run_tiles(fitted, tiles) -> run_slab(program, positions) -> variables [runs, ...]

Runs of several tiles share slabs, so that only the last slab is padded. Interrupted tiles continue
at the slab and step of their checkpoint.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.base import slabs
from gdjax.base.arguments import is_whole
from gdjax.descent import block, block_loop, outcome
from gdjax.problems.metrics import named_parts
from gdjax.sweeps import dataset
from gdjax.sweeps.arrays import run_shapes
from gdjax.sweeps.checkpoint import (
    Positions,
    SlabCheckpoint,
    SlabRecords,
    described,
    from_host,
    join_slabs,
    to_host,
)
from gdjax.sweeps.fit import Fitted
from gdjax.sweeps.program import Program, Tile

CHECKPOINT_SECONDS = 30.0  # minimum time between checkpoints of tiles, in seconds
DONE = "done."  # prefix of the names of the variables of finished slabs in a checkpoint


class SlabMonitor:
    """Monitor of runs that share slabs: progress, checkpoints and interruption.

    Args:
        sink: store, memory or search, which saves checkpoints.
        key: runs of a checkpoint, for the sink: tiles, or rung and slab of a search.
        should_stop: function that returns whether to stop as soon as possible.
        show: function called with the completed fractions of the steps and the work of the tiles.
    """

    def __init__(
        self,
        sink: Any,
        key: Any,
        should_stop: Callable[[], bool],
        show: Callable[[np.ndarray], None] = lambda shares: None,
    ):
        self.sink, self.key, self.should_stop, self.show = sink, key, should_stop, show
        self.done: list[dict[str, np.ndarray]] = []
        self.slabs = 1
        self._saved_at = time.monotonic()

    def load(self, program: Program, num_runs: int) -> SlabCheckpoint | None:
        """Load the finished slabs of a checkpoint, and return the state of the next slab."""
        width, self.slabs = program.width, -(-num_runs // program.width)
        arrays, meta = self.sink.load_checkpoint(self.key) or ({}, {})
        count = meta.get("slabs")
        done = {n.removeprefix(DONE): a for n, a in arrays.items() if n.startswith(DONE)}
        if not is_whole(count, 0, self.slabs):
            return None
        of_run = run_shapes(program) if count else {}
        if described(done) != {n: ((count * width, *s), dtype) for n, (s, dtype) in of_run.items()}:
            return None
        self.done = [slabs.rows_of(done, i * width, width) for i in range(count)]
        return restore_state(program, arrays, meta, program.first_record)

    def report(self, program: Program, num_steps: int) -> None:
        """Show the completed fractions of the tiles, given the steps of the current slab."""
        last = max(program.schedule.last, 1)
        shares = np.array([num_steps / last, program.work(num_steps) / program.work(last)])
        self.show((len(self.done) + shares) / self.slabs)

    def save(self, state: SlabCheckpoint | None) -> None:
        """Save a checkpoint: the finished slabs, and the state of the next one."""
        arrays, meta = {DONE + name: a for name, a in join_slabs(self.done).items()}, {}
        if state is not None:
            arrays, meta = {**arrays, **state.named()}, {"step": state.step}
        self.sink.save_checkpoint(self.key, arrays, {"slabs": len(self.done), **meta})
        self._saved_at = time.monotonic()

    def pause(self, state: Callable[[], SlabCheckpoint | None]) -> bool:
        """Save a checkpoint if one is due; return whether to stop."""
        stopping = self.should_stop()
        if stopping or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.save(state())
        return stopping


def restore_state(
    program: Program,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    first_record: int,
) -> SlabCheckpoint | None:
    """Return the state of a slab from a checkpoint, which is untrusted input.

    Returns:
        The state; None if the checkpoint has none, or one that does not match the program and the
        first step of its records.
    """
    if not is_whole(step := meta.get("step"), first_record, program.schedule.last):
        return None
    expected = program.state_shapes(step, first_record)
    own = {name: array for name, array in arrays.items() if not name.startswith(DONE)}
    if described(own) != described(expected.named()):
        return None
    return SlabCheckpoint(step, *jax.tree.map(own.get, expected.names()))


def run_tiles(
    fitted: Fitted, tiles: Sequence[Tile], device: jax.Device, monitor: SlabMonitor
) -> list[dict[str, np.ndarray]] | None:
    """Compute tiles of one program slab by slab.

    Returns:
        All variables of each tile, cropped to the grid; None if the monitor stopped the
        computation.
    """
    program = fitted.programs[fitted.program_of(tiles[0])]
    at = [fitted.positions(tile) for tile in tiles]
    positions = tuple(np.concatenate(along) for along in zip(*at, strict=True))
    num_runs = len(positions[0])
    if program.start is not None:
        monitor.sink.begin(tiles, program.start.writers(positions))
    state = monitor.load(program, num_runs)
    done = monitor.done
    monitor.report(program, 0 if state is None else state.step)
    while len(done) < monitor.slabs:
        first = len(done) * program.width
        runs = slabs.rows_of(positions, first, program.width)
        variables = run_slab(program, runs, device, state, monitor)
        if variables is None:
            return None
        done.append(variables)
        state = None
        if len(done) < monitor.slabs and monitor.pause(lambda: None):
            return None
    joined = join_slabs(done)
    last = np.cumsum([len(along[0]) for along in at])
    return [
        _tile_variables(fitted, tile, {n: a[end - len(p[0]) : end] for n, a in joined.items()})
        for tile, p, end in zip(tiles, at, last.tolist(), strict=True)
    ]


def _tile_variables(fitted, tile, variables):
    """Return the variables of a tile in the shape of its part of the grid."""
    shape = tuple(s.stop - s.start for s in fitted.schema.region(tile))
    tiled = {}
    for name, array in fitted.schema.arrays.items():
        values = variables[name].reshape(*shape, *variables[name].shape[1:])
        # Records of a branch program may begin later than those of other programs.
        inner = fitted.schema.shape(array)[len(shape) :]
        tiled[name] = dataset.pad_before(values, inner, array.fill_value)
    return tiled


def run_slab(
    program: Program,
    positions: Positions,
    device: jax.Device,
    state: SlabCheckpoint | None = None,
    monitor: SlabMonitor | None = None,
) -> dict[str, np.ndarray] | None:
    """Run a slab from its start, or from a checkpoint, to the last step.

    A slab that is not full is filled with copies of the last run.

    Returns:
        All variables, [runs of the slab, ...]; None if the monitor stopped the computation.
    """
    positions = slabs.rows_of(positions, 0, program.width)
    if state is None and program.start is not None:
        state = program.start(program, positions)
    records = SlabRecords(state)
    keep = records.keep_before_last if program.keeps_carry else None
    values = program.sweep.axes.values(positions)
    for result in start_blocks(program, values, device, state, before_last=keep):
        records.add(result)
        if monitor is not None:
            monitor.report(program, result.num_steps)
            if not result.is_last and monitor.pause(records.checkpoint):
                return None
    return slab_variables(program, records)


def start_blocks(
    program: Program,
    values: Mapping[str, np.ndarray],
    device: jax.Device,
    state: SlabCheckpoint | None = None,
    *,
    last: int | None = None,
    pause_at: int | None = None,
    before_last: Callable[[PyTree], None] | None = None,
) -> Iterator[block_loop.BlockResult]:
    """Return an iterator over the computed blocks of a slab of runs.

    Args:
        program: program of the runs.
        values: values of the runs, by axis name.
        device: device that computes the slab.
        state: checkpoint from which the runs continue; None for their initial state.
        last: last step, which is evaluated without an update; None for that of the sweep.
        pause_at: step at which a block must begin; None for no such step.
        before_last: function called with the carry before the last step is evaluated.
    """
    schedule, noise = program.schedule, program.inputs.noise(values, device)
    if last is not None:
        schedule = schedule._replace(num_steps=last)
    keys, settings = program.inputs.initial(values, device)
    shared = program.shared(device)
    carry = program.initial_program(keys, settings, shared)
    if state is not None:
        leaves = zip(state.carry, jax.tree.leaves(carry), strict=True)
        carry = jax.tree.unflatten(
            jax.tree.structure(carry), [from_host(leaf, like) for leaf, like in leaves]
        )
        carry = slabs.place(carry, device)
        schedule = schedule._replace(first=state.step, num_steps=schedule.last - state.step)

    def run_block(carry, rows, block_schedule):
        rows = slabs.place(rows, device) if program.inputs.has_own_order else rows
        return program.descent.block(carry, settings, rows, noise, shared, block_schedule)

    return block_loop.run_blocks(
        run_block,
        carry,
        schedule,
        program.inputs.order(values),
        capacity=program.descent.capacity,
        run_axis=True,
        controller=program.controller,
        stops_early=program.sweep.stop_when_converged and pause_at is None,
        pause_at=pause_at,
        before_last=before_last,
    )


def carry_at(program: Program, positions: Positions, step: int) -> list[np.ndarray]:
    """Return the leaves of the carry of a slab of runs before a step, on the host."""
    values, device = program.sweep.axes.values(positions), program.devices[0]
    if step == 0:
        carry: Any = program.initial_program(
            *program.inputs.initial(values, device), program.shared(device)
        )
    else:
        results = start_blocks(program, values, device, pause_at=step)
        carry = next(result.carry for result in results if result.num_steps == step)
    return [to_host(leaf) for leaf in jax.tree.leaves(carry)]


def slab_variables(
    program: Program, records: SlabRecords, schedule: block_loop.RecordSchedule | None = None
) -> dict[str, np.ndarray]:
    """Return all variables of a completed slab of runs, [runs, ...].

    `schedule` is that of the records; None for that of the sweep.
    """
    schedule = program.schedule if schedule is None else schedule
    state, numbers, metrics = records.carry.state, records.records, program.facts.array_metrics
    diverged_at = np.asarray(state.diverged_at, np.int32)
    codes = outcome.classify(
        numbers["cost"],
        numbers["gradient_norm"][:, -1],
        diverged_at,
        program.facts.problem.baseline,
        program.sweep.gradient_tolerance,
    )
    params = state.params
    if program.facts.eval_params_fn is not None:
        key = ("evaluation parameters", program.facts.eval_params_fn)
        of_runs = slabs.CompiledFunction(jax.vmap(program.facts.eval_params_fn), key=key)
        params = of_runs(state.opt_state, params)
    trees = {"params": params, "model_state": state.model_state}
    if program.sweep.snapshot_every is not None:
        kept = records.arrays(block.SNAPSHOTS, (program.facts.params, program.facts.model_state))
        trees |= {block.SNAPSHOTS: kept[0], "snapshot_model_state": kept[1]}
    if program.keeps_carry:
        trees["carry"] = records.carry_before_last
    if not program.sweep.KEEPS_PARAMS:
        trees = {}
    return {
        **{name: numbers[name] for name in program.record_names},
        **{
            part: leaf
            for name, value in metrics.items()
            for part, leaf in named_parts(name, records.arrays(name, value)).items()
        },
        **dataset.known_masks(metrics, schedule, diverged_at, program.first_record),
        "outcome": np.asarray(codes, np.int8),
        "diverged_at": diverged_at,
        **{
            name: dataset.storable(leaf)
            for prefix, tree in trees.items()
            for name, leaf in dataset.named_leaves(prefix, tree).items()
        },
    }
