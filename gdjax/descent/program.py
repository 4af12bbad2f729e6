"""The compiled program of a descent: blocks of one run, or of the runs of a slab.

    block(carry, settings, order, noise, shared, chunks) -> carry, records, buffers

`descend` runs the program of a single run, and a sweep that of a slab. Hyperparameters, sample
indices, keys and recorded steps are arguments, so that one compilation serves all their values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.base import slabs
from gdjax.base.slabs import CompiledFunction
from gdjax.descent import block_loop
from gdjax.descent.batches import recorded_rows, recorded_samples
from gdjax.descent.block import block_program
from gdjax.descent.block_values import BlockConfig, Shared
from gdjax.problems.evaluation import without_data
from gdjax.problems.measurement import StaticMetric
from gdjax.problems.problem import Problem

MAX_ORDER_NUMBERS = 2**22  # maximum number of sample indices per block, with separate orders


@dataclass(frozen=True, eq=False)
class DescentProgram:
    """Compiled blocks of a descent, with the arrays that all runs share.

    Args:
        problem: problem with the recorded metrics and static settings.
        make_optimizer: factory `make_optimizer(**settings)` of the optimizer.
        eval_params_fn: function that gives the evaluation parameters; None for those of the run.
        params: shapes of the parameters.
        metrics: metrics by name, as functions of arrays.
        schedule: steps, records, snapshots and array metrics.
        batch_size: number of samples per step; None for all.
        record_samples: number of samples per record; None for all.
        divergence_threshold: cost above which a run counts as diverged.
        stop_tolerance: gradient norm at or below which a run takes no further steps; None never
            stops a run.
        platform: kind of the devices, "cpu" or that of an accelerator.
        largest_microbatch: maximum number of samples that are evaluated together.
        width: number of runs that a device computes together; None for a single run, whose arrays
            have no axis of runs.
        has_own_order: whether each run has a separate order of mini-batches.
        has_own_noise: whether each run has separate random numbers in the cost.
        fast_compilation: whether blocks are compiled with fewer optimizations.
    """

    problem: Problem
    make_optimizer: Callable[..., optax.GradientTransformation]
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None
    params: PyTree
    metrics: Mapping[str, StaticMetric]
    schedule: block_loop.RecordSchedule
    batch_size: int | None
    record_samples: int | None
    divergence_threshold: float
    platform: str
    largest_microbatch: int
    stop_tolerance: float | None = None
    width: int | None = None
    has_own_order: bool = False
    has_own_noise: bool = False
    fast_compilation: bool = False

    @cached_property
    def capacity(self) -> block_loop.BlockCapacity:
        """Capacities of the arrays of a block."""
        schedule, runs, batches = self.schedule, self.width or 1, block_loop.MAX_BLOCK_BATCHES
        if self.has_own_order and self.batch_size is not None:
            batches = min(max(MAX_ORDER_NUMBERS // (runs * self.batch_size), 64), batches)
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                self.params,
                {name: m.value for name, m in self.metrics.items() if m.is_array},
                runs=runs,
                schedule=schedule,
            ),
            batches=batches,
            chunk_steps=block_loop.chunk_steps(schedule.record_every, self.platform),
        )

    @cached_property
    def config(self) -> BlockConfig:
        """Static configuration of the blocks."""
        return BlockConfig(
            problem_structure=without_data(self.problem),
            make_optimizer=self.make_optimizer,
            metrics=tuple(self.metrics.items()),
            batched=self.batch_size is not None,
            divergence_threshold=float(self.divergence_threshold),
            buffers=tuple(self.capacity.buffers.items()),
            stop_tolerance=self.stop_tolerance,
            eval_params_fn=self.eval_params_fn,
            records_part=self.record_samples is not None,
            chunk_steps=self.capacity.chunk_steps,
            largest_microbatch=self.largest_microbatch,
        )

    @cached_property
    def block(self) -> CompiledFunction:
        """Compiled block (see `block_program`)."""
        has_runs = self.width is not None
        own = (self.has_own_order, self.has_own_noise)
        return block_program(self.config, has_runs, *own, self.fast_compilation)

    @cached_property
    def shared(self) -> Shared:
        """Arrays that all runs share, on the host."""
        problem = self.problem
        rows = recorded_rows(problem, self.record_samples, self.batch_size)
        recorded = None
        if rows is None and not self.config.record_equals_step:
            recorded = recorded_samples(problem, self.record_samples)
        data = {name: m.data for name, m in problem.metrics.items() if m.data is not None}
        return Shared(problem.data, recorded, data, rows)

    def samples(self, device: jax.Device) -> jax.ShapeDtypeStruct | None:
        """Return the shape of the sample indices of a block; None for all samples."""
        if self.batch_size is None:
            return None
        run_shape = (self.width,) if self.has_own_order else ()
        shape = (*run_shape, self.capacity.batches, self.batch_size)
        samples = jax.ShapeDtypeStruct(shape, np.int32)
        return slabs.shapes(samples, device) if self.has_own_order else samples
